# SPDX-License-Identifier: Apache-2.0
"""A ledger's hashes, plainly: hashlib and recursion, nothing of ours. The second opinion of many tests."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

__all__ = ["plain_commitment", "plain_entry", "plain_leaf", "plain_root", "plain_salt"]


def plain_leaf(entry: bytes) -> bytes:
    """RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def plain_root(entries: Sequence[bytes]) -> bytes:
    """MTH over entries, RFC 6962 §2.1, by its recursive definition."""
    if not entries:
        return hashlib.sha256(b"").digest()
    return _root([plain_leaf(entry) for entry in entries])


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root(leaves[:k]) + _root(leaves[k:])).digest()


def plain_salt(seed: bytes, index: int) -> bytes:
    """docs/format.md §2."""
    both = hashlib.sha256(b"\x03" + seed + struct.pack("<Q", index >> 1)).digest()
    return both[16:] if index & 1 else both[:16]


def plain_commitment(salt: bytes, payload: bytes) -> bytes:
    """docs/format.md §2."""
    return hashlib.sha256(b"\x02" + salt + payload).digest()


def plain_entry(
    ledger_id: bytes, index: int, kind: int, flags: int, time_ns: int, payload: bytes, salt: bytes, link: bytes
) -> bytes:
    """The 104 bytes of docs/format.md §2."""
    front = struct.pack("<BBBBI16sQQ", 1, kind, 1, flags, len(payload), ledger_id, index, time_ns)
    return front + plain_commitment(salt, payload) + link
