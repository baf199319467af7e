# SPDX-License-Identifier: Apache-2.0
"""The drill: fifty segments to a real server with Object Lock, the ledger wiped, and back."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.archive import keys
from ledger.archive.audit import audit
from ledger.archive.policy import Policy
from ledger.archive.restore import restore
from ledger.errors import ArchiveError
from ledger.proofs.verification import verify
from ledger.shipping import evict_segments, read_evicted, shipper
from ledger.verify import parse_vkey
from tests.archive.fakes import YEAR_S, Statements, sealed_ledger
from tests.archive.plain_s3 import PlainS3, seaweed

SEGMENTS = 50


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("boto3", reason="pip install boto3")
    folder = tmp_path_factory.mktemp("weed") / "data"
    folder.mkdir()
    with seaweed(folder) as found:
        yield found


def test_fifty_segments_come_back(endpoint: str, tmp_path: Path) -> None:
    """Ship, attack, audit, evict and read back, wipe, restore: equal roots, entries, proofs; locks that hold."""
    log = sealed_ledger(tmp_path / "log", SEGMENTS, 30)
    statements, target = Statements(log.origin), PlainS3(endpoint, "drill")
    policy = Policy("COMPLIANCE", YEAR_S)
    pair = (statements.sign, statements.open)
    with_shipper = shipper(log, target, "drill", policy, *pair)
    report = with_shipper.run_once()
    with_shipper.close()
    assert report.ok, report
    assert report.shipped >= SEGMENTS + 4
    end, ledger_id = log.segments[-1]["base"], log.identity.ledger_id
    root = log.root_at(end)
    before = [(item, (log.entry(item.index), log.salt(item.index))) for item in log.entries(0, end)]

    seven = str(keys.segment(ledger_id, 7))
    true = target.stat(seven)
    with pytest.raises(ArchiveError):
        target._call("delete_object", Key=seven, VersionId=true.version)
    target._call("delete_object", Key=seven)
    target._call("put_object", Key=str(keys.segment(ledger_id, 8)), Body=b"shadow")
    target._call("put_object", Key=str(keys.segment(ledger_id, 50)), Body=b"squat")
    brought = [parse_vkey(key) for key in log.identity.keys]
    now = int(time.time())
    found = audit(target, ledger_id, log.origin, statements.open, brought, now=now, sample=None)
    named = {(finding.state, finding.key) for finding in found.findings}
    assert named == {
        ("HIDDEN", seven),
        ("SHADOWED", str(keys.segment(ledger_id, 8))),
        ("FOREIGN", str(keys.segment(ledger_id, 50))),
    }

    evicted = evict_segments(log, range(5, 15), [(target, statements.open)], min_copies=1)
    assert (evicted.evicted, evicted.kept) == (list(range(5, 15)), {})
    read_evicted(log, [target])
    chosen = random.Random(1).sample(before, 40)
    assert all((log.payload(item.index), log.entry(item.index)) == (item.payload, entry[0]) for item, entry in chosen)

    log.close()
    shutil.rmtree(log.path)
    back = restore(target, tmp_path / "back", ledger_id, statements.open, fingerprint=log.fingerprint)
    assert (back.ok, back.segments, back.size, back.root) == (True, SEGMENTS, end, root.hex()), back
    with Ledger(tmp_path / "back", readonly=True) as again:
        assert again.root == root
        for (item, (entry, salt)), other in zip(before, again.entries(), strict=True):
            assert other == item
            assert (again.entry(item.index), again.salt(item.index)) == (entry, salt)
        assert again.prove_consistency(end // 2, end)
    checked = verify(tmp_path / "back", fingerprint=log.fingerprint, require="L1")
    assert checked.ok, checked.problems
