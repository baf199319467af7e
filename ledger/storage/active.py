"""Read an active file: batches found once, each proven by the chain, served from then on by position.

A reader never trusts the end of a file: it reads up to what HEAD says is acknowledged, and no further.
See docs/format.md §4 and csrc/scan.c."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from ledger._native import ROW, Row, as_bytes, ffi, lib
from ledger.encoding.block import Block
from ledger.errors import CorruptionError, EnvironmentFailure, UsageError
from ledger.storage.files import open_regular

__all__ = ["BATCHES_BEGIN", "STOPS", "ActiveSegment", "read_exactly", "read_header"]

HEADER_BYTES = 4096
BATCHES_BEGIN = 8192
_STEP_BYTES = 4 << 20
_CHECK_BYTES = 64 << 10

STOPS = {
    lib.LEDGER_STOP_ZERO: "the end of the log",
    lib.LEDGER_STOP_HEADER: "bytes that are no batch header",
    lib.LEDGER_STOP_BODY: "a batch whose body fails its checksum",
    lib.LEDGER_STOP_CHAIN: "a batch that does not follow the one before",
}


def read_exactly(file: int, size: int, offset: int, what: str) -> bytes:
    """`size` bytes at `offset`; an early end or a read error is an `EnvironmentFailure` that names `what`."""
    parts = []
    while size > 0:
        try:
            part = os.pread(file, size, offset)
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot read {what} at offset {offset}: {error}; other files are not touched by this, "
                "check the disk and try again"
            ) from error
        if not part:
            raise CorruptionError(f"{what} ends at offset {offset}, before it should", offset=offset)
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return b"".join(parts)


def read_header(file: int, path: Path) -> tuple[Any, int]:
    """The header of an active file (cdata `ledger_active_header *`) and how many of its two copies are good.

    Raises `CorruptionError` when neither is, `UsageError` for a newer format."""
    header = ffi.new("ledger_active_header *")
    other = ffi.new("ledger_active_header *")
    data = read_exactly(file, 2 * HEADER_BYTES, 0, f"the header of {path.name}")
    first = lib.ledger_active_header_decode(data[:HEADER_BYTES], header)
    second = lib.ledger_active_header_decode(data[HEADER_BYTES:], other)
    if lib.LEDGER_USAGE in (first, second):
        raise UsageError(f"{path} has a newer format than this version of sealedger reads; nothing was changed")
    if first != lib.LEDGER_OK and second != lib.LEDGER_OK:
        raise CorruptionError(f"both copies of the header of {path} are damaged; nothing was changed", offset=0)
    good = (first == lib.LEDGER_OK) + (second == lib.LEDGER_OK)
    return (header if first == lib.LEDGER_OK else other), good


class ActiveSegment:
    """An open active file. Threads: any; one scans at a time. Keeps its descriptor, so it outlives an unlink."""

    def __init__(self, path: Path, fingerprint: bytes) -> None:
        self.path = path
        try:
            self._file = open_regular(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise EnvironmentFailure(f"cannot open {path}: {error}") from error
        try:
            self.header, self.good_headers = read_header(self._file, path)
            if as_bytes(self.header.fingerprint, 32) != fingerprint:
                raise CorruptionError(f"{path} belongs to another ledger; nothing was changed", offset=0)
            if os.fstat(self._file).st_size != self.header.file_bytes:
                raise CorruptionError(
                    f"{path} has {os.fstat(self._file).st_size} bytes, its header says {self.header.file_bytes}; "
                    "nothing was changed",
                    segment=int(self.header.segno),
                )
        except BaseException:
            os.close(self._file)
            raise
        self.segno = int(self.header.segno)
        self.base = int(self.header.base)
        self._lock = threading.RLock()
        self._state = ffi.new("ledger_scan_state *")
        self._begin()

    def _begin(self) -> None:
        header, state = self.header, self._state
        state.end = BATCHES_BEGIN
        ffi.memmove(state.chain.ledger_id, header.fingerprint, 16)
        state.chain.size = self.base
        state.chain.time = header.time_before
        ffi.memmove(state.chain.link, header.link, 32)
        state.range.size = self.base
        state.range.count = header.peak_count
        ffi.memmove(state.range.peaks, header.peaks, 2048)
        self._capacity = 1024
        self._rows = ffi.new("ledger_row[]", self._capacity)
        self._leaves = ffi.new("uint8_t[]", self._capacity * 32)
        self._count = 0

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held it."""
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._file)

    @property
    def size(self) -> int:
        """Ledger size after the last batch read so far."""
        return self.base + self._count

    @property
    def end(self) -> int:
        """File offset after the last batch read so far."""
        return int(self._state.end)

    @property
    def state(self) -> Any:
        """The scan's own state (cdata), for recovery and seal."""
        return self._state

    def nonzero_end(self, begin: int) -> int:
        """The offset after the last byte from `begin` on that is not zero; `begin` when there is none. Read 64 KiB at a
        time: what was prepared and not begun is most of a file."""
        end = begin
        for at in range(begin, int(self.header.file_bytes), _CHECK_BYTES):
            size = min(_CHECK_BYTES, int(self.header.file_bytes) - at)
            data = read_exactly(self._file, size, at, str(self.path))
            if data.count(0) != size:
                end = at + len(data.rstrip(b"\x00"))
        return end

    def read_all(self, begin: int = 0) -> bytes:
        """The whole file, or what follows offset `begin`."""
        return read_exactly(self._file, int(self.header.file_bytes) - begin, begin, str(self.path))

    def refresh(self, end: int) -> None:
        """Read on to file offset `end`, all of which is acknowledged: anything but sound batches up to there
        is a `CorruptionError`."""
        with self._lock:
            if end <= self.end:
                return
            stop = self.scan_to(end)
            if self.end < end:
                raise CorruptionError(
                    f"{self.path}: {STOPS[stop]} at offset {self.end}, though everything up to {end} was "
                    f"acknowledged; entries from index {self.size} on may be lost, those before are safe. "
                    "Nothing was changed",
                    segment=self.segno,
                    offset=self.end,
                    index=self.size,
                    evidence=f"HEAD acknowledges up to offset {end}",
                )

    def scan_to(self, end: int) -> int:
        """Read batches up to `end` as far as they are sound; says why it stopped (a ledger_stop)."""
        with self._lock:
            start = self.end
            data = read_exactly(self._file, end - start, start, str(self.path))
            # C counts offsets from the start of the file; it touches nothing before state->end.
            buffer = ffi.from_buffer("uint8_t[]", data)
            origin = ffi.cast("uint8_t *", int(ffi.cast("uintptr_t", buffer)) - start)
            while True:
                rows = self._rows + self._count
                leaves = self._leaves + self._count * 32
                room = self._capacity - self._count
                status = lib.ledger_scan(origin, end, self.header, 1, self._state, rows, room, leaves)
                if status != lib.LEDGER_OK:
                    raise CorruptionError(f"{self.path} cannot be scanned", segment=self.segno)
                self._count += int(self._state.row_count)
                if self._state.stop != lib.LEDGER_STOP_ROWS:
                    return int(self._state.stop)
                self._grow()

    def _grow(self) -> None:
        capacity = self._capacity * 4
        rows, leaves = ffi.new("ledger_row[]", capacity), ffi.new("uint8_t[]", capacity * 32)
        ffi.memmove(rows, self._rows, self._count * ffi.sizeof("ledger_row"))
        ffi.memmove(leaves, self._leaves, self._count * 32)
        self._rows, self._leaves, self._capacity = rows, leaves, capacity

    def row(self, index: int) -> Row:
        """Where the entry at `index` lies in the file."""
        row = self._rows[index - self.base]
        return Row(int(row.offset), int(row.time), int(row.bytes), int(row.kind), int(row.flags))

    def payload(self, index: int) -> bytes:
        """The payload at `index`, which must have been read."""
        row = self._rows[index - self.base]
        size, offset = row.bytes, row.offset
        data = os.pread(self._file, size, offset)
        return data if len(data) == size else read_exactly(self._file, size, offset, str(self.path))

    def items(self, begin: int, end: int) -> Iterator[tuple[int, int, int, bytes]]:
        """(index, kind, time, payload) of entries [begin, end), read in large steps."""
        for block in self.blocks(begin, end):
            yield from block.items()

    def iter_payloads(self, begin: int, end: int) -> Iterator[list[bytes]]:
        """The payloads of the events in [begin, end), up to 128 at a time."""
        for block in self.blocks(begin, end):
            payloads = block.payloads()
            yield from (payloads[at : at + 128] for at in range(0, len(payloads), 128))

    def blocks(self, begin: int, end: int, *, newest: bool = False) -> Iterator[Block]:
        """The entries [begin, end) in stretches of some MiB, the first or with `newest` the last one first."""
        borders = [begin]
        while borders[-1] < end:
            borders.append(self._step_end(borders[-1], end))
        stretches = list(pairwise(borders))
        for at, stop in reversed(stretches) if newest else stretches:
            yield self._stretch(at, stop)

    def block_at(self, index: int) -> Block:
        """The entry, as a block of one."""
        return self._stretch(index, index + 1)

    def _stretch(self, begin: int, end: int) -> Block:
        first, last = self._rows[begin - self.base].offset, self._rows[end - 1 - self.base]
        data = read_exactly(self._file, last.offset + last.bytes - first, first, str(self.path))
        table = ffi.buffer(self._rows + (begin - self.base), (end - begin) * ROW.size)
        return Block(begin, data, bytes(table), first)

    def _step_end(self, begin: int, end: int) -> int:
        """The end of a run of entries from `begin` that lies within one step's bytes, or is one entry."""
        limit = self._rows[begin - self.base].offset + _STEP_BYTES
        low, high = begin + 1, end
        while low < high:  # the last row of the run, by halves: offsets ascend
            middle = (low + high + 1) // 2
            row = self._rows[middle - 1 - self.base]
            if row.offset + row.bytes <= limit:
                low = middle
            else:
                high = middle - 1
        return low

    def leaf_hash(self, index: int) -> bytes:
        """Leaf hash of the entry at `index`."""
        return as_bytes(self._leaves + (index - self.base) * 32, 32)

    def leaf_hashes(self, begin: int, end: int) -> bytes:
        """Leaf hashes of [begin, end), 32 bytes each."""
        return as_bytes(self._leaves + (begin - self.base) * 32, (end - begin) * 32)

    def entry(self, index: int) -> tuple[bytes, bytes]:
        """The 104 hashed bytes at `index`, and the salt."""
        chain = ffi.new("ledger_chain *")
        ffi.memmove(chain.ledger_id, self.header.fingerprint, 16)
        chain.size = index
        link = as_bytes(self.header.link, 32) if index == self.base else self.leaf_hash(index - 1)
        ffi.memmove(chain.link, link, 32)
        payload = self.payload(index)
        row = ffi.new("ledger_row *", self._rows[index - self.base])
        row.offset = 0
        entry, salt, leaf = ffi.new("uint8_t[104]"), ffi.new("uint8_t[16]"), ffi.new("uint8_t[32]")
        lib.ledger_chain_extend(
            chain, self.header.seed, ffi.from_buffer("uint8_t[]", payload), row, 1, entry, salt, leaf
        )
        return bytes(entry), bytes(salt)
