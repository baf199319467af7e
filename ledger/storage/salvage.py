"""Read what can be read of a damaged ledger, file by file and piece by piece; opens for reading only.

Other than `Store`, which stops at the first damage, this goes on behind it: each sealed block is judged by its own row,
and in an active file the next batch is looked for at every 512th byte by its keyed header. What a piece was judged by:

    hashes     its entries were rebuilt: they give the subtree root of the block's row, or the leaf hash of the batch
    checksum   the keyed header and the CRC32C of a batch hold; the hash before it is lost, so the chain cannot tell

Nothing is skipped in silence: what is missing between two pieces is the caller's to name (`ledger.repairing`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger._native import as_bytes, ffi, lib
from ledger.errors import CorruptionError, EnvironmentFailure, UsageError
from ledger.storage.active import BATCHES_BEGIN, HEADER_BYTES
from ledger.storage.files import open_regular
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment

__all__ = ["Piece", "pieces"]

_ALIGNMENT = 512
_MAGIC = b"LGB1"
_TIMES = (0, (1 << 64) - 1)  # whichever the time before a batch was: its flag says only if it was greater

Item = tuple[int, int, int, bytes]  # index, kind, time, payload


@dataclass(frozen=True, slots=True)
class Piece:
    """Entries [begin, end) that lie together and can be read."""

    begin: int
    items: list[Item]
    link: bytes | None  # leaf hash of the entry before; None: lost
    leaves: bytes  # n x 32; b"" where only a checksum speaks for it
    last: bytes  # leaf hash of the last entry, as it was rebuilt or stored

    @property
    def end(self) -> int:
        return self.begin + len(self.items)


def pieces(paths: Paths, fingerprint: bytes) -> Iterator[tuple[int, list[Piece], list[str]]]:
    """(segment number, its pieces in order, what is wrong with its files), for every segment with a file.

    Where a segment has both a sealed and an active file, that which gives more entries is taken. Memory: the files of
    one segment. Raises `UsageError` for a newer format; all other damage is in the result."""
    sealed, active = set(paths.list_sealed().found), set(paths.list_active().found)
    evicted = set(paths.list_stubs().found) - sealed - active
    for segno in sorted(sealed | active | evicted):
        faults: list[str] = []
        if segno in evicted:
            faults.append(f"segment {segno} lies in an archive only: restore it and repair anew, or it counts as lost")
        found: list[Piece] = []
        if segno in sealed:
            found = _sealed(paths.sealed(segno), segno, fingerprint, faults)
        if segno in active:
            other = _active(paths.active(segno), segno, fingerprint, faults)
            found = max(found, other, key=lambda listed: sum(len(piece.items) for piece in listed))
        yield segno, found, faults


def _sealed(path: Path, segno: int, fingerprint: bytes, faults: list[str]) -> list[Piece]:
    found: list[Piece] = []
    try:
        with SealedSegment(path, segno, fingerprint=fingerprint) as segment:
            table = segment.table
            for k in range(len(table)):
                first, end = table.first[k], table.first[k + 1]
                try:
                    leaves = b"".join(segment.leaf_hash(index) for index in range(first, end))
                    items = list(segment.block_at(first).items())
                except (CorruptionError, EnvironmentFailure) as error:
                    faults.append(str(error))
                    continue
                found.append(Piece(first, items, table.link(k), leaves, leaves[-32:]))
    except (CorruptionError, EnvironmentFailure) as error:
        faults.append(str(error))
    return found


def _active(path: Path, segno: int, fingerprint: bytes, faults: list[str]) -> list[Piece]:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read()
    except (CorruptionError, OSError) as error:
        faults.append(f"{path} cannot be read: {error}")
        return []
    header = _header(data, path, segno, fingerprint, faults)
    return [] if header is None else _Scan(data, header).run(path, faults)


def _header(data: bytes, path: Path, segno: int, fingerprint: bytes, faults: list[str]) -> Any:
    """The header that is sound and of this segment; None, also for a file that was never begun."""
    header = ffi.new("ledger_active_header *")
    for copy in (data[:HEADER_BYTES], data[HEADER_BYTES : 2 * HEADER_BYTES]):
        status = lib.ledger_active_header_decode(copy, header) if len(copy) == HEADER_BYTES else lib.LEDGER_CORRUPT
        if status == lib.LEDGER_USAGE:
            raise UsageError(f"{path} has a newer format than this version of sealedger reads; nothing was changed")
        if status == lib.LEDGER_OK:
            if as_bytes(header.fingerprint, 32) == fingerprint and header.segno == segno:
                return header
            faults.append(f"{path} belongs to another ledger or segment")
            return None
    if data.strip(b"\x00"):
        faults.append(f"{path}: both copies of its header are damaged, and with them what its batches are checked by")
    return None


class _Scan:
    """The batches of one active file, before and behind what is damaged."""

    def __init__(self, data: bytes, header: Any) -> None:
        self._data, self._header = data, header
        self._state = ffi.new("ledger_scan_state *")
        self._capacity = 4096
        self._rows = ffi.new("ledger_row[]", self._capacity)
        self._leaves = ffi.new("uint8_t[]", self._capacity * 32)

    def run(self, path: Path, faults: list[str]) -> list[Piece]:
        """All pieces, in the order of the file."""
        header, found = self._header, list[Piece]()
        if len(self._data) != header.file_bytes:
            faults.append(f"{path} has {len(self._data)} bytes, its header says {header.file_bytes}")
        self._set(BATCHES_BEGIN, int(header.base), as_bytes(header.link, 32), int(header.time_before))
        while True:
            found += self._go_on()
            behind = self._next_header(int(self._state.end))
            if behind is None:
                return found
            faults.append(f"{path}: bytes [{self._state.end}, {behind[0]}) hold no batch that can be read")
            found += self._resume(*behind)

    def _set(self, offset: int, size: int, link: bytes, time: int) -> None:
        ffi.memmove(self._state, bytes(ffi.sizeof("ledger_scan_state")), ffi.sizeof("ledger_scan_state"))
        self._state.end = offset
        self._state.chain.ledger_id = as_bytes(self._header.fingerprint, 32)[:16]
        self._state.chain.size, self._state.chain.time, self._state.chain.link = size, time, link

    def _read(self, end: int, *, hashing: bool) -> Piece | None:
        """The batches from the state's place on, as far as they are sound and there is room."""
        state = self._state
        begin, link = int(state.chain.size), bytes(state.chain.link)
        leaves = self._leaves if hashing else ffi.NULL
        lib.ledger_scan(self._data, end, self._header, hashing, state, self._rows, self._capacity, leaves)
        count = int(state.row_count)
        if count == 0:
            return None
        items: list[Item] = []
        for position in range(count):
            row = self._rows[position]
            payload = self._data[row.offset : row.offset + row.bytes]
            items.append((begin + position, int(row.kind), int(row.time), payload))
        rebuilt = as_bytes(self._leaves, 32 * count) if hashing else b""
        return Piece(begin, items, link if hashing else None, rebuilt, bytes(state.chain.link))

    def _go_on(self) -> Iterator[Piece]:
        while True:
            piece = self._read(len(self._data), hashing=True)
            if piece is not None:
                yield piece
            if self._state.stop != lib.LEDGER_STOP_ROWS:
                return
            if piece is None:  # one batch of more entries than there is room for
                self._capacity *= 4
                self._rows = ffi.new("ledger_row[]", self._capacity)
                self._leaves = ffi.new("uint8_t[]", self._capacity * 32)

    def _next_header(self, begin: int) -> tuple[int, Any] | None:
        """The first batch behind `begin` whose keyed header holds and which does not go back."""
        at = (begin // _ALIGNMENT + 1) * _ALIGNMENT
        batch = ffi.new("ledger_batch_header *")
        while (at := self._data.find(_MAGIC, at)) >= 0:
            front = self._data[at : at + 64]
            if at % _ALIGNMENT == 0 and len(front) == 64:
                status = lib.ledger_batch_header_decode(front, self._header.salt, self._header.segno, at, batch)
                if status == lib.LEDGER_OK and batch.base >= self._state.chain.size:
                    return at, batch
            at += 1
        return None

    def _resume(self, at: int, batch: Any) -> list[Piece]:
        """The one batch at `at`, by the hash before it if that is still there, else by its checksum. The scan goes on
        behind it either way; where not even the checksum holds it is passed over."""
        end = at + -(-(64 + int(batch.body_bytes)) // _ALIGNMENT) * _ALIGNMENT
        size, links = int(batch.base), self._links_before(at)
        for link, hashing in [*((link, True) for link in links), (bytes(32), False)]:
            for time in _TIMES:
                self._set(at, size, link, time)
                piece = self._read(end, hashing=hashing) if end <= len(self._data) else None
                if piece is not None:
                    return [piece]
                if self._state.stop == lib.LEDGER_STOP_ROWS:
                    self._capacity = max(self._capacity * 4, int(batch.count))
                    self._rows = ffi.new("ledger_row[]", self._capacity)
                    self._leaves = ffi.new("uint8_t[]", self._capacity * 32)
                    return self._resume(at, batch)
        self._set(at, size, bytes(32), 0)
        return []

    def _links_before(self, at: int) -> list[bytes]:
        """Where the leaf hash that ends the batch before may lie: last in its body, at a multiple of 8, then padding;
        it may itself end with zeros."""
        window = self._data[at - 2 * _ALIGNMENT : at].rstrip(b"\x00")
        used = -(-(at - 2 * _ALIGNMENT + len(window)) // 8) * 8
        return [self._data[stop - 32 : stop] for stop in range(used, min(used + 40, at + 1), 8)]
