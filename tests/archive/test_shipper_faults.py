# SPDX-License-Identifier: Apache-2.0
"""One fault at a time, and what the shipper makes of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.archive import keys
from ledger.archive.journal import Journal
from ledger.archive.policy import Policy, ShipReport
from ledger.archive.target import Lock, Version
from ledger.errors import AccessRefusedError, LockedError, UsageError
from ledger.succession import adopt
from tests.archive.fakes import DAY_S, YEAR_S, Clock, FakeTarget, OwnerOf, Statements, sealed_ledger, shipper_of
from tests.archive.faults import FaultyTarget, Killed, dying_after


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Ledger]:
    with sealed_ledger(tmp_path / "log") as made:
        yield made


@pytest.fixture
def statements(log: Ledger) -> Statements:
    return Statements(log.origin)


def run(log: Ledger, target: Any, statements: Statements, clock: Clock | None = None, **options: Any) -> ShipReport:
    shipper = shipper_of(log, target, statements, clock or Clock(float(getattr(target, "now", 0))), **options)
    try:
        return shipper.run_once()
    finally:
        shipper.close()


def segment_key(log: Ledger, segno: int) -> str:
    return str(keys.segment(log.identity.ledger_id, segno))


def test_a_lost_answer_is_found_again(log: Ledger, statements: Statements) -> None:
    """Every answer lost once: each object is there once."""
    bucket = FakeTarget()
    target = FaultyTarget(bucket)
    target.plan = ["lost answer", "none"] * 30
    clock = Clock(float(bucket.now))
    report = run(log, target, statements, clock)
    assert report.ok
    assert clock.slept
    assert all(len(versions) == 1 for versions in bucket.store.values())


def test_waits_grow_with_jitter_and_have_a_bound(log: Ledger, statements: Statements) -> None:
    """A bucket that is away for long is asked for as long as it takes, at most every 300 s (random gives 0.5)."""
    bucket = FakeTarget()
    target = FaultyTarget(bucket)
    target.plan = ["refused connection", "throttled"] * 10
    clock = Clock(float(bucket.now), bucket)
    assert run(log, target, statements, clock).ok
    assert clock.slept == [min(150.0, 0.5 * 2**n) for n in range(1, 21)]


def test_a_refusal_blocks_with_its_reason(log: Ledger, statements: Statements) -> None:
    """No hot loop: a run ends and says why, nothing is marked shipped, and the next run goes on."""
    bucket = FakeTarget()
    target = FaultyTarget(bucket)
    target.plan = ["none", "none", "denied"]
    report = run(log, target, statements, Clock(float(bucket.now)))
    assert (report.ok, report.state, report.shipped, report.lag_segments) == (False, "blocked", 0, 3)
    assert "not allowed" in report.reason
    assert run(log, target, statements, Clock(float(bucket.now))).ok


class SlowLocks(FakeTarget):
    """Stores without the lock, and shows it only after it was asked for so many times; None: never."""

    def __init__(self, asks: int | None, *, refuse: bool = False) -> None:
        super().__init__()
        self.asks, self.refuse, self.asked = asks, refuse, dict[str, int]()

    def put(self, key: str, data: bytes | Path, sha256: bytes, lock: Lock | None, **options: Any) -> Any:
        return super().put(key, data, sha256, None, **options)

    def extend(self, key: str, version: str, lock: Lock) -> None:
        if self.refuse:
            raise AccessRefusedError("PutObjectRetention is not allowed")
        self.asked[key] = self.asked.get(key, 0) + 1
        if self.asks is not None and self.asked[key] >= self.asks:
            super().extend(key, version, lock)


def test_a_lock_that_comes_late_is_waited_for(log: Ledger, statements: Statements) -> None:
    """1, 2, 4 … s between the tries; then it counts."""
    target, clock = SlowLocks(3), Clock(0)
    clock.now = float(target.now)
    assert run(log, target, statements, clock).ok
    assert clock.slept[:2] == [1, 2]
    assert all(versions[0][0].lock for key, versions in target.store.items() if "/idx/" not in key)


@pytest.mark.parametrize("refuse", [False, True])
def test_without_a_lock_nothing_counts(log: Ledger, statements: Statements, refuse: bool) -> None:
    """A target that takes the object and never locks it: blocked, no receipt, no manifest."""
    target = SlowLocks(None, refuse=refuse)
    clock = Clock(float(target.now), target)
    report = run(log, target, statements, clock)
    assert (report.ok, report.state, report.manifest, report.shipped) == (False, "blocked", -1, 0)
    assert "LockNotAppliedError" in report.reason
    assert sum(clock.slept) == (0 if refuse else 123)
    journal = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
    journal.close()
    assert all(progress.verified is None for progress in journal.progress.values())


def test_a_weaker_mode_does_not_count(log: Ledger, statements: Statements) -> None:
    """GOVERNANCE where COMPLIANCE was meant is raised, as far as the target lets itself be asked."""

    class Weak(FakeTarget):
        def put(self, key: str, data: bytes | Path, sha256: bytes, lock: Lock | None, **options: Any) -> Any:
            weak = None if lock is None else Lock("GOVERNANCE", lock.until)
            return super().put(key, data, sha256, weak, **options)

    target = Weak()
    assert run(log, target, statements).ok
    assert {v.lock.mode for pairs in target.store.values() for v, _ in pairs if v.lock} == {"COMPLIANCE"}


def test_a_version_that_vanished_is_put_again(log: Ledger, statements: Statements) -> None:
    """Killed after PUT; a broken store then lost the version: it is put once more, with the same retention."""
    target = FakeTarget()
    shipper = shipper_of(log, target, statements, Clock(float(target.now), target))
    with dying_after("seg", "put") as names, contextlib.suppress(Killed):
        shipper.run_once()
    shipper.close()
    [name] = names
    journal = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
    journal.close()
    until = journal.progress[name].intent.until
    del target.store[name]
    assert run(log, target, statements, Clock(target.now + 5000.0, target)).ok
    [(version, _)] = target.store[name]
    assert version.lock == Lock("COMPLIANCE", until)


def test_a_version_with_other_bytes_does_not_count(log: Ledger, statements: Statements) -> None:
    """A store that spoils what it takes, once: alarm, and the object is put again under a name that is free."""

    class Spoils(FakeTarget):
        def add(self, key: str, data: bytes, lock: Lock | None = None, *, marker: bool = False) -> str:
            spoil = key == segment_key(log, 1) and key not in self.store
            return super().add(key, data[:-1] + b"?" if spoil else data, lock, marker=marker)

    target = Spoils()
    report = run(log, target, statements)
    assert report.ok
    assert [alarm.kind for alarm in report.alarms] == ["damaged", "squatted"]
    journal = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
    journal.close()
    receipt = journal.progress[segment_key(log, 1)].verified
    assert receipt is not None
    assert target.read(receipt.key, receipt.version) == log.paths.sealed(1).read_bytes()


@pytest.mark.parametrize("type_", ["intent", "put", "verified", "noted"])
@pytest.mark.parametrize("pending", ["kept", "lost", "of another"])
def test_a_manifest_is_signed_once(log: Ledger, statements: Statements, type_: str, pending: str) -> None:
    """Killed after each record of the manifest, with and without the signed bytes at hand: one manifest in the end,
    of which the ledger and MANIFEST know."""
    target, owner = FakeTarget(), OwnerOf(log)
    shipper = shipper_of(log, target, statements, Clock(float(target.now), target))
    with dying_after("man", type_) as names, contextlib.suppress(Killed):
        shipper.run_once()
    shipper.close()
    there = len(target.store.get(names[0], []))
    if pending == "lost":
        log.paths.ship_pending("one").unlink()
    elif pending == "of another":
        log.paths.ship_pending("one").write_bytes(b"not what was signed")
    assert there == (type_ != "intent")
    shipper = shipper_of(log, target, statements, Clock(target.now + 60.0, target), owner)
    report = shipper.run_once()
    shipper.close()
    assert report.ok, report
    assert report.manifest == 0
    assert len(target.store[names[0]]) == 1
    notes = [log[index].get("note") for index in range(1, log.size)]
    assert notes.count("shipped") == 1
    assert set(owner.marks) == (set() if type_ == "noted" else {0, 1, 2})


def test_a_squatter_is_stepped_over(log: Ledger, statements: Statements) -> None:
    """Foreign bytes under lock on every name to come, twice: we take longer names, alarm, and go on."""
    target = FakeTarget()
    lock = Lock("COMPLIANCE", target.now + YEAR_S)
    seal_hash = log._store.segments()[1].seal_hash
    squatted = [segment_key(log, 0), segment_key(log, 1), str(keys.genesis(log.identity.ledger_id))]
    second = str(keys.segment(log.identity.ledger_id, 1).squatted(seal_hash, 1))
    for key in (*squatted, second):
        target.add(key, b"mine now", lock)
    report = run(log, target, statements)
    assert report.ok
    assert sorted(alarm.key for alarm in report.alarms) == sorted([*squatted, second])
    assert {alarm.kind for alarm in report.alarms} == {"squatted"}
    third = str(keys.segment(log.identity.ledger_id, 1).squatted(seal_hash, 2))
    assert target.store[third][0][1] == log.paths.sealed(1).read_bytes()


@pytest.mark.parametrize("when", ["never shipped before", "shipped before", "journal kept"])
def test_a_forked_ledger_stops_the_target(log: Ledger, statements: Statements, tmp_path: Path, when: str) -> None:
    """A copy that went on by itself: its first other segment is a fork, and nothing of it is taken, whether it
    finds it at the put or in the manifests."""
    target = FakeTarget()
    if when != "never shipped before":
        assert run(log, target, statements).ok
    log.close()
    shutil.copytree(log.path, tmp_path / "fork")
    adopt(tmp_path / "fork")
    if when == "shipped before":
        (tmp_path / "fork" / "ship" / "one.log").unlink()
    with Ledger(log.path) as writer:
        writer.append({"event_type": "true"})
        writer.seal()
        assert run(writer, target, statements).ok
    there = {key: list(versions) for key, versions in target.store.items()}
    with Ledger(tmp_path / "fork") as writer:
        writer.append({"event_type": "false"})
        writer.seal()
        report = run(writer, target, statements)
    assert (report.ok, report.state) == (False, "stopped")
    assert "ForkDetectedError" in report.reason
    assert target.store == there


def test_a_ledger_put_back_to_an_older_state_stops(log: Ledger, statements: Statements, tmp_path: Path) -> None:
    """The archive lists more than is here: said before anything is put under a number that is taken."""
    target = FakeTarget()
    log.close()
    shutil.copytree(log.path, tmp_path / "old")
    adopt(tmp_path / "old")
    with Ledger(log.path) as writer:
        writer.append({"event_type": "more"})
        writer.seal()
        assert run(writer, target, statements).ok
    with Ledger(tmp_path / "old") as writer:
        report = run(writer, target, statements)
    assert report.state == "stopped"
    assert "does not extend" in report.reason


def test_a_segment_of_another_ledger_is_a_squatter(log: Ledger, statements: Statements, tmp_path: Path) -> None:
    """A whole sealed file, but not of this ledger; or of this one, but after another predecessor: no fork."""
    target = FakeTarget()
    with sealed_ledger(tmp_path / "other") as other:
        target.add(segment_key(log, 0), other.paths.sealed(0).read_bytes())
    target.add(segment_key(log, 1), log.paths.sealed(2).read_bytes())
    own = bytearray(log.paths.sealed(2).read_bytes())
    own[600] ^= 1  # footer and trailer are whole, a block is not
    target.add(segment_key(log, 2), bytes(own))
    report = run(log, target, statements)
    assert report.ok
    assert [alarm.kind for alarm in report.alarms] == ["squatted"] * 3


def test_one_shipper_a_target(log: Ledger, statements: Statements) -> None:
    """The second is told; for another target it may start."""
    target = FakeTarget()
    first = shipper_of(log, target, statements, Clock(float(target.now), target))
    with pytest.raises(LockedError):
        shipper_of(log, target, statements, Clock(float(target.now), target))
    assert run(log, FakeTarget("memory:other"), statements, Clock(float(target.now), target), name="two").ok
    assert first.run_once().ok
    first.close()


def test_a_damaged_local_segment_holds_up_no_other(log: Ledger, statements: Statements) -> None:
    """It is named and not shipped; the others are, and listed."""
    target = FakeTarget()
    path = log.paths.sealed(1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    report = run(log, target, statements)
    assert (report.ok, report.lag_segments, report.manifest) == (False, 1, 0)
    assert any("segment 1" in problem for problem in report.problems)
    path.write_bytes(whole)
    assert run(log, target, statements).ok


def test_an_idle_ledger_is_heard_of_every_hour(log: Ledger, statements: Statements) -> None:
    """A heartbeat note, a checkpoint over it, a manifest with the time: after an hour, not before."""
    target = FakeTarget()
    clock = Clock(float(target.now), target)
    assert run(log, target, statements, clock).manifest == 0
    clock.now += 1800
    assert run(log, target, statements, clock).manifest == 0
    clock.now += 1801
    size = log.size
    report = run(log, target, statements, clock)
    assert (report.ok, report.manifest) == (True, 1)
    assert log[size]["note"] == "heartbeat"
    [(_, data)] = target.store[str(keys.manifest(log.identity.ledger_id, 1))]
    assert f'"time":{int(clock.now)}'.encode() in data
    assert f"{log.origin}\\n{size + 1}\\n".encode() in data


def test_the_identity_outlives_what_is_shipped_later(log: Ledger, statements: Statements) -> None:
    """Its retention is lengthened when that of segments has outgrown it, and so is what the manifest is kept for."""
    target = FakeTarget()
    run(log, target, statements)
    later = target.now + YEAR_S // 2
    target.now = later
    log.append({"event_type": "later"})
    log.seal()
    path = log.paths.sealed(3)
    os.utime(path, (later, later))
    assert run(log, target, statements, Clock(float(later), target)).ok

    def until(key: keys.Key) -> int:
        lock = target.store[str(key)][0][0].lock
        assert lock is not None
        return lock.until

    ledger_id = log.identity.ledger_id
    assert until(keys.segment(ledger_id, 3)) >= later + YEAR_S
    assert until(keys.genesis(ledger_id)) >= until(keys.segment(ledger_id, 3))
    assert until(keys.index_key(ledger_id)) >= until(keys.segment(ledger_id, 3))
    assert until(keys.manifest(ledger_id, 1)) >= until(keys.segment(ledger_id, 3))


def test_an_old_segment_is_locked_all_the_same(log: Ledger, statements: Statements) -> None:
    """Shipped for the first time when its retention has passed: a lock in the past would be refused."""
    target = FakeTarget()
    target.now += 3 * YEAR_S
    assert run(log, target, statements).ok
    lock = target.store[segment_key(log, 0)][0][0].lock
    assert lock == Lock("COMPLIANCE", target.now + DAY_S)


def test_stopping_ends_a_wait(log: Ledger, statements: Statements) -> None:
    """`stop` from elsewhere: the run returns, says so, and the queue is as it was."""
    target = FaultyTarget(FakeTarget())
    target.plan = ["refused connection"] * 1000
    clock = Clock(float(target.inner.now))
    shipper = shipper_of(log, target, statements, clock, OwnerOf(log))
    shipper._sleep = lambda seconds: (shipper.stop(), shipper._wait(seconds))[1]
    report = shipper.run_once()
    shipper.close()
    assert (report.ok, report.lag_segments) == (False, 3)


def test_mode_and_retention_must_be_said() -> None:
    """There is no default, and no short one by mistake."""
    with pytest.raises(TypeError):
        Policy()
    with pytest.raises(UsageError, match="COMPLIANCE"):
        Policy("compliance", YEAR_S)
    with pytest.raises(UsageError, match="at least one day"):
        Policy("COMPLIANCE", 3600)


def test_an_unknown_checksum_is_read_and_hashed(log: Ledger, statements: Statements) -> None:
    """A target that never tells a checksum: the bytes themselves are compared."""

    class Silent(FakeTarget):
        def stat(self, key: str, version: str | None = None) -> Version:
            return replace(super().stat(key, version), sha256=None)

    target = Silent()
    assert run(log, target, statements).ok


@pytest.mark.parametrize("skew", [-400, 400])
def test_a_wrong_clock_ships_nothing(log: Ledger, statements: Statements, skew: int) -> None:
    """Five minutes are borne, more are not: retention would be wrong by as much."""
    target = FakeTarget()
    report = run(log, target, statements, Clock(float(target.now + skew)))
    assert (report.ok, report.state, target.store) == (False, "blocked", {})
    assert "ClockSkewError" in report.reason
    assert run(log, target, statements, Clock(float(target.now + skew // 2))).ok


def test_a_target_that_overwrites_is_looked_at_first(log: Ledger, statements: Statements) -> None:
    """Where "only if absent" is ignored, nothing of ours goes over a stranger's object, and of two versions of ours,
    put by a lost answer, the oldest is adopted."""

    class Careless(FakeTarget):
        def put(self, key: str, data: bytes | Path, sha256: bytes, lock: Lock | None, **options: Any) -> Any:
            made = super().put(key, data, sha256, lock, if_absent=False)
            if key == segment_key(log, 1) and len(self.store[key]) == 1:
                super().put(key, data, sha256, lock, if_absent=False)
            return made

    target = Careless()
    target.add(segment_key(log, 0), b"stranger")
    shipper = shipper_of(log, target, statements, Clock(float(target.now), target), conditional=False)
    assert shipper.run_once().ok
    shipper.close()
    assert [data for _, data in target.store[segment_key(log, 0)]] == [b"stranger"]
    journal = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
    journal.close()
    receipt = journal.progress[segment_key(log, 1)].verified
    assert receipt is not None
    assert receipt.version == target.store[segment_key(log, 1)][0][0].version


def test_old_checkpoints_are_forgotten_and_not_sent_again(
    log: Ledger, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal keeps the newest; those that it covers stay in the archive, and are not put there again."""
    monkeypatch.setattr("ledger.archive.shipper._OLD_CHECKPOINTS_MAX", 2)
    target, clock = FakeTarget(), Clock(0.0)
    clock = Clock(float(target.now), target)
    for round_ in range(4):
        log.append({"event_type": "more"})
        log.checkpoint()
        log.append({"event_type": "more"})
        log.seal()
        assert run(log, target, statements, clock).ok
        journal = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
        journal.close()
        assert sum("/ckpt/" in name for name in journal.progress) <= 2, round_
    there = [len(versions) for key, versions in target.store.items() if "/ckpt/" in key]
    assert there == [1] * len(log.paths.list_checkpoints().found)


def test_a_lost_journal_costs_questions_and_no_puts(log: Ledger, statements: Statements) -> None:
    """What the manifests list, and the checkpoint in the newest, is found and not sent again."""
    target = FakeTarget()
    for _ in range(3):
        log.checkpoint()
        log.append({"event_type": "more"})
        log.seal()
        assert run(log, target, statements).ok
    old = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
    old.close()
    log.paths.ship_log("one").unlink()
    faulty = FaultyTarget(target)
    puts: list[str] = []
    faulty.put = lambda key, *rest, **options: (puts.append(key), target.put(key, *rest, **options))[1]
    report = run(log, faulty, statements, Clock(float(target.now), target))
    assert (report.ok, report.shipped, puts) == (True, 0, [])
    new = Journal(log.paths.ship_log("one"), log.fingerprint, target.url)
    new.close()
    for name, progress in new.progress.items():
        assert progress.verified is not None
        assert old.progress[name].verified is not None
        assert progress.verified.version == old.progress[name].verified.version
        assert (progress.intent.facts, progress.intent.lists) == (
            old.progress[name].intent.facts,
            old.progress[name].intent.lists,
        )
