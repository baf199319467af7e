"""Read a sealed file: payloads, entries, leaf and node hashes, and the check of all of it.

Opening reads 1.3 KiB: header, trailer, footer. What is needed beyond is read when it is first asked
for, and believed only with the SHA-256 that the footer names; a block only with its row's checksum,
an entry or hash from it only with its row's subtree root. The open descriptor is what was checked
and what is served: another file under the same name later changes nothing. No mmap: a file that
shrinks gives an exception, no signal. See docs/format.md §7."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ledger._native import ROW, Row, as_bytes, ffi, lib
from ledger.encoding.block import Block, BlockTable, Decompressor, FrameError
from ledger.encoding.segment import (
    FOOTER_BYTES,
    HEADER_BYTES,
    NODE_LEVEL_MIN,
    TRAILER_BYTES,
    Footer,
    SealedHeader,
    corrupt,
    decode_trailer,
    node_position,
)
from ledger.errors import CorruptionError, EnvironmentFailure
from ledger.storage.ahead import ahead
from ledger.storage.sealed_check import Border, SegmentFacts, check_segment, set_chain
from ledger.types import ENTRY_BYTES

__all__ = ["Block", "Border", "SealedSegment", "SegmentFacts"]

_CACHED_BLOCKS: Final = 64
_SCAN_BYTES: Final = 2 << 20  # raw bytes that iter_blocks decompresses in one call


class SealedSegment:
    """One sealed file, open for reading. Any number of threads; close it when none reads."""

    def __init__(
        self,
        path: Path,
        segno: int,
        *,
        fingerprint: bytes | None = None,
        seal_hash: bytes | None = None,
    ) -> None:
        """Open the file and check header, trailer and footer against each other, and against the
        `fingerprint` of the ledger and the expected `seal_hash` where they are given.

        Raises `CorruptionError`, naming the part; `UsageError` for a newer version; and
        `EnvironmentFailure` when it cannot be opened (its `__cause__` is the `OSError`)."""
        self.path = path
        self.segno = segno
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Block] = OrderedDict()
        self._rows: Any = ffi.new("ledger_row[]", 128)
        self._count: Any = ffi.new("uint32_t *")
        self._fd = _open(path)
        try:
            self.file_bytes = self._measure(_regular_size(self._fd, path))
            self.footer = self._read_footer(fingerprint, seal_hash)
        except BaseException:
            self.close()
            raise

    def _measure(self, file_bytes: int) -> int:
        return file_bytes  # `storage.stub` opens another file than it stands for

    def _read_footer(self, fingerprint: bytes | None, seal_hash: bytes | None) -> Footer:
        least = HEADER_BYTES + FOOTER_BYTES + TRAILER_BYTES
        if self.file_bytes < least:
            what = f"it has {self.file_bytes} bytes, and no sealed file has less than {least}"
            raise corrupt(self.segno, "file", what)
        trailer = self.read(self.file_bytes - TRAILER_BYTES, TRAILER_BYTES, "trailer")
        offset, found = decode_trailer(trailer, self.segno, self.file_bytes)
        if seal_hash is not None and found != seal_hash:
            what = f"its seal hash is {found.hex()}, and {seal_hash.hex()} is expected"
            raise corrupt(self.segno, "trailer", what)
        data = self.read(offset, FOOTER_BYTES, "footer")
        if hashlib.sha256(data).digest() != found:
            raise corrupt(self.segno, "footer", "its hash is not the seal hash", offset=offset)
        footer = Footer.decode(data, self.segno, offset)
        header = SealedHeader.decode(self.section("header", footer), self.segno)
        if header != SealedHeader(footer.fingerprint, footer.segno, footer.base):
            raise corrupt(self.segno, "header", "it and the footer name two segments", offset=0)
        if fingerprint is not None and footer.fingerprint != fingerprint:
            what = f"it belongs to the ledger {footer.fingerprint.hex()}"
            raise corrupt(self.segno, "header", what, offset=0)
        return footer

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held it."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the descriptor. Harmless twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> SealedSegment:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def base(self) -> int:
        """The index of the first entry."""
        return self.footer.base

    @property
    def end(self) -> int:
        """The first index after the segment."""
        return self.footer.end

    @property
    def seal_hash(self) -> bytes:
        """SHA-256 of the footer."""
        return self.footer.seal_hash

    # ---- bytes ----------------------------------------------------------------------------------

    def read(self, offset: int, length: int, region: str) -> bytes:
        """`length` bytes of the file at `offset`. Raises `EnvironmentFailure` when the system does
        not give them, `CorruptionError` when the file has become shorter."""
        parts: list[bytes] = []
        begin, end = offset, offset + length
        while begin < end:
            try:
                part = os.pread(self._fd, end - begin, begin)
            except OSError as error:
                raise EnvironmentFailure(
                    f"sealed segment {self.segno}, {region}: bytes [{begin}, {end}) cannot be read "
                    f"({error}). Other parts and segments are served; nothing was changed"
                ) from error
            if not part:
                raise corrupt(self.segno, region, "the file ends here", offset=begin)
            parts.append(part)
            begin += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def section(self, name: str, footer: Footer | None = None) -> bytes:
        """A whole section, checked against the hash that the footer names; not for the blocks."""
        section = (footer or self.footer).section(name)
        data = self.read(section.offset, section.length, name)
        if hashlib.sha256(data).digest() != section.digest:
            what = "its SHA-256 is another than the footer says"
            raise corrupt(self.segno, name, what, offset=section.offset)
        return data

    @cached_property
    def table(self) -> BlockTable:
        """Where each block is."""
        return BlockTable(self.section("rows"), self.footer)

    @cached_property
    def dictionary(self) -> bytes:
        """The zstd dictionary of the blocks; may be empty."""
        return self.section("dictionary")

    @cached_property
    def seed(self) -> bytes:
        """The 32 bytes that the salts of the segment come from. Never to leave the ledger."""
        return self.section("seed")

    @cached_property
    def _nodes(self) -> bytes:
        return self.section("nodes")

    @cached_property
    def _decompressor(self) -> Decompressor:
        return Decompressor(self.dictionary)

    # ---- entries --------------------------------------------------------------------------------

    def payload(self, index: int) -> bytes:
        """The payload of an entry of this segment; its block has the checksum that the rows name.

        Raises `IndexError` outside the segment, `CorruptionError` naming the block. Cost: one read
        and one block decompressed, unless it is among the 64 last used."""
        block = self._block(self._find(index))
        return block.payload(index - block.base)

    def row(self, index: int) -> Row:
        """Kind, flags, time and size of an entry; its offset counts from its block's raw bytes."""
        block = self._block(self._find(index))
        return block.row(index - block.base)

    def entry(self, index: int) -> tuple[bytes, bytes]:
        """The 104 bytes that stand for an entry in the tree, and its 16-byte salt, proven against
        the root of its block's subtree. Raises as `payload`."""
        position, (entries, salts, _) = self._rebuilt_at(index)
        entry = entries[position * ENTRY_BYTES : (position + 1) * ENTRY_BYTES]
        return entry, salts[position * 16 : (position + 1) * 16]

    def leaf_hash(self, index: int) -> bytes:
        """The leaf hash of an entry, proven as in `entry`."""
        position, (_, _, leaves) = self._rebuilt_at(index)
        return leaves[position * 32 : (position + 1) * 32]

    def time_last(self) -> int:
        """The time of the last entry, which the flag of the next one is judged by."""
        return self.row(self.end - 1).time

    def node(self, level: int, i: int) -> bytes:
        """The root of the leaves [i * 2^level, (i + 1) * 2^level) of the ledger's tree.

        This segment knows it if it holds the last of these leaves and, below level 8, also the
        first; else `IndexError`. Cost: at most two blocks below level 8, none from 8 up."""
        begin, end = i << level, (i + 1) << level
        place = node_position(self.base, self.end, level, i)
        if place is not None:
            return self._nodes[place * 32 : (place + 1) * 32]
        if level >= NODE_LEVEL_MIN or not self.base <= begin <= end <= self.end:
            raise IndexError(f"segment {self.segno} does not hold node ({level}, {i})")
        block = self.table.find(begin)
        depth = self.table.level(block)
        if depth == level:
            return self.table.root(block)
        if depth < level:
            pair = self.node(level - 1, 2 * i) + self.node(level - 1, 2 * i + 1)
            return hashlib.sha256(b"\x01" + pair).digest()
        first = begin - self.table.first[block]
        _, _, leaves = self._rebuilt(block)
        return _root(leaves[first * 32 : (first + (1 << level)) * 32])

    def iter_blocks(self, begin: int, end: int) -> Iterator[tuple[int, list[Row], bytes]]:
        """The blocks that hold entries of [begin, end), whole: (base, rows, raw bytes).

        Raises `IndexError` outside the segment, `CorruptionError` at the block that is bad, after
        those before it. Decompresses 1 MiB at a time and leaves the cache alone."""
        return ((block.base, block.rows(), block.raw) for block in self.blocks(begin, end))

    def iter_items(self, begin: int, end: int) -> Iterator[tuple[int, int, int, bytes]]:
        """(index, kind, time, payload) of entries [begin, end); errors as `iter_blocks`."""
        for block in self.blocks(begin, end):
            for item in block.items():
                if begin <= item[0] < end:
                    yield item

    def iter_payloads(self, begin: int, end: int) -> Iterator[list[bytes]]:
        """The payloads of the events in [begin, end), a block's at a time; errors as `iter_blocks`."""
        for block in self.blocks(begin, end):
            if begin <= block.base and block.base + block.count <= end:
                yield block.payloads()
            else:
                yield [payload for index, kind, _, payload in block.items() if kind == 0 and begin <= index < end]

    def blocks(self, begin: int, end: int, *, newest: bool = False) -> Iterator[Block]:
        """The blocks that hold entries of [begin, end), whole, the first or with `newest` the last one first. Errors
        as `iter_blocks`. While the caller works on one run of them, a thread decompresses the next."""
        if begin >= end:
            return
        runs = self._runs(self._find(begin), self._find(end - 1) + 1)
        for run in ahead(self._decode_run, runs[::-1] if newest else runs):
            yield from reversed(run) if newest else run

    def block_at(self, index: int) -> Block:
        """The block that holds an entry, from the cache if it is among the 64 last used. Raises as `payload`."""
        return self._block(self._find(index))

    def _runs(self, begin: int, end: int) -> list[tuple[int, int]]:
        runs = []
        while begin < end:
            stop, size = begin + 1, self.table.raw[begin]
            while stop < end and size + self.table.raw[stop] <= _SCAN_BYTES:
                size += self.table.raw[stop]
                stop += 1
            runs.append((begin, stop))
            begin = stop
        return runs

    def _decode_run(self, begin: int, end: int) -> list[Block]:
        return self._split(begin, end, self.decompress_blocks(begin, end))

    def notes_of(self, begin: int, end: int, raw: bytes) -> list[tuple[int, bytes]]:
        """(index, payload) of each entry that is no event, in blocks [begin, end) whose raw bytes are given."""
        blocks = self._split(begin, end, raw)
        return [(index, payload) for block in blocks for index, kind, _, payload in block.items() if kind]

    def _split(self, begin: int, end: int, raw: bytes) -> list[Block]:
        offset, blocks = 0, []
        for k in range(begin, end):
            blocks.append(self._decode(k, raw[offset : offset + self.table.raw[k]]))
            offset += self.table.raw[k]
        return blocks

    def verify(
        self,
        before: Border,
        on_progress: Callable[[int], None] | None = None,
        threads: int = 2,
    ) -> SegmentFacts:
        """Rebuild everything in the file from its payloads and compare: `sealed_check`."""
        return check_segment(self, before, on_progress, threads)

    # ---- blocks ---------------------------------------------------------------------------------

    def _find(self, index: int) -> int:
        if not self.base <= index < self.end:
            raise IndexError(f"segment {self.segno} holds [{self.base}, {self.end}), not {index}")
        return self.table.find(index)

    def _block(self, k: int) -> Block:
        with self._lock:
            block = self._cache.get(k)
            if block is not None:
                self._cache.move_to_end(k)
                return block
        block = self._decode(k, self.decompress_blocks(k, k + 1))
        with self._lock:
            self._cache[k] = block
            if len(self._cache) > _CACHED_BLOCKS:
                self._cache.popitem(last=False)
        return block

    def decompress_blocks(self, begin: int, end: int) -> bytes:
        """The raw bytes of blocks [begin, end), joined; errors as `payload`."""
        offset = self.table.offset[begin]
        frames = self.read(offset, self.table.offset[end] - offset, f"block {begin}")
        try:
            with self._lock:
                return self._decompressor.decompress(frames, self.table, begin, end)
        except FrameError as error:
            raise self.bad_block(begin + error.block, str(error)) from None

    def _decode(self, k: int, raw: bytes) -> Block:
        with self._lock:
            status = lib.ledger_block_decode(raw, len(raw), self._rows, self._count)
            count = int(self._count[0])
            table = as_bytes(self._rows, count * ROW.size) if status == lib.LEDGER_OK else b""
        if status != lib.LEDGER_OK or count != 1 << self.table.level(k):
            raise self.bad_block(k, "its columns break a rule")
        return Block(self.table.first[k], raw, table)

    def _rebuilt_at(self, index: int) -> tuple[int, tuple[bytes, bytes, bytes]]:
        k = self._find(index)
        return index - self.table.first[k], self._rebuilt(k)

    def _rebuilt(self, k: int) -> tuple[bytes, bytes, bytes]:
        """Entries, salts and leaf hashes of a block, rebuilt from the leaf hash before it."""
        block = self._block(k)
        if block.rebuilt is None:
            block.rebuilt = self._rebuild(k, block)
        return block.rebuilt

    def _rebuild(self, k: int, block: Block) -> tuple[bytes, bytes, bytes]:
        count = block.count
        rows, chain = ffi.new("ledger_row[]", 128), ffi.new("ledger_chain *")
        lib.ledger_block_decode(block.raw, len(block.raw), rows, ffi.new("uint32_t *"))
        set_chain(chain, self.footer.fingerprint, block.base, 0, self.table.link(k))
        out = [bytearray(count * size) for size in (ENTRY_BYTES, 16, 32)]
        pointers = [ffi.from_buffer("uint8_t[]", part) for part in out]
        lib.ledger_chain_extend(chain, self.seed, block.raw, rows, count, *pointers)
        entries, salts, leaves = map(bytes, out)
        if _root(leaves) != self.table.root(k):
            raise self.bad_block(k, "its entries give another subtree root than its row says")
        return entries, salts, leaves

    def bad_block(self, k: int, what: str, index: int | None = None) -> CorruptionError:
        """The error for block k; `index` is the entry at fault, if it is known."""
        first, end = self.table.first[k], self.table.first[k + 1]
        region = f"block {k} (entries [{first}, {end}))"
        if index is not None:
            region += f", entry {index}"
        at = first if index is None else index
        return corrupt(self.segno, region, what, offset=self.table.offset[k], index=at)


def _open(path: Path) -> int:
    try:  # O_NONBLOCK: opening a pipe in place of the file must not wait
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        hint = "; symbolic links are not followed" if error.errno == errno.ELOOP else ""
        raise EnvironmentFailure(f"sealed file {path} cannot be opened ({error}){hint}") from error


def _regular_size(fd: int, path: Path) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise EnvironmentFailure(f"{path} is no regular file; it is not read")
    return status.st_size


def _root(leaves: bytes) -> bytes:
    scratch, root = bytearray(leaves), ffi.new("uint8_t[32]")
    lib.ledger_leaves_root(ffi.from_buffer("uint8_t[]", scratch), len(leaves) // 32, root)
    return as_bytes(root, 32)
