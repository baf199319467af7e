# SPDX-License-Identifier: Apache-2.0
"""Blocks are dropped here only when they are elsewhere, and what stays proves what it proved before."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.archive import evict as evict_module
from ledger.archive.evict import EvictReport
from ledger.archive.target import Lock
from ledger.errors import CorruptionError, EvictedError, UsageError
from ledger.proofs.verification import verify
from ledger.shipping import LedgerOwner, evict_segments, read_evicted
from ledger.storage import manifests
from ledger.storage.sealed import SealedSegment
from ledger.storage.stub import EvictedSegment, encode_stub
from tests.archive.fakes import YEAR_S, Clock, FakeTarget, Statements, shipper_of
from tests.archive.faults import Killed

EVENTS, SEGMENTS = 300, 3


@dataclass
class World:
    """A ledger with checkpoints inside its segments, shipped to two targets."""

    log: Ledger
    statements: Statements
    targets: list[FakeTarget]
    checkpoints: list[str]

    def ship(self, number: int) -> None:
        target = self.targets[number]
        owner = LedgerOwner(self.log)
        shipper = shipper_of(
            self.log, target, self.statements, Clock(float(target.now), target), owner, name=f"target-{number}"
        )
        assert shipper.run_once().ok
        shipper.close()

    def evict(self, *segnos: int, min_copies: int = 2) -> EvictReport:
        pairs = [(target, self.statements.open) for target in self.targets]
        return evict_segments(self.log, segnos or range(SEGMENTS), pairs, min_copies=min_copies)

    def segment_of(self, number: int, segno: int) -> tuple[str, str]:
        [key] = [key for key in self.targets[number].store if key.endswith(f"{segno:020}.seg")]
        return key, self.targets[number].store[key][0][0].version


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Ledger(tmp_path / "log", new_key=True, name="test", segment_bytes_max=1 << 17) as log:
        checkpoints = []
        for segno in range(SEGMENTS):
            for part in range(3):
                count = EVENTS // 3 + 7 * part
                log.append_many([{"event_type": "t", "segno": segno, "part": part, "i": i} for i in range(count)])
                checkpoints.append(log.checkpoint())
            log.seal()
        targets = [FakeTarget("memory:a"), FakeTarget("memory:b")]
        made = World(log, Statements(log.origin), targets, checkpoints)
        made.ship(0)
        made.ship(1)
        yield made


def test_an_evicted_segment_is_read_back_on_demand(world: World) -> None:
    """Entries, payloads and hashes are the same through the archive; without it they are an error that says where
    they are. Also after the ledger was opened anew."""
    log, end = world.log, world.log.segments[SEGMENTS]["base"]
    before = [(item, log.entry(item.index)) for item in log.entries(0, end)]
    used = sum(path.stat().st_size for path in log.paths.sealed_folder.iterdir())
    report = world.evict()
    assert (report.evicted, report.kept) == ([0, 1, 2], {})
    assert sum(path.stat().st_size for path in log.paths.sealed_folder.iterdir()) == used - report.freed_bytes
    assert [s["state"] for s in log.segments] == ["evicted"] * 3 + ["active"]
    log.close()
    with Ledger(log.path) as again:
        with pytest.raises(EvictedError, match="segment 1 is in the archive"):
            again[again.segments[1]["base"]]
        for wanted in ([world.targets[0]], [world.targets[1]]):
            read_evicted(again, wanted)
            assert [(item, again.entry(item.index)) for item in again.entries(0, end)] == before


def test_proofs_from_old_checkpoints_need_no_archive(world: World) -> None:
    """The root at each checkpoint's size, and consistency between any two, are what they were."""
    log = world.log
    sizes = sorted({found.size for found in log.paths.list_checkpoints().found})
    roots = [log.root_at(size) for size in sizes]
    proofs = [log.prove_consistency(old, new) for old in sizes for new in sizes if old <= new]
    assert world.evict().kept == {}
    assert [log.root_at(size) for size in sizes] == roots
    assert [log.prove_consistency(old, new) for old in sizes for new in sizes if old <= new] == proofs
    log.append({"event_type": "more"})
    assert log.seal() == 1
    assert log.checkpoint()


def test_an_unread_segment_lifts_no_grade(world: World) -> None:
    """Verification says that it did not read what is evicted, and claims nothing above L0."""
    assert verify(world.log.path, fingerprint=world.log.fingerprint, until="checkpoint").ok
    world.evict(1)
    report = verify(world.log.path, fingerprint=world.log.fingerprint, until="checkpoint")
    assert (report.ok, report.problems) == (False, [])
    assert report.exit_code == 4
    assert {line.grade for line in report.lines} == {"L0"}
    assert any("segment 1 is evicted" in line for line in report.degraded)


def test_a_segment_stays_without_enough_copies(world: World) -> None:
    """One by one: a copy unlocked, a lock that ends soon, other bytes, hidden from its manifest, gone."""
    now = world.targets[0].now
    key, version = world.segment_of(0, 0)
    world.targets[0].change(key, version, lock=None)
    key, version = world.segment_of(1, 1)
    world.targets[1].change(key, version, lock=Lock("COMPLIANCE", now + 1000))
    key, version = world.segment_of(1, 2)
    world.targets[1].change(key, version, sha256=bytes(32))
    report = world.evict()
    assert report.evicted == []
    assert "1 of 2" in report.kept[0]
    assert "not locked" in report.kept[0]
    assert "not locked for long enough" in report.kept[1]
    assert "other bytes" in report.kept[2]
    assert world.log.paths.list_sealed().found == (0, 1, 2)
    assert world.evict(0, min_copies=1).evicted == [0]
    world.log.append({"event_type": "more"})
    world.log.seal()
    assert "does not list" in world.evict(3).kept[3]
    assert "not sealed" in world.evict(4).kept[4]
    assert "already" in world.evict(0, min_copies=1).kept[0]


def test_a_damaged_local_file_stays(world: World) -> None:
    """What is here and what is there differ: nothing is dropped."""
    path = world.log.paths.sealed(1)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    assert "does not list these bytes" in world.evict(1).kept[1]
    assert path.exists()


def test_two_copies_are_of_two_targets(world: World) -> None:
    """The same target twice is one copy, and none is no rule."""
    pair = (world.targets[0], world.statements.open)
    for targets, copies in (([pair, pair], 2), ([pair], 2), ([pair], 0)):
        with pytest.raises(UsageError, match="nothing was evicted"):
            evict_segments(world.log, [0], targets, min_copies=copies)


def test_the_manifest_says_where_a_segment_is(world: World) -> None:
    """Both receipts, and the state, also after the next seal wrote MANIFEST anew."""
    world.evict(0)
    world.log.append({"event_type": "more"})
    world.log.seal()
    found = manifests.newest(world.log.paths)
    assert found is not None
    assert [row.state for row in found.rows] == [2, 1, 1, 0]
    urls = [[receipt["url"] for receipt in row.receipts] for row in found.rows]
    assert urls == [["memory:a", "memory:b"]] * 3 + [[]]
    assert all(r["until"] > world.targets[0].now + YEAR_S // 2 for row in found.rows for r in row.receipts)


def test_a_lying_archive_is_not_believed(world: World) -> None:
    """Other bytes at the place of a block are found by the row's checksum."""
    base = world.log.segments[1]["base"]
    world.evict(1)
    read_evicted(world.log, world.targets[:1])
    key, _ = world.segment_of(0, 1)
    [(version, data)] = world.targets[0].store[key]
    world.targets[0].store[key] = [(version, data[:520] + bytes(len(data) - 520))]
    with pytest.raises(CorruptionError, match="segment 1"):
        world.log[base]


def test_a_changed_stub_is_refused(world: World, tmp_path: Path) -> None:
    """Every byte of a stub is checked, but for the time of the last entry, which only a verification needs."""
    sizes = [found.size for found in world.log.paths.list_checkpoints().found]
    with SealedSegment(world.log.paths.sealed(1), 1) as segment:
        data = encode_stub(segment, sizes)
        seal_hash = segment.seal_hash
    path = tmp_path / "stub"
    path.write_bytes(data)
    read_all(path, seal_hash)
    for at in [*range(24), *range(32, 48), *range(48, len(data), 17)]:
        changed = bytearray(data)
        changed[at] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(CorruptionError):
            read_all(path, seal_hash)


def read_all(path: Path, seal_hash: bytes) -> None:
    """Open a stub of segment 1 and look at all that it has."""
    with EvictedSegment(path, 1, seal_hash=seal_hash) as opened:
        for name in ("header", "dictionary", "rows", "nodes"):
            opened.section(name)


@pytest.mark.parametrize("step", ["publish_file", "_open", "manifests.change", "sync_folder"])
def test_an_eviction_cut_short_is_finished(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Killed right after each step: everything is readable as before, here or there; the next eviction finishes."""
    log, end = world.log, world.log.segments[SEGMENTS]["base"]
    entries, root = list(log.entries(0, end)), log.root_at(end)
    place = evict_module
    names = step.split(".")
    for name in names[:-1]:
        place = getattr(place, name)
    true = getattr(place, names[-1])

    def dies(*arguments: Any, **options: Any) -> None:
        true(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, names[-1], dies)
        with pytest.raises(Killed):
            world.evict(1)
    log.close()
    with Ledger(log.path) as again:
        read_evicted(again, world.targets[:1])
        assert again.root_at(end) == root
        assert list(again.entries(0, end)) == entries
        pairs = [(target, world.statements.open) for target in world.targets]
        report = evict_segments(again, [1], pairs, min_copies=2)
        assert report.evicted == [1] or report.kept == {1: "evicted already"}
        assert again.paths.list_sealed().found == (0, 2)
        assert again.paths.list_stubs().found == (1,)
        assert list(again.entries(0, end)) == entries


def test_a_damaged_leftover_stub_is_written_anew(world: World) -> None:
    """What an eviction that was cut short left is checked before the sealed file goes."""
    world.log.paths.stub(1).write_bytes(b"LGSTUB1\0" + bytes(3000))
    assert world.evict(1).evicted == [1]
    assert world.log.root_at(world.log.segments[1]["end"])


def test_a_reader_goes_on_through_an_eviction(world: World) -> None:
    """Each entry once, without the archive: what was open stays open; and its space is free when it is let go."""
    log, end = world.log, world.log.segments[SEGMENTS]["base"]
    expected = [item.index for item in log.entries(0, end)]
    reading = log.entries(world.log.segments[1]["base"], world.log.segments[1]["end"])
    seen = [next(reading).index]
    world.evict()
    seen += [item.index for item in reading]
    assert seen == expected[world.log.segments[1]["base"] : world.log.segments[1]["end"]]
    del reading
    gc.collect()
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit() and is_open(fd)]
    assert not [name for name in held if str(log.paths.sealed_folder) in name and name.endswith("(deleted)")]


def is_open(fd: str) -> bool:
    """A listing of descriptors holds the one that listed."""
    return os.path.lexists(f"/proc/self/fd/{fd}")
