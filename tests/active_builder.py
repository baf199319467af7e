"""Active files made in memory with the core's own frame functions, for tests of what reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger._native import crc32c, ffi, lib

__all__ = ["ActiveBuilder", "Entry"]

_HEADER_BYTES, _BATCHES_BEGIN, _ALIGNMENT = 4096, 8192, 512


@dataclass
class Entry:
    """What an entry was made of and what it became."""

    payload: bytes
    kind: int
    time: int
    entry: bytes = b""
    salt: bytes = b""
    leaf: bytes = b""


@dataclass
class ActiveBuilder:
    """A ledger's entries, cut into segments by the test: `append` a batch, `close` a segment."""

    fingerprint: bytes = hashlib.sha256(b"a ledger").digest()
    entries: list[Entry] = field(default_factory=list)
    segno: int = 0

    def __post_init__(self) -> None:
        self._chain: Any = ffi.new("ledger_chain *")
        self._chain.ledger_id = self.fingerprint[:16]
        self._chain.link = self.fingerprint
        self._range: Any = ffi.new("ledger_range *")
        self._open()

    def _open(self) -> None:
        header: Any = ffi.new("ledger_active_header *")
        root = ffi.new("uint8_t[32]")
        lib.ledger_range_root(self._range, root)
        header.fingerprint = self.fingerprint
        header.segno, header.base = self.segno, self._chain.size
        header.root, header.link = bytes(root), bytes(self._chain.link)
        header.salt = hashlib.sha256(b"salt%d" % self.segno).digest()[:16]
        header.seed = hashlib.sha256(b"seed%d" % self.segno).digest()
        header.segment_bytes_max, header.event_bytes_max = 64 << 20, 16 << 20
        header.segment_entries_max, header.segment_age_max_ns = 1_000_000, 3600 * 10**9
        header.peak_count, header.peaks = self._range.count, bytes(self._range.peaks)
        self._header = header
        self._batches = bytearray()
        self.time_before = int(self._chain.time)
        self.peaks_before = bytes(self._range.peaks)[: 32 * self._range.count]

    @property
    def base(self) -> int:
        """The index of the first entry of the segment being built."""
        return int(self._header.base)

    def append(self, payloads: Sequence[bytes], time: int, kind: int = 0) -> None:
        """One batch."""
        count, records, rows = len(payloads), bytearray(), ffi.new("ledger_row[]", len(payloads))
        flag = int(time < self._chain.time)
        for i, payload in enumerate(payloads):
            flags = flag if i == 0 else 0
            records += len(payload).to_bytes(4, "little") + bytes([kind, flags, 0, 0])
            rows[i] = (len(records), time, len(payload), kind, flags, 0)
            records += payload + bytes(-len(payload) % 8)
        base = int(self._chain.size)
        entries, salts, leaves = (bytearray(count * size) for size in (104, 16, 32))
        pointers = [ffi.from_buffer("uint8_t[]", part) for part in (entries, salts, leaves)]
        data = ffi.from_buffer("uint8_t[]", records)
        lib.ledger_chain_extend(self._chain, self._header.seed, data, rows, count, *pointers)
        lib.ledger_range_push(self._range, pointers[2], count)
        for i, payload in enumerate(payloads):
            parts = entries[i * 104 :][:104], salts[i * 16 :][:16], leaves[i * 32 :][:32]
            self.entries.append(Entry(payload, kind, time, *map(bytes, parts)))
        self._batches += self._frame(records + leaves[-32:], count, base, time)

    def _frame(self, body: bytearray, count: int, base: int, time: int) -> bytes:
        padded = bytes(body) + bytes(-(64 + len(body)) % _ALIGNMENT)
        batch: Any = ffi.new("ledger_batch_header *")
        batch.body_bytes, batch.count, batch.base, batch.time = len(body), count, base, time
        batch.body_crc = crc32c(padded)
        front = bytearray(64)
        lib.ledger_batch_header_encode(
            batch,
            self._header.salt,
            self.segno,
            _BATCHES_BEGIN + len(self._batches),
            ffi.from_buffer("uint8_t[]", front),
        )
        return bytes(front) + padded

    def close(self, spare: int = 4096) -> bytes:
        """The bytes of the active file, `spare` zero bytes at its end; begins the next segment."""
        self._header.file_bytes = _BATCHES_BEGIN + len(self._batches) + spare
        front = bytearray(_HEADER_BYTES)
        lib.ledger_active_header_encode(self._header, ffi.from_buffer("uint8_t[]", front))
        data = bytes(front) * 2 + bytes(self._batches) + bytes(spare)
        self.segno += 1
        self._open()
        return data
