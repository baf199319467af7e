# SPDX-License-Identifier: Apache-2.0
"""An import goes on where it stopped, whatever happened to the file meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import EventError, Ledger, UsageError
from ledger.importing import import_lines


def stored(path: Path) -> list[int]:
    with Ledger(path, readonly=True) as log:
        return [event["n"] for event in log]


def test_a_mended_line_is_imported_once_with_all_after_it(tmp_path: Path) -> None:
    """The bad line is named, what came before is stored, and the second run repeats nothing."""
    source, path = tmp_path / "f.ndjson", tmp_path / "a"
    source.write_text('{"n":1}\n{"n":2}\n{"n":3]\n{"n":4}\n')
    with pytest.raises(EventError, match="3") as caught:
        import_lines(path, source, batch=1)
    assert caught.value.position == 3
    assert stored(path) == [1, 2]
    source.write_text('{"n":1}\n{"n":2}\n{"n":3}\n{"n":4}\n')
    assert import_lines(path, source)["imported"] == 2
    assert stored(path) == [1, 2, 3, 4]


def test_a_file_that_grew_gives_only_what_is_new(tmp_path: Path) -> None:
    """Appended lines are imported, the others skipped."""
    source, path = tmp_path / "f.ndjson", tmp_path / "a"
    source.write_text('{"n":1}\n')
    import_lines(path, source)
    source.write_text('{"n":1}\n\n{"n":2}\n')
    assert import_lines(path, source)["skipped_lines"] == 1
    assert stored(path) == [1, 2]


def test_changed_lines_are_refused(tmp_path: Path) -> None:
    """A file whose imported lines differ now, or are gone, is not guessed about."""
    source, path = tmp_path / "f.ndjson", tmp_path / "a"
    source.write_text('{"n":1}\n{"n":2}\n')
    import_lines(path, source)
    for text in ('{"n":1}\n{"n":7}\n{"n":3}\n', '{"n":1}\n'):
        source.write_text(text)
        with pytest.raises(UsageError):
            import_lines(path, source)
    assert stored(path) == [1, 2]


def test_another_file_of_the_same_name_is_another_file(tmp_path: Path) -> None:
    """A rotated log begins with another event: all of it is imported."""
    source, path = tmp_path / "f.ndjson", tmp_path / "a"
    source.write_text('{"n":1}\n')
    import_lines(path, source)
    source.write_text('{"n":5}\n{"n":6}\n')
    assert import_lines(path, source)["imported"] == 2
    assert stored(path) == [1, 5, 6]
