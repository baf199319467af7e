"""The ledger's hashing once more, plainly: standard library only, nothing of ours, one entry at a time.

What it knows is docs/format.md §2 and RFC 6962 §2.1; it shares no code with the engine or `ledger.verify`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["leaf_hash", "rebuild", "tree_root"]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry): chain link and leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, by its own recursion: the split is the largest power of two below the size."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = tree_root(leaves[:split]), tree_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def rebuild(fingerprint: bytes, rows: Sequence[tuple[int, int, bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Entries and leaf hashes of a whole ledger from its `rows` (kind, time in ns, salt, payload)."""
    entries: list[bytes] = []
    leaves: list[bytes] = []
    link, before = fingerprint, 0
    for index, (kind, time_ns, salt, payload) in enumerate(rows):
        commitment = hashlib.sha256(b"\x02" + salt + payload).digest()
        entry = bytes([1, kind, 1, time_ns < before]) + len(payload).to_bytes(4, "little")
        entry += fingerprint[:16] + index.to_bytes(8, "little") + time_ns.to_bytes(8, "little")
        entry += commitment + link
        link, before = leaf_hash(entry), time_ns
        entries.append(entry)
        leaves.append(link)
    return entries, leaves
