"""The index file of a segment: its granules' sections one after the other, and the footer that says where they are.

    header 64 · sections of granule 0 · of granule 1 … · footer (msgpack) · trailer 32

Derived and rebuildable: nothing in it is evidence, which is what index_root in the `.seg` is for. Every section has
a CRC32C in the footer, every chunk and long posting one of its own, so that a small read can be trusted as well.
What does not agree is `IndexUnusableError`. Pure. See docs/format.md "Search index"."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from ledger._native import crc32c
from ledger.errors import IndexUnusableError
from ledger.index.build import GRANULE_ROWS, BuiltGranule

__all__ = ["SECTIONS", "GranuleTable", "Section", "Source", "encode_container", "read_container"]

Source = Callable[[int, int], bytes]  # (offset, length) -> exactly these bytes, or fewer at the end of the file

SECTIONS: Final = (
    *("terms", "term_fences", "postings", "singles", "single_fences"),
    *("words", "word_fences", "values", "times", "notes"),
)
TOKENIZER: Final = "ascii-fold/1"
BUILDER: Final = 1
HEADER_BYTES: Final = 64
TRAILER_BYTES: Final = 32
FOOTER_BYTES_MAX: Final = 1 << 28

_HEADER = struct.Struct("<8sHHI32sQI")
_HEADER_MAGIC = b"\x89LGI\r\n\x1a\n"
_TRAILER = struct.Struct("<QIIQI4s")
_TRAILER_MAGIC = b"LGI1"
assert _HEADER.size + 4 == HEADER_BYTES
assert _TRAILER.size == TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes [offset, offset + length) of the file, and their CRC32C."""

    offset: int
    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class GranuleTable:
    """What the footer says of a granule. `paths`: elements, types, distinct values in several rows, in one row.
    `open`: (step, LEDGER_INDEX_OPEN_ bits) of what is not indexed; None: it may be anything."""

    segno: int
    base: int
    count: int
    event_count: int
    time: tuple[int, int]
    recorded: tuple[int, int]
    complete: bool
    has_words: bool
    paths: tuple[tuple[tuple[str | None, ...], int, int, int], ...]
    open: tuple[tuple[tuple[str | None, ...], int], ...] | None
    sections: dict[str, Section]
    descriptor: bytes


def encode_container(granules: Sequence[BuiltGranule], fingerprint: bytes, segno: int) -> bytes:
    """The whole file. `fingerprint`: F of the ledger."""
    front = _HEADER.pack(_HEADER_MAGIC, 1, 0, 0, fingerprint, segno, 0)
    parts, end = [front + crc32c(front).to_bytes(4, "little")], HEADER_BYTES
    listed = []
    for granule in granules:
        places = []
        for name in SECTIONS:
            data = granule.sections[name]
            places.append([end, len(data), crc32c(data)])
            parts.append(data)
            end += len(data)
        listed.append(
            {
                "descriptor": granule.descriptor,
                "paths": [list(numbers) for numbers in granule.paths],
                "open": granule.open,
                "words": granule.has_words,
                "sections": places,
            }
        )
    footer = msgpack.packb({"builder": BUILDER, "tokenizer": TOKENIZER, "granules": listed})
    trailer = struct.pack("<QIIQ", end, len(footer), crc32c(footer), end + len(footer) + TRAILER_BYTES)
    return b"".join([*parts, footer, trailer, crc32c(trailer).to_bytes(4, "little"), _TRAILER_MAGIC])


def read_container(source: Source, file_bytes: int, fingerprint: bytes, segno: int) -> list[GranuleTable]:
    """The granules of an index file of `file_bytes`, in order. Reads header, trailer and footer.

    Raises `IndexUnusableError` when anything in them does not agree."""
    front = source(0, HEADER_BYTES)
    if len(front) != HEADER_BYTES or crc32c(front[:-4]) != int.from_bytes(front[-4:], "little"):
        raise unusable(segno, "the header is damaged")
    magic, major, _, _, owner, number, _ = _HEADER.unpack(front[:-4])
    if magic != _HEADER_MAGIC or major != 1:
        raise unusable(segno, f"it is no index of version 1 ({magic!r}, {major})")
    if owner != fingerprint or number != segno:
        raise unusable(segno, f"it belongs to segment {number} of ledger {owner.hex()}")
    begin = file_bytes - TRAILER_BYTES
    trailer = source(begin, TRAILER_BYTES) if begin >= HEADER_BYTES else b""
    if len(trailer) != TRAILER_BYTES or crc32c(trailer[:24]) != int.from_bytes(trailer[24:28], "little"):
        raise unusable(segno, "the trailer is damaged")
    offset, length, crc, stated, _, magic = _TRAILER.unpack(trailer)
    if magic != _TRAILER_MAGIC or stated != file_bytes or offset + length != begin or length > FOOTER_BYTES_MAX:
        raise unusable(segno, "the trailer does not fit the file")
    footer = source(offset, length)
    if len(footer) != length or crc32c(footer) != crc:
        raise unusable(segno, "the footer is damaged")
    try:
        return _parse(footer, segno, offset)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise unusable(segno, f"the footer breaks a rule: {error!r}") from None


def unusable(segno: int, what: str) -> IndexUnusableError:
    """The error for an index file; `what` is wrong with it."""
    return IndexUnusableError(
        f"search index of segment {segno}: {what}. The entries are not affected and can be searched without it; "
        "reindex builds it anew"
    )


def _parse(footer: bytes, segno: int, end: int) -> list[GranuleTable]:
    body = msgpack.unpackb(footer)
    if body["builder"] != BUILDER or body["tokenizer"] != TOKENIZER:
        raise ValueError(f"builder {body['builder']!r}, tokenizer {body['tokenizer']!r} are of another version")
    tables, place = [], HEADER_BYTES
    for item in body["granules"]:
        sections = {}
        for name, (offset, length, crc) in zip(SECTIONS, item["sections"], strict=True):
            if offset != place or not 0 <= length <= end - place:
                raise ValueError(f"section {name} is not where it must be")
            sections[name] = Section(offset, length, crc)
            place += length
        tables.append(_table(item, sections, segno))
    if place != end:
        raise ValueError("bytes are unaccounted for")
    return tables


def _table(item: dict[str, Any], sections: dict[str, Section], segno: int) -> GranuleTable:
    said = msgpack.unpackb(item["descriptor"])
    if said["rule"] != 1 or said["segno"] != segno or not 0 <= said["events"] <= said["count"] <= GRANULE_ROWS:
        raise ValueError("a descriptor of another rule or segment")
    paths = tuple(
        (tuple(path), int(types), int(multi), int(single))
        for path, (types, multi, single) in zip(said["paths"], item["paths"], strict=True)
    )
    steps = item["open"]
    return GranuleTable(
        segno=segno,
        base=int(said["base"]),
        count=int(said["count"]),
        event_count=int(said["events"]),
        time=(said["time"][0], said["time"][1]),
        recorded=(said["recorded"][0], said["recorded"][1]),
        complete=bool(said["complete"]),
        has_words=bool(item["words"]),
        paths=paths,
        open=None if steps is None else tuple((tuple(step), int(bits)) for step, bits in steps),
        sections=sections,
        descriptor=bytes(item["descriptor"]),
    )
