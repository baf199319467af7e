# SPDX-License-Identifier: Apache-2.0
"""A ledger comes back from its archive with the same root, whatever was put beside its objects."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Ledger
from ledger.archive import keys
from ledger.archive.patient import Patient
from ledger.archive.restore import RestoreReport, restore
from ledger.errors import (
    CopiedLedgerError,
    CorruptionError,
    MismatchError,
    ThrottledError,
    UsageError,
    VerificationError,
)
from ledger.note import checkpoint_text, sign_note
from ledger.proofs.verification import verify
from ledger.succession import adopt
from ledger.verify import Checkpoint
from tests.archive.fakes import Clock, FakeTarget, Statements, sealed_ledger, shipper_of
from tests.archive.faults import FaultyTarget


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Ledger]:
    with sealed_ledger(tmp_path / "log") as made:
        yield made


@pytest.fixture
def statements(log: Ledger) -> Statements:
    return Statements(log.origin)


@pytest.fixture
def target(log: Ledger, statements: Statements) -> FakeTarget:
    """An archive of `log`."""
    target = FakeTarget()
    shipper = shipper_of(log, target, statements, Clock(float(target.now), target))
    assert shipper.run_once().ok
    shipper.close()
    return target


def restored(log: Ledger, target: FakeTarget, statements: Statements, to: Path) -> RestoreReport:
    return restore(target, to, log.identity.ledger_id, statements.open, fingerprint=log.fingerprint)


def test_the_same_root_comes_back(log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path) -> None:
    """Ship, wipe, restore: entries, root and checkpoints of the sealed part are what they were."""
    end = log.segments[-1]["base"]
    root, events = log.root_at(end), list(log.entries(0, end))
    log.close()
    shutil.rmtree(log.path)
    report = restored(log, target, statements, tmp_path / "back")
    assert report.ok, report
    assert (report.size, report.root) == (end, root.hex())
    with Ledger(tmp_path / "back", readonly=True) as back:
        assert back.size == end
        assert back.root == root
        assert list(back.entries()) == events
    found = verify(tmp_path / "back", fingerprint=log.fingerprint, require="L1")
    assert found.ok, found.problems


def test_another_key_opens_nothing(log: Ledger, target: FakeTarget, tmp_path: Path) -> None:
    """Statements under a key that was not brought do not count: nothing is restored."""
    with pytest.raises(VerificationError, match="nothing was restored"):
        restored(log, target, Statements(log.origin), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_another_fingerprint_restores_nothing(
    log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path
) -> None:
    """The identity in the archive is a claim; the caller's fingerprint decides."""
    with pytest.raises(CorruptionError, match="nothing was restored"):
        restore(target, tmp_path / "back", log.identity.ledger_id, statements.open, fingerprint=bytes(32))


def test_a_folder_with_something_in_it_is_refused(
    log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path
) -> None:
    """Nothing is ever restored over what is there."""
    with pytest.raises(UsageError, match="not empty"):
        restored(log, target, statements, tmp_path)


def test_a_lost_tail_is_counted(log: Ledger, statements: Statements, tmp_path: Path) -> None:
    """A checkpoint beyond the last shipped segment shows how many entries did not come back."""
    target = FakeTarget()
    log.append_many([{"event_type": "tail"}] * 7)
    shipper = shipper_of(log, target, statements, Clock(float(target.now), target))
    assert shipper.run_once().ok
    shipper.close()
    signed = max(found.size for found in log.paths.list_checkpoints().found)
    report = restored(log, target, statements, tmp_path / "back")
    assert report.ok
    assert report.lost_tail == signed - report.size >= 7


def test_two_histories_are_told_apart(log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path) -> None:
    """A checkpoint under the ledger's own key with another root: no ledger is made of it."""
    log.seal()
    false = sign_note(checkpoint_text(Checkpoint(log.origin, 5, bytes(32))), [log.signer()]).encode()
    target.add(str(keys.checkpoint(log.identity.ledger_id, 5, hashlib.sha256(false).digest())), false)
    with pytest.raises(MismatchError, match="two histories"):
        restored(log, target, statements, tmp_path / "back")
    assert not (tmp_path / "back" / "LEDGER").exists()


def test_a_restored_ledger_takes_events_and_does_not_ship(
    log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path
) -> None:
    """It says that it is a copy. Adopted, it takes events and seals; but a checkpoint in the archive covers entries
    that did not come back, so what follows is another history, and it is not shipped under this name."""
    log.close()
    assert restored(log, target, statements, tmp_path / "back").lost_tail
    with pytest.raises(CopiedLedgerError):
        Ledger(tmp_path / "back")
    adopt(tmp_path / "back")
    there = {key: list(versions) for key, versions in target.store.items()}
    with Ledger(tmp_path / "back") as back:
        back.append({"event_type": "after"})
        assert back.seal() == 1
        shipper = shipper_of(back, target, statements, Clock(target.now + 100.0, target))
        report = shipper.run_once()
        shipper.close()
    assert (report.state, report.shipped) == ("stopped", 0)
    assert target.store == there


def test_a_squatted_archive_comes_back(log: Ledger, statements: Statements, tmp_path: Path) -> None:
    """Objects under longer names, since a stranger held ours, are found through the manifest."""
    target = FakeTarget()
    ledger_id = log.identity.ledger_id
    for key in (keys.genesis(ledger_id), keys.segment(ledger_id, 1), keys.manifest(ledger_id, 0)):
        target.add(str(key), b"stranger")
    shipper = shipper_of(log, target, statements, Clock(float(target.now), target))
    assert shipper.run_once().ok
    shipper.close()
    assert restored(log, target, statements, tmp_path / "back").ok


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_in_the_archive_is_never_served(
    log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path, data: st.DataObject
) -> None:
    """Any object changed, cut or gone: an error, or a report that names it; what comes back is a true prefix."""
    key = data.draw(st.sampled_from(sorted(target.store)))
    kept = list(target.store[key])
    (version, bytes_), *_ = kept
    at = data.draw(st.integers(0, len(bytes_) - 1))
    damaged = data.draw(
        st.sampled_from([bytes_[:at] + bytes([bytes_[at] ^ 4]) + bytes_[at + 1 :], bytes_[:at], bytes_ + b"\0"])
    )
    target.store[key] = [(version, damaged)]
    to = Path(tempfile.mkdtemp(dir=tmp_path))
    try:
        report = restored(log, target, statements, to)
    except (CorruptionError, VerificationError):
        assert not (to / "LEDGER").exists()
    else:
        assert report.root == log.root_at(report.size).hex()
        changed = damaged[: len(bytes_)] != bytes_  # what follows the listed length is not read
        listed = changed and ("/seg/" in key or "/idx/" in key or key.endswith("index-key"))
        assert bool(report.missing) == listed
    finally:
        target.store[key] = kept


def test_a_restore_asks_again(log: Ledger, target: FakeTarget, statements: Statements, tmp_path: Path) -> None:
    """Failures that pass are waited for, a few times in a row; then the error is raised, and no ledger is there."""
    faulty, clock = FaultyTarget(target), Clock(0.0)
    faulty.plan = ["throttled", "refused connection", "none", "lost answer"] * 10
    patient = Patient(faulty, sleep=clock.sleep, random=lambda: 0.5)
    ledger_id = log.identity.ledger_id
    report = restore(patient, tmp_path / "a", ledger_id, statements.open, fingerprint=log.fingerprint)
    assert report.ok
    assert len(clock.slept) >= 20
    faulty.plan = ["none"] * 8 + ["throttled"] * 1000
    with pytest.raises(ThrottledError):
        restore(patient, tmp_path / "b", ledger_id, statements.open, fingerprint=log.fingerprint)
    assert not (tmp_path / "b" / "LEDGER").exists()
    assert list((tmp_path / "b" / "sealed").glob("*.tmp")) == []
