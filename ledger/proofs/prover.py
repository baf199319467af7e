"""Proof files of single entries, from a store and a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

from ledger.errors import UsageError
from ledger.merkle import tree
from ledger.note import format_proof
from ledger.proofs import checkpoints
from ledger.storage.paths import Paths
from ledger.storage.store import Store
from ledger.verify import parse_checkpoint, parse_note

__all__ = ["prove"]


def prove(store: Store, paths: Paths, index: int, at: str | None, sign: Callable[[], str]) -> str:
    """The `.tlog-proof` of entry `index` in the tree of the checkpoint `at` (docs/format.md §10).

    Without `at`: the smallest stored checkpoint that covers the entry, else a new one by `sign`. O(log n) hashes,
    at most two blocks read. `UsageError` when the checkpoint does not cover the index."""
    if at is None:
        covering = [item for item in checkpoints.stored(paths)[0] if item.checkpoint.size > index]
        at = covering[0].note if covering else sign()
    checkpoint = parse_checkpoint(parse_note(at)[0])
    if not 0 <= index < checkpoint.size:
        raise UsageError(f"the checkpoint covers {checkpoint.size} entries, not index {index}")
    if checkpoint.size > store.refresh():
        raise UsageError(f"the checkpoint of {checkpoint.size} entries is ahead of this ledger ({store.size})")
    hashes = tree.inclusion_proof(index, checkpoint.size, store.node)
    entry, salt = store.entry(index)
    return format_proof(index, hashes, at, entry + salt)
