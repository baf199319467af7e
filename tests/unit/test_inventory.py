# SPDX-License-Identifier: Apache-2.0
"""What the manifest lists against what lies there, and bytes after the last batch."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.proofs.verification import verify
from ledger.storage.doctor import examine
from ledger.storage.inventory import newest_manifest, unacknowledged_bytes
from ledger.storage.paths import Paths
from tests.unit.test_cli import run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three sealed segments and an active one."""
    with Ledger(tmp_path / "a") as log:
        for part in range(3):
            log.append_many([{"part": part, "n": n} for n in range(50)])
            log.seal()
        log.append({"last": 1})
    return tmp_path / "a"


def newest(path: Path) -> Path:
    return sorted(path.glob("MANIFEST-*"))[-1]


def test_a_sound_ledger_has_nothing_to_say(path: Path) -> None:
    """Neither `verify` nor `doctor` reports anything, with the older manifests gone too."""
    for file in sorted(path.glob("MANIFEST-*"))[:-1]:
        file.unlink()
    report, found = verify(path, require="L1"), examine(path)
    assert (report.problems, report.degraded) == ([], [])
    assert (found["problems"], found["degraded"]) == ([], [])


def test_a_row_whose_file_is_gone_or_another_is_a_problem(path: Path) -> None:
    """By `verify` and by `doctor`, which ends with code 1; the manifest is changed here, the files are sound."""
    from dataclasses import replace

    manifest, _ = newest_manifest(Paths(path))
    assert manifest is not None
    last = manifest.rows[-1]
    active = replace(last, segno=3, base=last.end, count=9)
    gone = replace(last, segno=4, base=active.end, count=9)
    other = replace(last, seal_hash=bytes(32))
    for rows, text in (((*manifest.rows, active, gone), "is gone"), ((*manifest.rows[:-1], other), "was replaced")):
        newest(path).write_bytes(replace(manifest, rows=rows).encode())
        for problems in (verify(path, require="L1").problems, examine(path)["problems"]):
            assert len(problems) == 1
            assert text in problems[0]
        run("doctor", path, code=1)


def test_a_row_of_the_active_file_is_no_problem(path: Path) -> None:
    """A reader that began before a seal holds the segment as an active file, while the manifest already lists it."""
    from dataclasses import replace

    manifest, _ = newest_manifest(Paths(path))
    assert manifest is not None
    (active,) = (path / "active").glob("*3.act")
    assert active.exists()
    more = replace(manifest.rows[-1], segno=3, base=manifest.rows[-1].end, count=2)
    newest(path).write_bytes(replace(manifest, rows=(*manifest.rows, more)).encode())
    assert verify(path, require="L1").problems == []


def test_a_seal_in_progress_is_not_accused(path: Path) -> None:
    """Between the sealed file's name and its line in the manifest the active file is still there."""
    kept = [newest(path), *path.glob("active/*")]
    with Ledger(path) as log:
        before = {file: file.read_bytes() for file in kept}
        log.seal()
    newest(path).unlink()
    for file, data in before.items():
        file.write_bytes(data)
    report = verify(path, require="L1")
    assert (report.problems, report.degraded) == ([], [])


@pytest.mark.parametrize("damage", [b"", b"LGMANI1\0", None])
def test_a_damaged_manifest_is_degraded_and_mended_by_the_next_seal(path: Path, damage: bytes | None) -> None:
    """An older generation serves; with none of them left what is sealed is unlisted. A seal writes a new one."""
    files = sorted(path.glob("MANIFEST-*"))
    for file in files if damage is None else files[-1:]:
        file.unlink() if damage is None else file.write_bytes(damage)
    report, found = verify(path, require="L1"), examine(path)
    assert report.ok
    assert report.degraded == found["degraded"] != []
    with Ledger(path) as log:
        log.append({"n": 1})
        log.seal()
    assert verify(path, require="L1").degraded == []


def test_bytes_after_the_last_batch_are_said(path: Path) -> None:
    """While HEAD is sound nothing else notices them; recovery at the next opening sets them aside."""
    (active,) = (path / "active").glob("*3.act")
    data = bytearray(active.read_bytes())
    data[-1] = 1
    active.write_bytes(bytes(data))
    for degraded in (verify(path, require="L1").degraded, examine(path)["degraded"]):
        (text,) = degraded
        assert "belong to no batch" in text
        assert active.name in text
    assert verify(path, require="L1").ok


def test_a_writer_at_work_is_not_accused(path: Path) -> None:
    """While batches are written and synced all the time, no verification calls them unacknowledged bytes."""
    stop = threading.Event()

    def write() -> None:
        with Ledger(path) as log:
            while not stop.is_set():
                log.append({"n": 1})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Ledger(path, readonly=True) as log:
            said = {unacknowledged_bytes(Paths(path), log.fingerprint) for _ in range(20)}
    finally:
        stop.set()
        writer.join()
    assert said == {""}
