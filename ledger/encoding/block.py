"""Blocks to zstd frames and back, and the table that says where each block is. Pure.

A block is one whole subtree of at most 128 entries; its frame is compressed at level 1 with a small
dictionary that was trained on the segment and is embedded in it. What a row of the table says is
checked in C before a byte is decompressed (`ledger_frames_check`): the frame's checksum, that it is
exactly one frame, its declared content size and window. So a hostile frame decides about no size.
See docs/format.md §7 "Block", "Block row"; csrc/block_cut.c, csrc/block_check.c."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final

import zstandard

from ledger._native import ROW, Row, ffi, lib, raise_status
from ledger.encoding.segment import ROW_BYTES, Footer, corrupt
from ledger.types import EVENT_BYTES_HARD_MAX

__all__ = [
    "Block",
    "BlockTable",
    "Compressor",
    "Decompressor",
    "FrameError",
    "choose_samples",
    "train_dictionary",
]

Buffer = bytes | bytearray | memoryview

LEVEL_MAX: Final = 7  # 128 entries
RAW_BYTES_MAX: Final = 32 << 10  # of a block of more than one entry
WINDOW_BYTES_MAX: Final = 8 << 20
_RAW_FIXED, _RAW_ENTRY, _RAW_RUN = 8, 6, 12
_SAMPLE_BYTES = 400 << 10
_ZSTD_LEVEL = 1
_ROW = struct.Struct("<II4xB3s64x")
assert _ROW.size == ROW_BYTES


class FrameError(Exception):
    """A frame is not what its row says. `block` counts from the first of the call."""

    def __init__(self, block: int, what: str) -> None:
        super().__init__(what)
        self.block = block


class BlockTable:
    """Where the blocks of a sealed file are: block k holds the entries [first[k], first[k + 1]) in
    bytes [offset[k], offset[k + 1]) of the file, which are raw[k] bytes once decompressed.

    Immutable. Cost to make: one pass over the rows, about 0.5 us a block."""

    __slots__ = ("first", "offset", "raw", "rows")

    def __init__(self, rows: bytes, footer: Footer) -> None:
        """Check `rows` (block_count x 80 bytes, of the digest that the footer names) against the
        footer. Raises `CorruptionError`."""
        section = footer.section("rows")
        broken = self._broken_rule(rows, footer)
        if broken:
            raise corrupt(footer.segno, "rows", broken, offset=section.offset)

    def _broken_rule(self, rows: bytes, footer: Footer) -> str | None:
        compressed, raw, levels, zeros = zip(*_ROW.iter_unpack(rows), strict=True)
        if any(any(zero) for zero in zeros):
            return "a reserved byte is not zero"
        if max(levels) > LEVEL_MAX or not min(compressed):
            return "a block of no bytes or too many entries"
        blocks = footer.section("blocks")
        self.rows = rows
        self.raw = array("Q", raw)
        self.first = array("Q", accumulate((1 << n for n in levels), initial=footer.base))
        self.offset = array("Q", accumulate(compressed, initial=blocks.offset))
        if self.first[-1] != footer.end or self.offset[-1] != blocks.offset + blocks.length:
            return "the blocks do not fill their place"
        if sum(raw) != footer.raw_bytes:
            return "the sum of raw bytes is another"
        if any(first & ((1 << n) - 1) for first, n in zip(self.first, levels, strict=False)):
            return "a block is not one whole subtree"
        if not all(map(_raw_bytes_are_possible, raw, levels)):
            return "a block cannot have so few or so many raw bytes"
        if self.link(0) != footer.link_before:
            return "the first block does not follow the entry before the segment"
        return None

    def __len__(self) -> int:
        return len(self.raw)

    def find(self, index: int) -> int:
        """The block of an entry; the caller knows that the segment holds the index."""
        return bisect_right(self.first, index) - 1

    def row(self, begin: int, end: int) -> memoryview:
        """The 80-byte rows of blocks [begin, end)."""
        return memoryview(self.rows)[begin * ROW_BYTES : end * ROW_BYTES]

    def level(self, block: int) -> int:
        """j, when the block holds 2^j entries."""
        return self.rows[block * ROW_BYTES + 12]

    def link(self, block: int) -> bytes:
        """The leaf hash of the entry before the block."""
        return self.rows[block * ROW_BYTES + 16 : block * ROW_BYTES + 48]

    def root(self, block: int) -> bytes:
        """The root of the block's subtree."""
        return self.rows[block * ROW_BYTES + 48 : block * ROW_BYTES + 80]


def _raw_bytes_are_possible(raw: int, level: int) -> bool:
    least = _RAW_FIXED + _RAW_RUN + (_RAW_ENTRY << level)
    return least <= raw <= (RAW_BYTES_MAX if level else least + EVENT_BYTES_HARD_MAX)


# ---- decoded -------------------------------------------------------------------------------------


class Block:
    """Decoded entries [base, base + count): of a sealed file's block, or a stretch of an active file."""

    __slots__ = ("_first", "_table", "base", "count", "raw", "rebuilt")

    def __init__(self, base: int, raw: bytes, table: bytes, first: int = 0) -> None:
        """`table`: a ledger_row an entry; their offsets count from `first` bytes before `raw`."""
        self.base = base
        self.count = len(table) // ROW.size
        self.raw = raw
        self._first = first
        self._table = table
        self.rebuilt: tuple[bytes, bytes, bytes] | None = None  # entries, salts, leaf hashes

    def row(self, position: int) -> Row:
        """The row of entry base + position."""
        return Row._make(ROW.unpack_from(self._table, position * ROW.size))

    def rows(self) -> list[Row]:
        """All rows, in order."""
        return [Row._make(fields) for fields in ROW.iter_unpack(self._table)]

    def items(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(index, kind, time, payload) of each entry: the quick way through a block."""
        raw, first = self.raw, self._first
        for index, (offset, time, size, kind, _) in enumerate(ROW.iter_unpack(self._table), self.base):
            yield index, kind, time, raw[offset - first : offset - first + size]

    def payloads(self) -> list[bytes]:
        """The payloads of the events, in order, without the notes."""
        raw, first = self.raw, self._first
        rows = ROW.iter_unpack(self._table)
        return [raw[at - first : at - first + size] for at, _, size, kind, _ in rows if kind == 0]

    def item(self, position: int) -> tuple[int, int, int, bytes]:
        """(index, kind, time, payload) of entry base + position."""
        row = self.row(position)
        return self.base + position, row.kind, row.time, self.payload(position)

    def payload(self, position: int) -> bytes:
        """The payload of entry base + position."""
        row = self.row(position)
        return self.raw[row.offset - self._first : row.offset - self._first + row.bytes]

    def matching(
        self, program: bytes, positions: Sequence[int] | None = None, *, limit: int | None = None, newest: bool = False
    ) -> list[int]:
        """The positions, of those given (ascending) or of all, whose entries a filter program is true of; the first
        `limit` of them, or with `newest` the last, the last one first. C does it without the GIL."""
        out, count = ffi.new("uint32_t[]", self.count), ffi.new("uint32_t *")
        raw = ffi.from_buffer("uint8_t[]", self.raw)
        origin = ffi.cast("uint8_t *", int(ffi.cast("uintptr_t", raw)) - self._first)
        chosen = ffi.NULL if positions is None else ffi.new("uint32_t[]", list(positions) or [0])
        status = lib.ledger_predicate_rows(
            *(program, len(program), origin, self._first + len(self.raw)),
            *(ffi.from_buffer("ledger_row[]", self._table), self.count, self.base),
            *(chosen, 0 if positions is None else len(positions)),
            *(self.count if limit is None else min(limit, self.count), newest, out, count),
        )
        raise_status(status, "evaluating a filter; nothing was changed")
        return list(out[0 : count[0]])


# ---- dictionary ---------------------------------------------------------------------------------


def choose_samples(raw: Sequence[int]) -> list[int]:
    """Which blocks a dictionary is trained on, given the raw bytes of all: evenly spread, at most
    400 KiB, the same for the same input."""
    small = [k for k, size in enumerate(raw) if size <= RAW_BYTES_MAX]
    step = max(1, -(-sum(raw[k] for k in small) // _SAMPLE_BYTES))
    ends = accumulate(raw[k] for k in small[::step])
    return [k for k, end in zip(small[::step], ends, strict=True) if end <= _SAMPLE_BYTES]


def train_dictionary(samples: Iterable[bytes], raw_bytes: int) -> bytes:
    """A zstd dictionary for a segment of `raw_bytes`: none below 128 KiB, 4 KiB below 1 MiB, else
    16 KiB; none also if the samples give none. Deterministic for one version of zstd; some 5 ms."""
    size = 0 if raw_bytes < 128 << 10 else 4 << 10 if raw_bytes < 1 << 20 else 16 << 10
    if not size:
        return b""
    try:
        # k and d are given, else the trainer tries many: three times slower, and no better here
        return zstandard.train_dictionary(size, list(samples), k=1024, d=8).as_bytes()
    except zstandard.ZstdError:  # too few samples, or nothing that repeats
        return b""


def _load(dictionary: bytes) -> zstandard.ZstdCompressionDict | None:
    if not dictionary:
        return None
    return zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_FULLDICT)


# ---- frames -------------------------------------------------------------------------------------


def _segments(sizes: Iterable[int]) -> bytes:
    """(offset, length) pairs of buffers that lie one after the other, as zstandard takes them."""
    lengths = list(sizes)
    offsets = accumulate(lengths, initial=0)
    return array("Q", chain.from_iterable(zip(offsets, lengths, strict=False))).tobytes()


def _list(buffers: Any) -> list[bytes]:
    """The parts of a zstandard collection, without copying them; it has no iterator of its own."""
    return [buffers[i] for i in range(len(buffers))]


class Compressor:
    """Raw blocks to frames, with the dictionary of a segment. One thread at a time."""

    def __init__(self, dictionary: bytes, threads: int = 1) -> None:
        self._threads = threads
        data = _load(dictionary)
        if data is not None:
            data.precompute_compress(level=_ZSTD_LEVEL)
        self._zstd = zstandard.ZstdCompressor(
            level=_ZSTD_LEVEL, dict_data=data, write_content_size=True, write_checksum=False
        )

    def compress(self, raw: Buffer, sizes: Sequence[int]) -> tuple[bytes, array[int]]:
        """The frames of blocks of `sizes` that lie one after the other, joined, and their sizes."""
        buffer = zstandard.BufferWithSegments(raw, _segments(sizes))
        frames = _list(self._zstd.multi_compress_to_buffer(buffer, threads=self._threads))
        return b"".join(frames), array("I", map(len, frames))


class Decompressor:
    """Frames to raw blocks. One thread at a time; it holds a context of some 200 KiB."""

    def __init__(self, dictionary: bytes) -> None:
        self._zstd = zstandard.ZstdDecompressor(dict_data=_load(dictionary), max_window_size=WINDOW_BYTES_MAX)
        self._fault = ffi.new("uint64_t *")

    def decompress(self, frames: bytes, table: BlockTable, begin: int, end: int) -> bytes:
        """The raw bytes of blocks [begin, end), joined; `frames` are their bytes in the file.

        Raises `FrameError` for the first frame that is not what its row says."""
        rows = table.row(begin, end)
        status = lib.ledger_frames_check(
            frames, len(frames), ffi.from_buffer("uint8_t[]", rows), end - begin, self._fault
        )
        if status != lib.LEDGER_OK:
            what = "its bytes are not the one zstd frame, with the checksum, that its row says"
            raise FrameError(int(self._fault[0]), what)
        try:
            if end - begin == 1:
                raw: bytes = self._zstd.decompress(frames, allow_extra_data=False)
                return raw
            return self._decompress_many(frames, table, begin, end)
        except zstandard.ZstdError as error:
            raise self._first_fault(frames, table, begin, end, error) from None

    def _decompress_many(self, frames: bytes, table: BlockTable, begin: int, end: int) -> bytes:
        offset = table.offset[begin : end + 1]
        sizes = (b - a for a, b in pairwise(offset))
        buffer = zstandard.BufferWithSegments(frames, _segments(sizes))
        blocks = self._zstd.multi_decompress_to_buffer(buffer, decompressed_sizes=table.raw[begin:end].tobytes())
        return b"".join(_list(blocks))

    def _first_fault(self, frames: bytes, table: BlockTable, begin: int, end: int, error: Exception) -> FrameError:
        start = table.offset[begin]
        for block in range(begin, end):
            frame = frames[table.offset[block] - start : table.offset[block + 1] - start]
            try:
                self._zstd.decompress(frame, allow_extra_data=False)
            except zstandard.ZstdError as first:
                return FrameError(block - begin, str(first))
        return FrameError(0, str(error))
