"""Proof files of single entries, from a store and a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

from ledger.errors import MismatchError, UsageError
from ledger.merkle import tree
from ledger.note import format_proof
from ledger.proofs import checkpoints
from ledger.storage.paths import Paths
from ledger.storage.store import Store
from ledger.verify import parse_checkpoint, parse_note

__all__ = ["prove"]


def prove(store: Store, paths: Paths, index: int, at: str | None, sign: Callable[[], str]) -> str:
    """The `.tlog-proof` of entry `index` in the tree of the checkpoint `at` (docs/format.md §10).

    Without `at`: the smallest stored checkpoint of this tree that covers the entry, else a new one by `sign`; its
    signature is for the verifier to check. O(log n) hashes and at most two blocks read a checkpoint looked at.
    `UsageError` when the checkpoint does not cover the index, `MismatchError` when it is of another tree."""
    if at is None:
        at = _covering(store, paths, index) or sign()
    checkpoint = parse_checkpoint(parse_note(at)[0])
    if not 0 <= index < checkpoint.size:
        raise UsageError(f"the checkpoint covers {checkpoint.size} entries, not index {index}")
    if checkpoint.size > store.refresh():
        raise UsageError(f"the checkpoint of {checkpoint.size} entries is ahead of this ledger ({store.size})")
    root = tree.root(checkpoint.size, store.node)
    if root != checkpoint.root:
        raise MismatchError(
            f"the checkpoint of {checkpoint.size} entries is not of this tree: nothing can be proven against it",
            checkpoint.root,
            root,
        )
    hashes = tree.inclusion_proof(index, checkpoint.size, store.node)
    entry, salt = store.entry(index)
    return format_proof(index, hashes, at, entry + salt)


def _covering(store: Store, paths: Paths, index: int) -> str | None:
    """The smallest stored checkpoint that covers `index` and is of this ledger's tree. One that is not is left
    for `verify` to report."""
    size = store.refresh()
    for item in checkpoints.stored(paths)[0]:
        found = item.checkpoint
        ours = found.origin == store.identity.origin and index < found.size <= size
        if ours and tree.root(found.size, store.node) == found.root:
            return item.note
    return None
