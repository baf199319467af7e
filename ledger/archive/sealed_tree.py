"""The tree over a run of sealed files from segment 0 on: roots at any size, without a store or a HEAD."""

from __future__ import annotations

import bisect

from ledger.merkle import tree
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment
from ledger.verify import node_hash

__all__ = ["SealedTree"]


class SealedTree:
    """Holds the sealed files open; a context manager."""

    def __init__(self, paths: Paths, fingerprint: bytes, count: int) -> None:
        """Segments 0 to `count` − 1, which must be there and were verified."""
        self._segments: list[SealedSegment] = []
        try:
            for segno in range(count):
                self._segments.append(SealedSegment(paths.sealed(segno), segno, fingerprint=fingerprint))
        except BaseException:
            self.close()
            raise
        self._bases = [segment.base for segment in self._segments]

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` entries, at most the end of the last segment. O(log size)."""
        return tree.root(size, self.node)

    def node(self, level: int, i: int) -> bytes:
        """The root of the leaves [i·2^level, (i+1)·2^level)."""
        begin, end = i << level, (i + 1) << level
        segment = self._segments[bisect.bisect_right(self._bases, end - 1) - 1]
        if begin >= segment.base or level >= 8:
            return segment.node(level, i)
        return node_hash(self.node(level - 1, 2 * i), self.node(level - 1, 2 * i + 1))

    def close(self) -> None:
        """Close the files."""
        for segment in self._segments:
            segment.close()

    def __enter__(self) -> SealedTree:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
