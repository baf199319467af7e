# SPDX-License-Identifier: Apache-2.0
"""The shipper against everything at once: faults, kills, a stranger in the bucket, a lost journal, eviction."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger import Ledger
from ledger.archive import keys
from ledger.archive.chain import list_manifests
from ledger.archive.journal import Journal
from ledger.archive.restore import restore
from ledger.archive.send import covers
from ledger.shipping import LedgerOwner, evict_segments
from tests.archive.fakes import Clock, FakeTarget, Statements, shipper_of
from tests.archive.faults import ATTACKS, FAULTS, FaultyTarget, Killed, dying_journal

plans = st.lists(st.sampled_from([*FAULTS, *FAULTS[:4], *ATTACKS]), max_size=30)


class ShipperMachine(RuleBasedStateMachine):
    """A ledger, a bucket, and whoever else can write to it. What is claimed is checked after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log = Ledger(Path(self.folder.name) / "log", new_key=True, name="test", segment_bytes_max=1 << 16)
        self.bucket = FakeTarget()
        self.target = FaultyTarget(self.bucket)
        self.statements = Statements(self.log.origin)
        self.clock = Clock(float(self.bucket.now), self.bucket)
        self.digests: list[bytes] = []  # of the sealed files, from when they were sealed
        self.evicted: set[int] = set()
        self.squats = 0

    def teardown(self) -> None:
        self.log.close()
        self.folder.cleanup()

    # ---- what happens ---------------------------------------------------------------------------

    @rule()
    def seal(self) -> None:
        self.log.append_many([{"event_type": "t", "n": n} for n in range(5)])
        self.log.seal()
        path = self.log.paths.sealed(len(self.digests))
        self.digests.append(hashlib.sha256(path.read_bytes()).digest())

    @rule(plan=plans, dies=st.none() | st.tuples(st.integers(0, 12), st.integers(0, 40)))
    def ship(self, plan: list[str], dies: tuple[int, int] | None) -> None:
        self.target.plan = plan
        shipper = shipper_of(self.log, self.target, self.statements, self.clock, LedgerOwner(self.log))
        with dying_journal(*dies) if dies is not None else nullcontext(), suppress(Killed):
            report = shipper.run_once()
            assert report.state != "stopped", report
        shipper.close()
        self.target.plan = []

    @rule(seconds=st.sampled_from([10, 4000]))
    def wait(self, seconds: int) -> None:
        self.clock.sleep(seconds)

    @rule(kind=st.sampled_from(["segment", "manifest", "overwrite", "marker"]), data=st.data())
    def attack(self, kind: str, data: st.DataObject) -> None:
        """Squat the next key, or put something over what is there."""
        self.squats += 1
        ledger_id = self.log.identity.ledger_id
        if kind == "segment":
            self.bucket.add(str(keys.segment(ledger_id, len(self.digests))), b"squat %d" % self.squats)
        elif kind == "manifest":
            numbers = list_manifests(self.bucket, ledger_id).candidates
            self.bucket.add(str(keys.manifest(ledger_id, max(numbers, default=-1) + 1)), b"squat %d" % self.squats)
        elif self.bucket.store:
            key = data.draw(st.sampled_from(sorted(self.bucket.store)))
            self.bucket.add(key, b"" if kind == "marker" else b"over", marker=kind == "marker")

    @rule()
    def lose_the_journal(self) -> None:
        self.log.paths.ship_log("one").unlink(missing_ok=True)

    @rule()
    def lose_the_pending_manifest(self) -> None:
        self.log.paths.ship_pending("one").unlink(missing_ok=True)

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        segno = data.draw(st.integers(0, len(self.digests) - 1))
        pairs = [(self.bucket, self.statements.open)]
        report = evict_segments(self.log, [segno], pairs, min_copies=1)
        self.evicted |= set(report.evicted)

    @rule()
    def all_is_well_in_the_end(self) -> None:
        """Without faults one run ships everything, and a restore gives the same root."""
        self.ship([], None)
        back = Path(tempfile.mkdtemp(dir=self.folder.name))
        report = restore(
            self.bucket,
            back,
            self.log.identity.ledger_id,
            self.statements.open,
            fingerprint=self.log.fingerprint,
        )
        end = self.log.segments[-1]["base"]
        assert (report.ok, report.size, report.root) == (True, end, self.log.root_at(end).hex())

    # ---- what holds -----------------------------------------------------------------------------

    @invariant()
    def no_receipt_without_a_lock(self) -> None:
        """Each receipt in the journal: the version is there, with the bytes, locked as intended."""
        path = self.log.paths.ship_log("one")
        if not path.exists():
            return
        journal = Journal(path, self.log.fingerprint, self.bucket.url)
        journal.close()
        for name, progress in journal.progress.items():
            if progress.verified is not None:
                found = self.bucket.stat(progress.verified.key, progress.verified.version)
                assert found.sha256 == progress.intent.sha256
                key = keys.parse(name)
                assert key is not None
                assert progress.intent.mode == (None if key.kind == "idx" else "COMPLIANCE")
                assert covers(found.lock, progress.intent.mode, progress.intent.until)
                if key.kind == "seg":
                    assert progress.intent.sha256 == self.digests[key.number]

    @invariant()
    def one_object_a_name(self) -> None:
        """No two signed manifests of one number, none that lists other bytes for a segment than were sealed."""
        ledger_id, seen = self.log.identity.ledger_id, dict[int, str]()
        found = list_manifests(self.bucket, ledger_id)
        for n, versions in found.candidates.items():
            for at in versions:
                data = self.bucket.read(at.key, at.version)
                if data.startswith(b"sealedger/"):
                    assert seen.setdefault(n, hashlib.sha256(data).hexdigest()) == hashlib.sha256(data).hexdigest()
        for entry in found.descending(self.bucket, self.statements.open):
            for row in entry.manifest.rows:
                if row.seal_hash:
                    assert bytes.fromhex(row.sha256) == self.digests[row.segno]
                at = self.bucket.stat(row.key, row.version)
                assert at.sha256 is not None
                assert at.sha256.hex() == row.sha256

    @invariant()
    def nothing_is_evicted_early(self) -> None:
        """Of each evicted segment the bucket has the bytes, locked, and a signed manifest lists that version."""
        listed = {}
        found = list_manifests(self.bucket, self.log.identity.ledger_id)
        for entry in found.descending(self.bucket, self.statements.open):
            listed.update({row.segno: row for row in entry.manifest.rows if row.seal_hash})
        for segno in self.evicted:
            at = self.bucket.stat(listed[segno].key, listed[segno].version)
            assert at.sha256 == self.digests[segno]
            assert at.lock is not None
            assert at.lock.until > self.bucket.now
        assert set(self.log.paths.list_stubs().found) <= self.evicted | set(self.log.paths.list_sealed().found)
        here = set(self.log.paths.list_sealed().found) | self.evicted
        assert here == set(range(len(self.digests)))


TestShipper = ShipperMachine.TestCase
TestShipper.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
