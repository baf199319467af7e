"""Rebuild a sealed file from its payloads and compare every byte of evidence in it.

In the order in which a fault is best named: the small sections against the footer; then, chunk by
chunk and in parallel, frames against their rows, entries and subtree roots; then what all of them
must give together: sections, times, counts, links, nodes and both roots. The chunks need nothing
from each other, since each row carries the leaf hash before its block; that these agree at every
border is part of the check. See docs/format.md §7; csrc/block_check.c."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import local
from typing import TYPE_CHECKING, Any, Final

from ledger._native import as_bytes, ffi, lib
from ledger.encoding.block import Decompressor, FrameError
from ledger.encoding.segment import ZERO_HASH, corrupt
from ledger.errors import CorruptionError
from ledger.storage.ahead import ahead

if TYPE_CHECKING:
    from ledger.storage.sealed import SealedSegment

__all__ = ["Border", "SegmentFacts", "check_segment", "set_chain"]

_CHUNK_BYTES: Final = 2 << 20  # raw bytes a worker holds at a time
_FAULTS: Final = {
    lib.LEDGER_BLOCK_LINK: "it does not follow the leaf hash of the entry before it",
    lib.LEDGER_BLOCK_ENTRY: "its columns, a payload or a flag break a rule",
    lib.LEDGER_BLOCK_COUNT: "it holds another number of entries than its row says",
    lib.LEDGER_BLOCK_ROOT: "its entries give another subtree root than its row says",
}


@dataclass(frozen=True, slots=True)
class Border:
    """What holds between two segments: what the entries so far have come to."""

    size: int
    link: bytes  # leaf hash of the last entry; F at 0
    time: int  # of the last entry; 0 at 0
    peaks: bytes  # n x 32: roots of the perfect subtrees of [0, size), largest first
    seal_hash: bytes  # of the segment before; zero at 0

    @classmethod
    def start(cls, fingerprint: bytes) -> Border:
        """Before the first segment of the ledger with that fingerprint."""
        return cls(0, fingerprint, 0, b"", ZERO_HASH)


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What a check has found; all of it rebuilt from payloads, nothing taken over from the file."""

    segno: int
    count: int
    event_count: int
    time_min: int
    time_max: int
    segment_root: bytes
    root_after: bytes
    file_bytes: int
    raw_bytes: int
    notes: tuple[tuple[int, bytes], ...]  # index and payload of each entry that is no event
    after: Border


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Blocks [begin, end) and what they hold."""

    begin: int
    end: int
    frames: bytes
    leaves: bytes
    time_before: int
    link: bytes
    time: int
    event_count: int
    time_min: int
    time_max: int
    notes: list[tuple[int, bytes]]


def check_segment(
    segment: SealedSegment,
    before: Border,
    on_progress: Callable[[int], None] | None = None,
    threads: int = 2,
) -> SegmentFacts:
    """Check every byte of the file against its payloads and the border before it.

    `on_progress` gets the number of entries done, in this thread, about every 2 MiB. Raises
    `CorruptionError` naming the part or the block, its entries and the first bad one if found; what
    the callback raises ends the check. Reads the file once; cost: 0.5 us an entry and
    thread; memory: some 6 MiB a thread, and the notes."""
    check = _Check(segment, before)
    check.start()
    bounds = list(check.bounds())
    for chunk in ahead(check.chunk, bounds, threads if threads > 1 else 0):
        check.add(chunk)
        if on_progress is not None:
            on_progress(segment.table.first[chunk.end] - segment.base)
    return check.finish()


def set_chain(chain: Any, fingerprint: bytes, size: int, time: int, link: bytes) -> None:
    """Put a ledger_chain where the entries [0, size) have led."""
    chain.ledger_id = fingerprint[:16]
    chain.size, chain.time, chain.link = size, time, link


class _Check:
    """One check in progress: `chunk` may run in any thread, the rest in one."""

    def __init__(self, segment: SealedSegment, before: Border) -> None:
        self._segment = segment
        self._footer = segment.footer
        self._before = before
        self._threads = local()
        self._blocks_hash = hashlib.sha256()
        self._leaves: Any = ffi.new("ledger_range *")  # of this segment alone
        self._link, self._time = before.link, before.time
        self._event_count, self._time_min, self._time_max = 0, (1 << 64) - 1, 0
        self._notes: list[tuple[int, bytes]] = []

    def start(self) -> None:
        """The border, and all sections but the blocks."""
        before, footer = self._before, self._footer
        self._agree("base", before.size, footer.base)
        self._agree("leaf hash before the segment", before.link, footer.link_before)
        self._agree("seal hash of the segment before", before.seal_hash, footer.previous_seal_hash)
        if len(before.peaks) != 32 * before.size.bit_count():
            raise ValueError(f"{len(before.peaks)} bytes of peaks do not belong to {before.size}")
        for name in ("header", "dictionary", "rows", "nodes", "withheld", "seed"):
            self._segment.section(name)

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Runs of blocks [begin, end), each of at most 2 MiB raw or a single block."""
        begin = total = 0
        raw = self._segment.table.raw
        for block, size in enumerate(raw):
            if total + size > _CHUNK_BYTES and block > begin:
                yield begin, block
                begin, total = block, 0
            total += size
        yield begin, len(raw)

    def chunk(self, begin: int, end: int) -> _Chunk:
        """Read, decompress and rebuild blocks [begin, end)."""
        segment, table = self._segment, self._segment.table
        frames, raw = self._decompress(begin, end)
        first = table.first[begin]
        chain: Any = ffi.new("ledger_chain *")
        time = self._before.time if begin == 0 else self._time_before(begin)
        set_chain(chain, self._footer.fingerprint, first, time, table.link(begin))
        facts: Any = ffi.new("ledger_blocks_facts *")
        leaves = bytearray((table.first[end] - first) * 32)
        status = lib.ledger_blocks_check(
            raw,
            len(raw),
            ffi.from_buffer("uint8_t[]", table.row(begin, end)),
            end - begin,
            segment.seed,
            chain,
            ffi.from_buffer("uint8_t[]", leaves),
            facts,
        )
        if status != lib.LEDGER_OK:
            raise self._bad_entry(begin, facts)
        event_count = int(facts.event_count)
        return _Chunk(
            *(begin, end, frames, bytes(leaves), time, bytes(chain.link), int(chain.time)),
            *(event_count, int(facts.time_min), int(facts.time_max)),
            segment.notes_of(begin, end, raw) if event_count < table.first[end] - first else [],
        )

    def _decompress(self, begin: int, end: int) -> tuple[bytes, bytes]:
        segment, table = self._segment, self._segment.table
        if not hasattr(self._threads, "decompressor"):
            self._threads.decompressor = Decompressor(segment.dictionary)
        offset = table.offset[begin]
        frames = segment.read(offset, table.offset[end] - offset, f"block {begin}")
        try:
            raw: bytes = self._threads.decompressor.decompress(frames, table, begin, end)
        except FrameError as error:
            raise segment.bad_block(begin + error.block, str(error)) from None
        return frames, raw

    def _time_before(self, block: int) -> int:
        """The time of the last entry before a block: the flag of its first entry depends on it. The
        chunk that holds that entry proves it, and `add` compares."""
        return self._segment.row(self._segment.table.first[block] - 1).time

    def _bad_entry(self, begin: int, facts: Any) -> CorruptionError:
        block, fault = begin + int(facts.fault_block), int(facts.fault)
        index = None
        if fault == lib.LEDGER_BLOCK_ENTRY:
            index = self._segment.table.first[block] + int(facts.fault_row)
        return self._segment.bad_block(block, _FAULTS[fault], index)

    def add(self, chunk: _Chunk) -> None:
        """Take the next chunk in order into what all of them give together."""
        table = self._segment.table
        if table.link(chunk.begin) != self._link or chunk.time_before != self._time:
            raise self._segment.bad_block(chunk.begin, _FAULTS[lib.LEDGER_BLOCK_LINK])
        lib.ledger_range_push(self._leaves, chunk.leaves, len(chunk.leaves) // 32)
        self._blocks_hash.update(chunk.frames)
        self._link, self._time = chunk.link, chunk.time
        self._event_count += chunk.event_count
        self._time_min = min(self._time_min, chunk.time_min)
        self._time_max = max(self._time_max, chunk.time_max)
        self._notes += chunk.notes

    def finish(self) -> SegmentFacts:
        """Compare what the entries give with what the footer and the nodes say."""
        footer, segment = self._footer, self._segment
        blocks = footer.section("blocks")
        self._agree("SHA-256 of the blocks", self._blocks_hash.digest(), blocks.digest)
        self._agree("leaf hash of the last entry", self._link, footer.link_after)
        self._agree("count of events", self._event_count, footer.event_count)
        self._agree("least time", self._time_min, footer.time_min)
        self._agree("greatest time", self._time_max, footer.time_max)
        segment_root = _range_root(self._leaves)
        self._agree("root of the segment", segment_root, footer.segment_root)
        tree, nodes = self._tree()
        if nodes != segment.section("nodes"):
            raise corrupt(segment.segno, "nodes", "the entries give other node hashes")
        root_after = _range_root(tree)
        self._agree("ledger size after the segment", int(tree.size), footer.size_after)
        self._agree("ledger root after the segment", root_after, footer.root_after)
        peaks = bytes(tree.peaks)[: 32 * tree.count]
        return SegmentFacts(
            segno=footer.segno,
            count=footer.count,
            event_count=self._event_count,
            time_min=self._time_min,
            time_max=self._time_max,
            segment_root=segment_root,
            root_after=root_after,
            file_bytes=segment.file_bytes,
            raw_bytes=footer.raw_bytes,
            notes=tuple(self._notes),
            after=Border(int(tree.size), self._link, self._time, peaks, segment.seal_hash),
        )

    def _tree(self) -> tuple[Any, bytes]:
        """The ledger's range after the segment and the nodes, from the border and subtree roots."""
        before, table = self._before, self._segment.table
        tree: Any = ffi.new("ledger_range *")
        tree.size, tree.count = before.size, len(before.peaks) // 32
        ffi.buffer(tree.peaks)[: len(before.peaks)] = before.peaks
        nodes = bytearray(self._footer.section("nodes").length)
        out = ffi.from_buffer("uint8_t[]", nodes)
        status = lib.ledger_blocks_nodes(tree, table.rows, len(table), out)
        assert status == lib.LEDGER_OK, "the table has checked that blocks are whole subtrees"
        return tree, bytes(nodes)

    def _agree(self, what: str, found: object, stated: object) -> None:
        if found != stated:
            found, stated = (v.hex() if isinstance(v, bytes) else v for v in (found, stated))
            text = f"{what}: the entries give {found}, the footer says {stated}"
            raise corrupt(self._footer.segno, "footer", text)


def _range_root(tree: Any) -> bytes:
    root = ffi.new("uint8_t[32]")
    lib.ledger_range_root(tree, root)
    return as_bytes(root, 32)
