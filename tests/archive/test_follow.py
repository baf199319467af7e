# SPDX-License-Identifier: Apache-2.0
"""Shipping in the background while others append."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.archive.policy import Policy, ShipReport
from ledger.archive.restore import restore
from ledger.shipping import shipper
from ledger.storage import manifests
from tests.archive.fakes import YEAR_S, FakeTarget, Statements, sealed_ledger
from tests.archive.faults import FAULTS, FaultyTarget


def ship_while_appending(log: Ledger, target: FaultyTarget, statements: Statements) -> ShipReport:
    """Six more segments while `follow` runs in a thread; stopped when the last has its receipt."""
    policy = Policy("COMPLIANCE", YEAR_S, manifest_age_s=0)
    made = shipper(
        log, target, "one", policy, statements.sign, statements.open, sleep=lambda seconds: time.sleep(0.001)
    )
    reports: list[ShipReport] = []
    thread = threading.Thread(target=lambda: reports.append(made.follow(poll_s=0.001)))
    thread.start()
    try:
        for _ in range(6):
            log.append_many([{"event_type": "busy", "n": n} for n in range(20)])
            log.seal()
        until = time.monotonic() + 60
        while not listed(log, 9):
            assert thread.is_alive()
            assert time.monotonic() < until, made.report
            time.sleep(0.01)
    finally:
        made.stop()
        thread.join()
        made.close()
    return reports[0]


def listed(log: Ledger, count: int) -> bool:
    found = manifests.newest(log.paths)
    return found is not None and sum(row.state == 1 for row in found.rows) == count


@pytest.mark.parametrize("faults", [False, True])
def test_appends_and_shipping_go_on_together(tmp_path: Path, faults: bool) -> None:
    """Each segment is shipped and listed while events come in, with an answer in three lost too; all comes back."""
    with sealed_ledger(tmp_path / "log") as log:
        bucket = FakeTarget(now=int(time.time()))
        target = FaultyTarget(bucket)
        if faults:
            choose = random.Random(7).choice
            target.plan = [choose([*FAULTS[:4], "none", "none"]) for _ in range(100)]
        statements = Statements(log.origin)
        report = ship_while_appending(log, target, statements)
        assert (report.lag_segments, report.problems) == (0, [])
        target.plan = []
        back = restore(bucket, tmp_path / "back", log.identity.ledger_id, statements.open, fingerprint=log.fingerprint)
        assert (back.ok, back.segments) == (True, 9)
        assert back.root == log.root_at(back.size).hex()
