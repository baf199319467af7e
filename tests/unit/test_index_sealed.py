# SPDX-License-Identifier: Apache-2.0
"""The index of sealed segments: committed by the seal, beside it, mended, verified, and never in the way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgpack
import pytest

from ledger import Ledger
from ledger.encoding.identity import Identity
from ledger.errors import CorruptionError, IndexUnusableError
from ledger.proofs.verification import verify
from ledger.storage import index_file, sealer
from ledger.storage.identity_file import read_identity
from ledger.storage.index_file import IndexFile, read_index_key
from ledger.storage.paths import Paths
from ledger.storage.reindex import build_index, reindex
from ledger.storage.sealed import SealedSegment
from tests.index_oracle import OracleGranule, root_of


def event(i: int) -> dict[str, Any]:
    """Values that repeat and values that do not."""
    return {"id": f"id-{i}", "actor": {"name": f"u{i % 50}"}, "n": i % 7, "message": f"thing {i % 11} happened"}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A ledger with two sealed segments and a tail."""
    path = tmp_path / "log"
    with Ledger(path) as log:
        for part in range(2):
            log.append_many([event(part * 300 + i) for i in range(300)])
            log.seal()
        log.append(event(600))
    return path


def parts(path: Path, segno: int = 0) -> tuple[Paths, Identity, SealedSegment]:
    """What storage's functions want."""
    paths = Paths(path)
    identity = read_identity(paths)
    return paths, identity, SealedSegment(paths.sealed(segno), segno, fingerprint=identity.fingerprint)


def test_a_seal_commits_to_the_root_of_the_oracle(sealed: Path) -> None:
    """In the footer and in the note; computed by hashlib and msgpack from the payloads."""
    with Ledger(sealed, readonly=True) as log:
        notes = [n for n in (log[i] for i in range(log.size)) if n.get("note") == "sealed"]
    for segno in range(2):
        paths, _, segment = parts(sealed, segno)
        with segment:
            items = list(segment.iter_items(segment.base, segment.end))
            oracle = OracleGranule([p if kind == 0 else None for _, kind, _, p in items], paths.index_key.read_bytes())
            times = [time for _, kind, time, _ in items if kind == 0]
            descriptor = {
                "segno": segno,
                "base": segment.base,
                "count": len(items),
                "events": 300,
                "time": [min(times), max(times)],
                "recorded": [min(times), max(times)],
                "rule": 1,
                "complete": True,
                "paths": [["id"], ["actor", "name"], ["n"], ["message"]],
                "terms": len(oracle.terms()),
                "term_root": oracle.term_root(segment.seed),
            }
            root = root_of([msgpack.packb(descriptor)])
            assert segment.footer.index_root == root == notes[segno]["index_root"]


def test_the_file_beside_answers(sealed: Path) -> None:
    """Rows are counted from the segment's first entry; entry 0 is a note and in no answer."""
    paths, identity, segment = parts(sealed)
    with segment, IndexFile(paths, segment, read_index_key(paths, identity)) as file:
        (granule,) = file.granules
        rows = granule.lookup(["actor", "name"], "u3").rows
        assert [segment.base + row for row in rows] == [1 + i for i in range(3, 300, 50)]
        assert 0 not in granule.events
        assert verify(sealed, require="L1", index=True).ok


def test_without_an_index_file_nothing_else_changes(sealed: Path) -> None:
    """Gone or damaged: verification says degraded, reindex makes the same bytes again."""
    paths, identity, segment = parts(sealed)
    before = paths.index(0).read_bytes()
    paths.index(0).unlink()
    report = verify(sealed, require="L1", index=True)
    assert report.ok
    assert len(report.degraded) == 1
    with segment:
        assert reindex(paths, identity, segment) == segment.footer.index_root
        assert paths.index(0).read_bytes() == before
        paths.index(0).write_bytes(before[:-9])
        assert "damaged" in verify(sealed, require="L1", index=True).degraded[0]
        with pytest.raises(IndexUnusableError):
            IndexFile(paths, segment, read_index_key(paths, identity))
        reindex(paths, identity, segment)
        assert paths.index(0).read_bytes() == before


def test_an_index_that_hides_rows_is_a_problem(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made of other entries with every checksum right, under the descriptors that the seal commits to."""
    paths, identity, segment = parts(sealed)
    with segment:
        built = build_index(segment, read_index_key(paths, identity))
        singles = built[0].sections["singles"]
        built[0].sections["singles"] = singles[:-2] + bytes([singles[-2] ^ 1, singles[-1]])
        index_file.publish_index(paths, identity, 0, built)
    report = verify(sealed, require="L1", index=True)
    assert not report.ok
    assert "section singles" in report.problems[0]
    assert verify(sealed, require="L1").ok  # it says nothing of searches


def test_another_root_than_the_entries_give_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealer that commits to an index with a row missing."""
    path = tmp_path / "log"
    with monkeypatch.context() as patch:
        patch.setattr(sealer, "index_root", lambda descriptors: hashlib.sha256(descriptors[0]).digest())
        with Ledger(path) as log:
            log.append_many([event(i) for i in range(9)])
            log.seal()
    report = verify(path, require="L1", index=True)
    assert "commits to the search index" in report.problems[0]
    paths, identity, segment = parts(path)
    with segment, pytest.raises(CorruptionError):
        reindex(paths, identity, segment)


@pytest.mark.parametrize("error", [MemoryError("no room"), CorruptionError("unreadable")])
def test_an_error_of_the_index_stops_no_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The root is zero, `stats()` says why, the ledger is whole; reindex makes a file that nothing commits to."""

    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "log"
    monkeypatch.setattr(sealer, "build_index", fail)
    with Ledger(path) as log:
        log.append_many([event(i) for i in range(9)])
        assert log.seal() == 1
        assert "without a search index" in log.stats()["degraded"][0]
    paths, identity, segment = parts(path)
    with segment:
        assert segment.footer.index_root == bytes(32)
        assert not paths.index(0).exists()
        assert verify(path, require="L1", index=True).ok
        reindex(paths, identity, segment)
        with IndexFile(paths, segment, read_index_key(paths, identity)) as file:
            assert len(file.granules[0].lookup(["n"], 3).rows) == 1


def test_an_index_that_cannot_be_written_stops_no_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is committed all the same."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "log"
    monkeypatch.setattr(sealer, "publish_index", fail)
    with Ledger(path) as log:
        log.append_many([event(i) for i in range(9)])
        log.seal()
        assert "reindex makes it" in log.stats()["degraded"][0]
    paths, identity, segment = parts(path)
    with segment:
        assert reindex(paths, identity, segment) == segment.footer.index_root != bytes(32)


@pytest.mark.parametrize("left", [None, b"", b"an index of another attempt"])
def test_a_seal_cut_short_before_the_index_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes | None
) -> None:
    """The `.seg` has its name and its root, the `.idx` is missing or other bytes: the next seal puts it right."""
    path = tmp_path / "log"

    class Killed(BaseException):
        """Nothing runs after it."""

    def die(*_: object) -> None:
        raise Killed

    with Ledger(path) as log:
        log.append_many([event(i) for i in range(9)])
        with monkeypatch.context() as patch:
            patch.setattr(sealer, "publish_index", die)
            with pytest.raises(Killed):
                log.seal()
    paths, identity, segment = parts(path)
    with segment:
        if left is not None:
            paths.index(0).write_bytes(left)
        with Ledger(path) as log:
            log.seal()
            assert log.stats()["degraded"] == []
        with IndexFile(paths, segment, read_index_key(paths, identity)) as file:
            assert len(file.granules[0].lookup(["n"], 3).rows) == 1
    assert verify(path, require="L1", index=True).degraded == []


def test_a_wrong_index_key_makes_no_index(tmp_path: Path) -> None:
    """LEDGER holds the hash of the key; another key would give roots that nobody could check."""
    path = tmp_path / "log"
    with Ledger(path) as log:
        log.append_many([event(i) for i in range(9)])
        Paths(path).index_key.chmod(0o600)
        Paths(path).index_key.write_bytes(bytes(16))
        log.seal()
        assert "not the key that LEDGER names" in log.stats()["degraded"][0]
    assert verify(path, require="L1").ok


def test_granules_meet_inside_blocks(tmp_path: Path) -> None:
    """More than 65,536 entries, and a base that is no multiple of a block: every entry is in one granule."""
    path = tmp_path / "log"
    with Ledger(path) as log:
        log.append_many([{"n": 0}, {"n": 1}])
        log.seal()
        log.append_many([{"n": i, "m": i % 1000} for i in range(66_000)])
        log.seal()
        size = log.size
    paths, identity, segment = parts(path, 1)
    with segment, IndexFile(paths, segment, read_index_key(paths, identity)) as file:
        first, second = file.granules
        assert (first.table.count, second.table.base) == (65536, segment.base + 65536)
        assert second.table.base + second.table.count == segment.end <= size
        found = [g.table.base + row for g in file.granules for row in g.lookup(["m"], 77).rows]
        indexes = [
            i for i, _, _, p in segment.iter_items(segment.base, segment.end) if msgpack.unpackb(p).get("m") == 77
        ]
        assert found == indexes
        assert len(found) == 66
    assert verify(path, require="L1", index=True).ok
