"""One granule from its rows: terms, their root, the descriptor, and the sections of the index file. Pure.

A granule is at most 65,536 rows of one segment, events and notes; only events have terms. Rule 1 indexes every path
up to 256, in the order of their first leaf. C does all per-event work; this is the frame around it.
See docs/format.md "Search index"; csrc/index.h; tests/index_oracle.py."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import zstandard

from ledger._native import as_bytes, ffi, lib, raise_status
from ledger.errors import EventError

__all__ = ["GRANULE_ROWS", "RULE", "BuiltGranule", "RowTable", "build_granule", "index_root", "row_table"]

GRANULE_ROWS: Final = 65536
RULE: Final = 1
PATHS_MAX: Final = 256
PAIRS_MAX: Final = 1 << 22
_ZSTD_LEVEL: Final = 3
_OPEN_MAX: Final = 1024
_SECTIONS: Final = (
    *("terms", "term_fences", "postings", "singles", "single_fences"),
    *("words", "word_fences", "values", "open"),
)


@dataclass(frozen=True, slots=True)
class RowTable:
    """Where the entries of a granule are: `table` is a C array of `count` ledger_row, their offsets counted from
    `data`."""

    data: Any
    table: Any
    count: int


_ROW = struct.Struct("=QQIBBH")  # a ledger_row
_KIND_OFFSET: Final = 20
assert _ROW.size == ffi.sizeof("ledger_row")


def row_table(payloads: Sequence[bytes], times: Sequence[int], kinds: Sequence[int] | None = None) -> RowTable:
    """The table of payloads that are at hand one by one: for the unsealed tail, and for tests."""
    packed = bytearray(_ROW.size * len(payloads))
    offset = 0
    for i, payload in enumerate(payloads):
        kind = kinds[i] if kinds is not None else 0
        _ROW.pack_into(packed, i * _ROW.size, offset, times[i], len(payload), kind, 0, 0)
        offset += len(payload)
    return RowTable(b"".join(payloads), ffi.from_buffer("ledger_row[]", packed), len(payloads))


@dataclass(frozen=True, slots=True)
class BuiltGranule:
    """What was made of a granule. `descriptor` is what index_root commits to; `paths`: (types, distinct values in
    several rows, distinct values in one row) of each path of the descriptor; `open`: steps at which something is not
    indexed, with LEDGER_INDEX_OPEN_ bits, None when they are too many; `sections` by name."""

    descriptor: bytes
    paths: tuple[tuple[int, int, int], ...]
    open: tuple[tuple[tuple[str | None, ...], int], ...] | None
    has_words: bool
    sections: dict[str, bytes]


def build_granule(
    rows: RowTable,
    *,
    segno: int,
    base: int,
    key: bytes,
    seed: bytes | None,
    paths_max: int = PATHS_MAX,
    pairs_max: int = PAIRS_MAX,
) -> BuiltGranule:
    """Make the index of the entries [base, base + rows.count) of segment `segno`.

    `key`: the 16 bytes of the ledger's index-key. `seed`: of the segment, for the root; None leaves the root zero,
    for rows that no seal commits to. The two limits are rule 1's; tests give smaller ones. Equal rows, key and seed
    give equal descriptors, in any process.

    Raises `EventError` when a payload is no event, `UsageError` above 65,536 rows or 4 GiB, `MemoryError`. Any thread;
    C runs without the GIL. Cost: some 3 us an event of 400 bytes; memory: 120 bytes a distinct value."""
    index, facts = ffi.new("ledger_index **"), ffi.new("ledger_index_facts *")
    data = ffi.from_buffer("uint8_t[]", rows.data)
    status = lib.ledger_index_build(
        *(data, len(rows.data), rows.table, rows.count, key, os.urandom(16), paths_max, pairs_max, index, facts)
    )
    raise_status(status, f"indexing segment {segno} from entry {base}; the segment itself is not affected")
    built = index[0]
    try:
        root = bytes(32)
        if seed is not None:
            out = ffi.new("uint8_t[32]")
            lib.ledger_index_root(built, seed, out)
            root = as_bytes(out, 32)
        raise_status(lib.ledger_index_encode(built, facts), f"indexing segment {segno} from entry {base}")
        listed = [_path(built, i) for i in range(int(facts.path_count))]
        sections = {name: _section(built, i) for i, name in enumerate(_SECTIONS)}
    finally:
        lib.ledger_index_free(built)
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    sections["values"] = compressor.compress(sections["values"])
    planes, bounds = _times(rows)
    sections["times"] = compressor.compress(planes)
    sections["notes"] = compressor.compress(_notes(rows))
    kept = [path for path in listed if path is not None]
    descriptor = {
        "segno": segno,
        "base": base,
        "count": rows.count,
        "events": int(facts.event_count),
        "time": [int(bounds.time_min), int(bounds.time_max)],
        "recorded": [int(bounds.recorded_min), int(bounds.recorded_max)],
        "rule": RULE,
        "complete": bool(facts.is_complete),
        "paths": [path for path, _ in kept],
        "terms": int(facts.term_count),
        "term_root": root,
    }
    return BuiltGranule(
        msgpack.packb(descriptor),
        tuple(numbers for _, numbers in kept),
        _open_steps(sections.pop("open")),
        bool(facts.has_words),
        sections,
    )


def _path(built: Any, i: int) -> tuple[list[str | None], tuple[int, int, int]] | None:
    """The elements of a path and its numbers; None when it was dropped."""
    facts = ffi.new("ledger_index_path_facts *")
    lib.ledger_index_path(built, i, facts)
    if facts.is_dropped:
        return None
    elements = _elements(as_bytes(facts.elements, int(facts.elements_bytes)))
    return list(elements), (int(facts.types), int(facts.multi), int(facts.single))


def _elements(packed: bytes) -> tuple[str | None, ...]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed)
    try:
        return tuple(unpacker)
    except UnicodeDecodeError:
        raise EventError("a key of an event is not UTF-8; it was not checked before it was to be indexed") from None


def _open_steps(data: bytes) -> tuple[tuple[tuple[str | None, ...], int], ...] | None:
    steps: list[tuple[tuple[str | None, ...], int]] = []
    at = 0
    while at < len(data):
        if len(steps) == _OPEN_MAX:
            return None
        bits, size = data[at], int.from_bytes(data[at + 2 : at + 4], "little")
        steps.append((_elements(data[at + 4 : at + 4 + size]), bits))
        at += 4 + size
    return tuple(steps)


def _section(built: Any, section: int) -> bytes:
    place, size = ffi.new("uint8_t const **"), ffi.new("uint64_t *")
    lib.ledger_index_section_bytes(built, section, place, size)
    return as_bytes(place[0], int(size[0])) if size[0] else b""


def _times(rows: RowTable) -> tuple[bytes, Any]:
    """The column of event times, ready to be compressed, and the bounds of both times."""
    times, bounds = ffi.new("int64_t[]", rows.count), ffi.new("ledger_index_bounds *")
    data = ffi.from_buffer("uint8_t[]", rows.data)
    status = lib.ledger_index_times(data, len(rows.data), rows.table, rows.count, times, bounds)
    raise_status(status, "reading event times")
    planes = bytearray(8 * rows.count)
    lib.ledger_index_times_split(times, rows.count, ffi.from_buffer("uint8_t[]", planes))
    return bytes(planes), bounds


def _notes(rows: RowTable) -> bytes:
    """The rows that are no events, u16 each."""
    kinds = as_bytes(rows.table, rows.count * _ROW.size)[_KIND_OFFSET :: _ROW.size]
    listed = array("H", (row for row, kind in enumerate(kinds) if kind))
    if sys.byteorder == "big":
        listed.byteswap()
    return listed.tobytes()


def index_root(descriptors: Sequence[bytes]) -> bytes:
    """The RFC 6962 root over the descriptors of a segment's granules."""
    leaves = bytearray(b"".join(hashlib.sha256(b"\0" + d).digest() for d in descriptors))
    root = ffi.new("uint8_t[32]")
    lib.ledger_leaves_root(ffi.from_buffer("uint8_t[]", leaves), len(descriptors), root)
    return as_bytes(root, 32)
