# SPDX-License-Identifier: Apache-2.0
"""Whoever may write to the bucket, and cannot delete what is locked, changes nothing that is read, and is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.archive import keys
from ledger.archive.audit import AuditReport, audit, remove_markers
from ledger.archive.restore import RestoreReport, restore
from ledger.archive.target import Lock
from ledger.errors import CorruptionError
from ledger.verify import parse_vkey
from tests.archive.fakes import YEAR_S, Clock, FakeTarget, Statements, sealed_ledger, shipper_of


@dataclass
class World:
    """A ledger, its archive, and the way to look at both."""

    log: Ledger
    target: FakeTarget
    statements: Statements
    clock: Clock
    folder: Path

    def ship(self) -> None:
        shipper = shipper_of(self.log, self.target, self.statements, self.clock)
        self.report = shipper.run_once()
        shipper.close()

    def more(self, count: int = 1) -> None:
        for _ in range(count):
            self.log.append({"event_type": "more"})
            self.log.seal()
            self.clock.now += 10
            self.target.now += 10
            self.ship()

    def audit(self, **options: object) -> AuditReport:
        self.target.now += 10
        vkeys = [parse_vkey(key) for key in self.log.identity.keys]
        return audit(
            self.target,
            self.log.identity.ledger_id,
            self.log.origin,
            self.statements.open,
            vkeys,
            now=self.target.now,
            **options,
        )

    def states(self, **options: object) -> set[str]:
        return {finding.state for finding in self.audit(**options).findings}

    def restore(self) -> RestoreReport:
        to = self.folder / f"back{len(list(self.folder.glob('back*')))}"
        ledger_id = self.log.identity.ledger_id
        return restore(self.target, to, ledger_id, self.statements.open, fingerprint=self.log.fingerprint)

    def segment(self, segno: int) -> str:
        return str(keys.segment(self.log.identity.ledger_id, segno))

    def manifest(self, n: int) -> str:
        return str(keys.manifest(self.log.identity.ledger_id, n))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with sealed_ledger(tmp_path / "log") as log:
        target = FakeTarget()
        made = World(log, target, Statements(log.origin), Clock(float(target.now), target), tmp_path)
        made.ship()
        made.more(2)
        yield made


def shadow(world: World) -> set[str]:
    """Other bytes over every object."""
    for key in list(world.target.store):
        world.target.add(key, b"shadow of " + key.encode())
    return {"SHADOWED"}


def hide(world: World) -> set[str]:
    """A delete marker over every object."""
    for key in list(world.target.store):
        world.target.add(key, b"", marker=True)
    return {"HIDDEN"}


def repeat(world: World) -> set[str]:
    """Every object once more, byte for byte."""
    for key, versions in list(world.target.store.items()):
        world.target.add(key, versions[0][1])
    return {"DUPLICATE"}


def add_foreign_keys(world: World) -> set[str]:
    """Names of ours that are not ours, and names of nobody."""
    for key in (world.segment(99), world.manifest(99), world.segment(0) + ".old", world.segment(1)[:-3] + "txt"):
        world.target.add(key, b"foreign")
    return {"FOREIGN"}


def copy_an_old_manifest_over_new(world: World) -> set[str]:
    """A true signature, in the wrong place: over the newest, and as the next one."""
    old = world.target.store[world.manifest(0)][0][1]
    for n in (1, 2, 3):
        world.target.add(world.manifest(n), old)
    return {"SHADOWED", "FOREIGN"}


def shuffle_segments(world: World) -> set[str]:
    """True segments under each other's names."""
    first, second = (world.target.store[world.segment(n)][0][1] for n in (0, 1))
    world.target.add(world.segment(0), second)
    world.target.add(world.segment(1), first)
    return {"SHADOWED"}


ATTACKS: list[Callable[[World], set[str]]] = [
    *(shadow, hide, repeat, add_foreign_keys, copy_an_old_manifest_over_new, shuffle_segments),
]


def test_an_archive_as_it_was_shipped_has_no_finding(world: World) -> None:
    """Nothing is named that is as it must be, read in full too."""
    report = world.audit(sample=None)
    assert report.findings == []
    assert report.objects == report.good == report.reread
    assert report.objects == 5 + 5 + 2 + 3  # segments, indexes, identity and index key, manifests


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_changes_nothing_that_is_read_and_is_named(world: World, attack: Callable[[World], set[str]]) -> None:
    """Restore gives the same root and misses nothing; the audit names exactly what was done."""
    before = world.restore()
    assert before.ok
    world.target.now += 10
    states = attack(world)
    after = world.restore()
    assert (after.ok, after.root, after.size, after.manifest) == (True, before.root, before.size, before.manifest)
    assert world.states() == states


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_shipping_goes_on_after_an_attack(world: World, attack: Callable[[World], set[str]]) -> None:
    """What is sealed later is shipped and listed, and comes back."""
    world.target.now += 10
    attack(world)
    world.more(2)
    assert world.report.ok, world.report
    end = world.log.segments[-1]["base"]
    report = world.restore()
    assert (report.ok, report.size, report.root) == (True, end, world.log.root_at(end).hex())


def test_markers_are_all_that_is_repaired(world: World) -> None:
    """After the repair nothing is hidden; no version with data went."""
    data = {key: [d for v, d in versions] for key, versions in world.target.store.items()}
    hide(world)
    assert len(remove_markers(world.target, world.audit())) == len(data)
    assert world.audit().findings == []
    assert {key: [d for v, d in versions] for key, versions in world.target.store.items()} == data


def test_locks_are_compared_with_the_manifest(world: World) -> None:
    """A lock that is gone, weaker, shorter, or ends soon, each by its name: what only a lying server allows."""
    until = int(world.clock.now) + YEAR_S
    for segno, lock in enumerate([None, Lock("GOVERNANCE", 2 * until), Lock("COMPLIANCE", until - YEAR_S // 2)]):
        world.target.change(world.segment(segno), world.target.store[world.segment(segno)][0][0].version, lock=lock)
    found = {(f.state, f.key) for f in world.audit().findings}
    names = ("UNLOCKED", "WRONG_MODE", "SHORTENED")
    assert found == {(state, world.segment(n)) for n, state in enumerate(names)}
    assert world.states(expiring_days=400) == {*names, "EXPIRING"}


def test_what_is_gone_is_missing(world: World) -> None:
    """An object that a broken store lost: audit and restore say which entries, and restore keeps what is before."""
    row = world.log.segments[3]
    del world.target.store[world.segment(3)]
    assert {(f.state, f.key) for f in world.audit().findings} == {("MISSING", world.segment(3))}
    report = world.restore()
    assert not report.ok
    assert report.size == row["base"]
    assert any(f"segment 3, entries [{row['base']}, {row['end']})" in line for line in report.missing)
    assert any("segment 4" in line for line in report.missing)


def test_changed_bytes_are_found_by_reading(world: World) -> None:
    """A store that answers with the old checksum for changed bytes is found out by the deep audit."""
    key = world.segment(2)
    [(version, data)] = world.target.store[key]
    world.target.store[key] = [(version, data[:-1] + bytes([data[-1] ^ 1]))]
    assert world.states() == set()
    assert {(f.state, f.key) for f in world.audit(sample=None).findings} == {("CHECKSUM", key)}


@pytest.fixture
def linked(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """An archive whose manifests leave rows to earlier ones."""
    monkeypatch.setattr("ledger.archive.archive_manifest.ROWS_REPEATED_MAX", 3)
    world.more(6)
    assert world.report.manifest == 8
    return world


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_linked_manifests_stand_attacks_too(linked: World, attack: Callable[[World], set[str]]) -> None:
    """The list is whole when it has to be put together from several manifests, also after the journal was lost."""
    linked.target.now += 10
    states = attack(linked)
    if attack is copy_an_old_manifest_over_new:
        states -= {"FOREIGN"}  # number 3 is one of ours by now
    assert linked.restore().ok
    assert linked.states() == states
    linked.log.paths.ship_log("one").unlink()
    linked.more()
    assert linked.report.ok, linked.report
    end = linked.log.segments[-1]["base"]
    assert linked.restore().size == end


def test_a_linked_manifest_must_be_the_one_that_was_meant(linked: World) -> None:
    """Another true manifest in its place, by a store that lies about versions: refused, not followed."""
    newest = linked.target.store[linked.manifest(8)][0][1]
    assert b'"since":{' in newest
    [n] = [int(part.split(b'"n":')[1].split(b",")[0]) for part in [newest.split(b'"since":{')[1]]]
    versions = linked.target.store[linked.manifest(n)]
    linked.target.store[linked.manifest(n)] = [(versions[0][0], linked.target.store[linked.manifest(0)][0][1])]
    with pytest.raises(CorruptionError, match="list of objects is incomplete"):
        linked.restore()
    del linked.target.store[linked.manifest(n)]
    with pytest.raises(CorruptionError, match="list of objects is incomplete"):
        linked.restore()
