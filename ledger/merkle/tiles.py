"""Tiles and entry bundles: the names and bytes under which a log is served (C2SP tlog-tiles).

Hash j of tile N of level L is the root of the leaves [(256·N + j)·256^L, (256·N + j + 1)·256^L). A
bundle, here a tile of level ENTRIES, holds the entries themselves. Those of width 256 are full and
never change; the last of a level may be partial, and is a different file for each width.

    size 70,000: level 0 has 273 full tiles and one of width 112, level 1 one full and one of 17,
                 level 2 one of width 1 (70,000 >> 16)"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ledger.errors import UsageError
from ledger.merkle.tree import Node
from ledger.verify import SIZE_END, VerificationError, node_hash

__all__ = [
    "ENTRIES",
    "ENTRY_BYTES_MAX",
    "WIDTH",
    "Tile",
    "decode_bundle",
    "encode_bundle",
    "encode_tile",
    "parse_path",
    "tile_nodes",
    "tiles",
]

HEIGHT = 8
WIDTH = 1 << HEIGHT
ENTRIES = -1
LEVEL_MAX = 63
ENTRY_BYTES_MAX = 0xFFFF
_HASH_BYTES = 32
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class Tile(NamedTuple):
    """The name of a tile: level 0…63 or ENTRIES, number, width 1…256 (hashes, or entries)."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its place below the log's prefix, as `tile/0/x001/x234/067.p/8`."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        digits = str(self.number)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"


def parse_path(path: str) -> Tile:
    """Read the one form that `Tile.path` writes; any other is a VerificationError."""
    match = _PATH.fullmatch(path)
    if match:
        level = ENTRIES if match[1] == "entries" else int(match[1])
        number = int(match[2].replace("/", "").replace("x", ""))
        tile = Tile(level, number, int(match[3] or WIDTH))
        # Leading groups of zeros and `.p/256` read as numbers, but are not what would be written.
        if level <= LEVEL_MAX and tile.width <= WIDTH and tile.path == path:
            return tile
    raise VerificationError(f"not the path of a tile: {path[:120]!r}")


def tiles(size: int, since: int = 0) -> Iterator[Tile]:
    """What must be there for a checkpoint of `size` that was not at size `since`: the bundles, then
    the tiles of each level from 0. O(tiles). Raises UsageError unless 0 ≤ since ≤ size."""
    if not 0 <= since <= size < SIZE_END:
        raise UsageError(f"no tiles lead from {since} to {size} leaves")
    yield from _row(ENTRIES, size, since)
    level = 0
    while size >> HEIGHT * level:
        yield from _row(level, size >> HEIGHT * level, since >> HEIGHT * level)
        level += 1


def _row(level: int, count: int, since: int) -> Iterator[Tile]:
    """The tiles of one level that has `count` hashes and had `since`."""
    if count == since:
        return
    for number in range(since // WIDTH, -(-count // WIDTH)):
        yield Tile(level, number, min(WIDTH, count - number * WIDTH))


def encode_tile(tile: Tile, node: Node) -> bytes:
    """The bytes of a tile of hashes: width × 32, in order. Asks `node` for each (see tree.py)."""
    first = tile.number * WIDTH
    return b"".join(node(tile.level * HEIGHT, first + j) for j in range(tile.width))


def tile_nodes(read: Callable[[Tile], bytes], size: int) -> Node:
    """The `node` of tree.py for a tree of `size` leaves, out of its tiles.

    `read` is asked only for tiles that a tree of this size has, at their full width. The bytes are
    to be trusted only once a root computed from them is that of a verified checkpoint. A tile of
    another length is a VerificationError. One tile read and < 2^8 hashes a call."""

    def node(level: int, i: int) -> bytes:
        row, height = divmod(level, HEIGHT)
        number, begin = divmod(i << height, WIDTH)
        width = min(WIDTH, (size >> HEIGHT * row) - number * WIDTH)
        if width < begin + (1 << height):
            raise UsageError(f"node {i} of level {level} is not whole in a tree of {size} leaves")
        tile = Tile(row, number, width)
        data = read(tile)
        if len(data) != width * _HASH_BYTES:
            raise VerificationError(f"{tile.path} has {len(data)} bytes, not {width} hashes")
        end = (begin + (1 << height)) * _HASH_BYTES
        begin *= _HASH_BYTES
        hashes = [data[at : at + _HASH_BYTES] for at in range(begin, end, _HASH_BYTES)]
        while len(hashes) > 1:
            hashes = [node_hash(hashes[j], hashes[j + 1]) for j in range(0, len(hashes), 2)]
        return hashes[0]

    return node


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of an entry bundle: u16 big-endian length ‖ entry, for 1…256 entries of at most
    65,535 bytes; UsageError for others."""
    if not 0 < len(entries) <= WIDTH or any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise UsageError("a bundle holds 1 to 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle that holds them and nothing else, else VerificationError."""
    entries, offset = [], 0
    for _ in range(width):
        begin = offset + 2
        offset = begin + int.from_bytes(data[offset:begin], "big")
        entries.append(data[begin:offset])
    if offset != len(data):
        raise VerificationError(f"a bundle of {len(data)} bytes is not {width} entries")
    return entries
