# SPDX-License-Identifier: Apache-2.0
"""What the shipper does when all goes well, and when one thing goes wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.archive import keys
from tests.archive.fakes import YEAR_S, Clock, FakeTarget, OwnerOf, Statements, sealed_ledger, shipper_of


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Ledger]:
    with sealed_ledger(tmp_path / "log") as made:
        yield made


@pytest.fixture
def statements(log: Ledger) -> Statements:
    return Statements(log.origin)


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def clock(target: FakeTarget) -> Clock:
    return Clock(float(target.now), target)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_all_that_is_sealed_is_shipped_locked(
    log: Ledger, target: FakeTarget, statements: Statements, clock: Clock, concurrency: int
) -> None:
    """Each sealed file byte for byte under its number, locked for at least the retention; then a manifest."""
    owner = OwnerOf(log)
    shipper = shipper_of(log, target, statements, clock, owner, concurrency)
    report = shipper.run_once()
    shipper.close()
    assert report.ok, report
    assert report.manifest == 0
    for segno in range(3):
        key = str(keys.segment(log.identity.ledger_id, segno))
        [(version, data)] = target.store[key]
        assert data == log.paths.sealed(segno).read_bytes()
        assert version.lock is not None
        assert version.lock.mode == "COMPLIANCE"
        assert version.lock.until >= log.paths.sealed(segno).stat().st_mtime + YEAR_S
        assert owner.marks[segno]["version"] == version.version
    assert {key for key, versions in target.store.items() if not versions[0][0].lock} == {
        str(keys.index(log.identity.ledger_id, segno)) for segno in range(3)
    }
    note = log[-1]
    assert (note["note"], note["segments"]) == ("shipped", [0, 1, 2])
    [(_, manifest)] = target.store[str(keys.manifest(log.identity.ledger_id, 0))]
    assert hashlib.sha256(manifest).digest() == note["sha256"]


def test_a_second_run_sends_nothing(log: Ledger, target: FakeTarget, statements: Statements, clock: Clock) -> None:
    """What has its receipt is not sent again."""
    counts = []
    for _ in range(2):
        shipper = shipper_of(log, target, statements, clock)
        report = shipper.run_once()
        shipper.close()
        counts.append(target.count)
    assert (report.ok, report.shipped) == (True, 0)
    assert counts[0] == counts[1]
