"""A ledger against a list: whatever is done in whatever order, both say the same, and all hashes are right.

The crash of the machine is that of docs/guarantees.md: the handle is gone without a close, bytes of a batch that
nobody was told of may stand after the last one, and HEAD may be lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.engine import Ledger
from ledger.verify import verify_consistency
from tests.crash.workload import copy_as_original
from tests.model import oracle

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.binary(max_size=40),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
EVENTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)
BATCHES = st.lists(EVENTS, min_size=1, max_size=40)


class LedgerMachine(RuleBasedStateMachine):
    """`events`: what the ledger holds, in order; `trees`: (size, root) pairs that must stay true."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "0"
        self.crashes = 0
        self.events: list[dict[str, Any]] = []
        self.trees: list[tuple[int, bytes]] = []
        self.log: Ledger | None = None

    @initialize(entries_max=st.sampled_from([7, 100, 1_000_000]))
    def create(self, entries_max: int) -> None:
        self.log = Ledger(self.path, segment_bytes_max=1 << 16, segment_entries_max=entries_max)
        self.reader = Ledger(self.path, readonly=True)

    @rule(event=EVENTS)
    def append(self, event: dict[str, Any]) -> None:
        receipt = self.log.append(event)
        self.events.append(event)
        assert self.log.entry(receipt.index) == receipt.entry
        assert self.log.salt(receipt.index) == receipt.salt
        assert oracle.leaf_hash(receipt.entry) == receipt.leaf_hash

    @rule(batch=BATCHES)
    def append_many(self, batch: list[dict[str, Any]]) -> None:
        receipts = self.log.append_many(batch)
        assert [self.log[receipt.index] for receipt in receipts] == batch
        self.events += batch

    @rule(batch=BATCHES)
    def append_packed(self, batch: list[dict[str, Any]]) -> None:
        receipts = self.log.append_packed(msgpack.packb(batch))
        assert len(receipts) == len(batch)
        self.events += batch

    @rule(size=st.integers(200_000, 900_000))
    def append_large(self, size: int) -> None:
        self.append({"blob": b"\x5a" * size})

    @rule()
    def seal(self) -> None:
        self.log.seal()
        assert all(s["state"] == "sealed" for s in self.log.segments[:-1])

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = Ledger(self.path)

    @rule(tail=st.binary(min_size=1, max_size=2000), head_is_lost=st.booleans())
    def crash(self, tail: bytes, head_is_lost: bool) -> None:
        self.log._upkeep.stop()
        head = self.log._open_writer().head()
        segno, end = int(head.segno), int(head.written_end)
        self.crashes += 1
        found = copy_as_original(self.path, self.folder / str(self.crashes))
        self.log.close()
        self.reader.close()
        shutil.rmtree(self.path)
        self.path = found
        if head_is_lost:
            (found / "HEAD").write_bytes(bytes(8192))
        torn = b"\x01" + tail  # in this boot a batch that begins with zeros would have left the dirty mark
        active = found / "active" / f"{segno:020}.act"
        room = active.stat().st_size - end
        with active.open("r+b") as file:
            file.seek(end)
            file.write(torn[:room])
        self.log = Ledger(found)
        self.reader = Ledger(found, readonly=True)

    @rule()
    def remember(self) -> None:
        size = self.log.size
        self.trees.append((size, self.log.root_at(size)))

    @precondition(lambda self: len(self.trees) >= 1)
    @rule(data=st.data())
    def prove(self, data: st.DataObject) -> None:
        old, old_root = data.draw(st.sampled_from(self.trees))
        size = self.log.size
        proof = self.log.prove_consistency(old, size)
        verify_consistency(old, size, old_root, proof, self.log.root_at(size))

    @invariant()
    def equals_the_list(self) -> None:
        if self.log is None:
            return
        size = self.log.size
        items = list(self.log.entries(0, size))
        assert [item.index for item in items] == list(range(size))
        assert list(self.log) == self.events
        assert list(self.reader) == self.events
        rows = [(i.kind, i.time_ns, self.log.salt(i.index), i.payload) for i in items]
        entries, leaves = oracle.rebuild(self.log.fingerprint, rows)
        assert self.log.entry(size - 1) == entries[-1]
        assert self.log.root_at(size) == oracle.tree_root(leaves)
        assert self.reader.root_at(size) == oracle.tree_root(leaves)
        for old, root in self.trees:
            assert oracle.tree_root(leaves[:old]) == root == self.log.root_at(old)

    def teardown(self) -> None:
        if self.log is not None:
            assert self.log.verify(require="L1").ok
            self.log.close()
            self.reader.close()
        shutil.rmtree(self.folder)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
