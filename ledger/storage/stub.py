"""What stays of an evicted segment, read as a sealed file whose blocks and seed are elsewhere.

The stub has the sealed file's own bytes but for blocks and seed, so they are believed as ever: by the seal hash.
Hashes of whole blocks and above are here; inside a block only those on the edge of each checkpoint's size, so that
proofs from old checkpoints go on; everything else asks `fetch`, which reads the same bytes of an archived copy,
checked by the rows as if they came from the disk. docs/format.md, "Stub"."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ledger.encoding.segment import (
    FOOTER_BYTES,
    HEADER_BYTES,
    NODE_LEVEL_MIN,
    TRAILER_BYTES,
    Footer,
    corrupt,
    decode_trailer,
)
from ledger.errors import EvictedError
from ledger.merkle.tree import peaks
from ledger.storage.sealed import SealedSegment
from ledger.verify import node_hash

__all__ = ["EvictedSegment", "Fetch", "encode_stub"]

Fetch = Callable[[int, int, int], bytes]  # (segment number, offset, length) → bytes of the archived sealed file

_FRONT = struct.Struct("<8sQQQQII")  # magic, segment, bytes of the sealed file, time of its last entry, 0, edges, 0
_MAGIC: Final = b"LGSTUB1\0"
_EDGE = struct.Struct("<QII32s")  # i, level, 0, hash
_KEPT = ("header", "dictionary", "rows", "nodes")  # then footer and trailer
_EDGES_MAX = 1 << 20


def encode_stub(segment: SealedSegment, sizes: Iterable[int]) -> bytes:
    """The stub of a sealed file; `sizes`: of the checkpoints that proofs may start from. Reads the blocks that they
    end in."""
    edges = {
        (level, i): segment.node(level, i)
        for size in sorted(set(sizes))
        if segment.base < size < segment.end
        for level, i in _cover(segment, size)
    }
    footer = segment.footer
    front = _FRONT.pack(_MAGIC, segment.segno, segment.file_bytes, segment.time_last(), 0, len(edges), 0)
    kept = b"".join(segment.section(name) for name in _KEPT)
    packed = b"".join(_EDGE.pack(i, level, 0, found) for (level, i), found in edges.items())
    return front + kept + footer.encode() + footer.trailer() + packed


def _cover(segment: SealedSegment, size: int) -> list[tuple[int, int]]:
    """The block that `size` ends in, as whole subtrees left of `size` and right of it; none at a border."""
    block = segment.table.find(size - 1)
    first, end = segment.table.first[block], segment.table.first[block + 1]
    if size == end:
        return []
    found, at = peaks(first, size), size
    while at < end:
        level = (at & -at).bit_length() - 1
        found.append((level, at >> level))
        at += 1 << level
    return found


class EvictedSegment(SealedSegment):
    """A stub, open for reading. As a `SealedSegment`; what is not here is fetched, or is an `EvictedError`."""

    def __init__(
        self,
        path: Path,
        segno: int,
        *,
        fingerprint: bytes | None = None,
        seal_hash: bytes | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        """`fetch` may raise what the archive raises. Raises as `SealedSegment`."""
        self.fetch = fetch
        self._places: list[tuple[int, int, int]] = []  # (begin, end) in the sealed file, begin in the stub
        self._edges: dict[tuple[int, int], bytes] = {}
        self._time_last = 0
        super().__init__(path, segno, fingerprint=fingerprint, seal_hash=seal_hash)
        try:
            self._check_edges()
        except BaseException:
            self.close()
            raise

    def _measure(self, file_bytes: int) -> int:
        """Find what the stub has; all of it is checked again through `read`, against the seal hash."""
        if file_bytes < _FRONT.size + HEADER_BYTES + FOOTER_BYTES + TRAILER_BYTES:
            raise corrupt(self.segno, "stub", f"it has {file_bytes} bytes, too few")
        magic, segno, sealed_bytes, self._time_last, zero, edges, zero2 = _FRONT.unpack(self._raw(0, _FRONT.size))
        if magic != _MAGIC or segno != self.segno or zero or zero2 or edges > _EDGES_MAX:
            raise corrupt(self.segno, "stub", "it does not begin as the stub of this segment does", offset=0)
        kept_end = file_bytes - edges * _EDGE.size
        end = kept_end - TRAILER_BYTES - FOOTER_BYTES
        if end < _FRONT.size:
            raise corrupt(self.segno, "stub", "its edges do not fit")
        last = self._raw(end, FOOTER_BYTES + TRAILER_BYTES)
        offset, seal_hash = decode_trailer(last[FOOTER_BYTES:], self.segno, sealed_bytes)
        if hashlib.sha256(last[:FOOTER_BYTES]).digest() != seal_hash:
            raise corrupt(self.segno, "stub", "the hash of its footer is not the seal hash")
        footer, at = Footer.decode(last[:FOOTER_BYTES], self.segno, offset), _FRONT.size
        for section in map(footer.section, _KEPT):
            self._places.append((section.offset, section.offset + section.length, at))
            at += section.length
        self._places.append((offset, sealed_bytes, at))
        if at != end:
            raise corrupt(self.segno, "stub", f"bytes [{at}, {end}) are unaccounted for")
        for i, level, zero, found in _EDGE.iter_unpack(self._raw(kept_end, edges * _EDGE.size)):
            if zero or level > 7:
                raise corrupt(self.segno, "stub", "an edge is not one")
            self._edges[level, i] = found
        return int(sealed_bytes)

    def _raw(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise corrupt(self.segno, "stub", "the file ends here", offset=offset + len(data))
        return data

    def _check_edges(self) -> None:
        """Each edge gives, with the others, the root that the rows name for its block."""
        for level, i in self._edges:
            begin = i << level
            if not self.base <= begin < begin + (1 << level) <= self.end:
                raise corrupt(self.segno, "stub", "an edge lies outside the segment")
            block = self.table.find(begin)
            if self._climb(level, i, self.table.level(block)) != self.table.root(block):
                raise corrupt(self.segno, "stub", f"the edges inside block {block} do not give its root")

    def _climb(self, level: int, i: int, top: int) -> bytes | None:
        """The node at level `top` above an edge, from the edge and its siblings; None when one is missing."""
        found = self._edges[level, i]
        while level < top:
            sibling = self._inside(level, i ^ 1)
            if sibling is None:
                return None
            found = node_hash(sibling, found) if i & 1 else node_hash(found, sibling)
            level, i = level + 1, i >> 1
        return found

    def _inside(self, level: int, i: int) -> bytes | None:
        """A node of a block from the edges, or None."""
        found = self._edges.get((level, i))
        if found is None and 0 < level < NODE_LEVEL_MIN:
            left = self._inside(level - 1, 2 * i)
            right = None if left is None else self._inside(level - 1, 2 * i + 1)
            found = None if left is None or right is None else node_hash(left, right)
        return found

    # ---- as a sealed file -------------------------------------------------------------------------

    def read(self, offset: int, length: int, region: str) -> bytes:
        """From the stub where it has these bytes, else from the archive."""
        for begin, end, at in self._places:
            if begin <= offset and offset + length <= end:
                return self._raw(at + offset - begin, length)
        if self.fetch is None:
            raise EvictedError(
                f"entries [{self.base}, {self.end}) are evicted: segment {self.segno} is in the archive (MANIFEST says "
                "where), and this ledger was opened without it. Nothing is lost; open it with its archive",
                segment=self.segno,
            )
        data = self.fetch(self.segno, offset, length)
        if len(data) != length:
            raise corrupt(self.segno, region, "the archived copy ends here", offset=offset + len(data))
        return data

    def node(self, level: int, i: int) -> bytes:
        """As `SealedSegment.node`, from what is here where that is enough."""
        return self._inside(level, i) or super().node(level, i)

    def time_last(self) -> int:
        """As the stub has it."""
        return self._time_last
