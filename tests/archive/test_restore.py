# SPDX-License-Identifier: Apache-2.0
"""A ledger comes back from its archive with the same root, whatever was put beside its objects."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.archive.restore import RestoreReport, restore
from ledger.proofs.verification import verify
from tests.archive.fakes import Clock, FakeTarget, Statements, sealed_ledger, shipper_of


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
    shipper = shipper_of(log, target, statements, Clock(float(target.now)))
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
