"""Compact ranges: a growing Merkle tree kept as the roots of its perfect subtrees, its peaks.

Appending costs one hash and less than one more, amortised; the state is popcount(size) hashes, at
most 63. An active segment's header keeps it as bytes (docs/format.md "Header")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.errors import UsageError
from ledger.merkle.tree import fold
from ledger.verify import SIZE_END, node_hash

__all__ = ["CompactRange"]

_HASH_BYTES = 32


class CompactRange:
    """The tree of the leaves [0, size). Not for use by two threads at once.

    `size` counts leaves, `peaks` are the roots of the subtrees given by the set bits of `size`, the
    largest first."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Go on from a known state; UsageError when the peaks do not fit the size."""
        if not 0 <= size < SIZE_END or len(peaks) != size.bit_count():
            raise UsageError(f"{len(peaks)} peaks do not make a tree of {size} leaves")
        if any(len(peak) != _HASH_BYTES for peak in peaks):
            raise UsageError("a peak is not 32 bytes long")
        self.size = size
        self.peaks = list(peaks)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> CompactRange:
        """Read the form of `to_bytes`."""
        if len(data) != size.bit_count() * _HASH_BYTES:
            raise UsageError(f"{len(data)} bytes of peaks do not make a tree of {size} leaves")
        return cls(size, [data[i : i + _HASH_BYTES] for i in range(0, len(data), _HASH_BYTES)])

    def to_bytes(self) -> bytes:
        """The peaks one after the other, largest first."""
        return b"".join(self.peaks)

    def copy(self) -> CompactRange:
        """A range of the same state that grows apart from this one."""
        return CompactRange(self.size, self.peaks)

    def push(self, leaf_hash: bytes) -> None:
        """Append one leaf."""
        self.push_subtree(0, leaf_hash)

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Append leaves."""
        for leaf_hash in leaf_hashes:
            self.push_subtree(0, leaf_hash)

    def push_subtree(self, level: int, root: bytes) -> None:
        """Append the 2^level leaves whose hash is `root`; `size` is a multiple of 2^level.

        Raises UsageError else, and leaves the range as it was."""
        size = self.size
        if not 0 <= level < 63 or size & ((1 << level) - 1) or size + (1 << level) >= SIZE_END:
            raise UsageError(f"a subtree of 2^{level} leaves does not fit at {size}")
        if len(root) != _HASH_BYTES:
            raise UsageError("a hash is not 32 bytes long")
        carry = size >> level
        while carry & 1:
            root = node_hash(self.peaks.pop(), root)
            carry >>= 1
        self.peaks.append(root)
        self.size = size + (1 << level)

    def root(self) -> bytes:
        """The hash of the whole tree (RFC 6962 §2.1), 32 bytes."""
        return fold(self.peaks)
