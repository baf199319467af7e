"""The fixed parts of a sealed file to bytes and back: header, footer, trailer. Pure.

    header 512 · dictionary · blocks · rows · nodes · withheld · seed · footer 744 · trailer 64

Contiguous, in this order, no byte unaccounted for. A reader goes backwards: the trailer tells where
the footer is and its hash, the seal hash; nothing of the footer is believed before it has that hash
(and the hash is the expected one, where one is known); the footer holds the place and hash of all
else. Every field is checked against another. See docs/format.md §7."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from ledger._native import crc32c
from ledger.errors import CorruptionError, UsageError

__all__ = [
    "FOOTER_BYTES",
    "HEADER_BYTES",
    "NODE_LEVEL_MIN",
    "ROW_BYTES",
    "SECTIONS",
    "TRAILER_BYTES",
    "Footer",
    "SealedHeader",
    "Section",
    "corrupt",
    "decode_trailer",
    "node_count",
    "node_position",
]

HEADER_BYTES: Final = 512
ROW_BYTES: Final = 80
FOOTER_BYTES: Final = 744
TRAILER_BYTES: Final = 64
NODE_LEVEL_MIN: Final = 8  # nodes below are rebuilt from a block or two
SECTIONS: Final = ("header", "dictionary", "blocks", "rows", "nodes", "withheld", "seed")
DICTIONARY_BYTES_MAX: Final = 1 << 20
ZERO_HASH: Final = bytes(32)

_MAJOR, _MINOR = 1, 0
_HEADER = struct.Struct("<8sHHI32sQQQ")
_HEADER_MAGIC = b"\x89LGS\r\n\x1a\n"
_FOOTER = struct.Struct("<8s32sQQQQQQ32s32s32s32sQ32s32s32sIIQQQ")
_FOOTER_MAGIC = b"LGFOOT1\0"
_SECTION = struct.Struct("<IIQQ32s")
_TRAILER = struct.Struct("<4sIQQQ32s")
_TRAILER_MAGIC = b"LGT1"
assert _FOOTER.size + len(SECTIONS) * _SECTION.size == FOOTER_BYTES
assert _TRAILER.size == TRAILER_BYTES


def corrupt(
    segno: int, region: str, what: str, *, offset: int | None = None, index: int | None = None
) -> CorruptionError:
    """The error for bytes of a sealed file that break a rule; `region` is the part of the file."""
    where = f" at byte {offset}" if offset is not None else ""
    return CorruptionError(
        f"sealed segment {segno}, {region}{where}: {what}. Nothing was changed and other segments "
        "are not affected; put an intact copy of this segment's file in its place",
        segment=segno,
        offset=offset,
        index=index,
        evidence=f"{region}: {what}",
    )


def node_count(base: int, end: int) -> int:
    """How many hashes the nodes section of the segment [base, end) holds."""
    levels = range(NODE_LEVEL_MIN, end.bit_length())
    return sum((end >> level) - (base >> level) for level in levels)


def node_position(base: int, end: int, level: int, i: int) -> int | None:
    """The place of node (level, i) in the nodes section of [base, end); None if it is not there."""
    if not (level >= NODE_LEVEL_MIN and base >> level <= i < end >> level):
        return None
    lower = range(NODE_LEVEL_MIN, level)
    return sum((end >> k) - (base >> k) for k in lower) + i - (base >> level)


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """The first 512 bytes: whose segment this is and where it begins."""

    fingerprint: bytes
    segno: int
    base: int

    def encode(self) -> bytes:
        """The 512 bytes."""
        start = _HEADER.pack(_HEADER_MAGIC, _MAJOR, _MINOR, 0, self.fingerprint, self.segno, self.base, 0)
        body = start.ljust(HEADER_BYTES - 4, b"\0")
        return body + crc32c(body).to_bytes(4, "little")

    @classmethod
    def decode(cls, data: bytes, segno: int) -> SealedHeader:
        """Read it. Raises `CorruptionError`, or `UsageError` for a file of a newer version."""
        if len(data) != HEADER_BYTES or data[:8] != _HEADER_MAGIC:
            raise corrupt(segno, "header", "it does not begin as a sealed file does", offset=0)
        if crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise corrupt(segno, "header", "its checksum differs", offset=0)
        _, major, _, zero, fingerprint, number, base, flags = _HEADER.unpack_from(data)
        if major != _MAJOR or flags:
            raise UsageError(
                f"sealed segment {segno} has format {major} and flags {flags:#x}; this "
                f"version reads format {_MAJOR}, no flags. Use a newer version"
            )
        if zero or any(data[_HEADER.size : -4]):
            raise corrupt(segno, "header", "a reserved byte is not zero", offset=0)
        if number != segno:
            raise corrupt(segno, "header", f"it names segment {number}", offset=0)
        return cls(fingerprint, number, base)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the file: bytes [offset, offset + length), and their SHA-256."""

    offset: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Footer:
    """What a sealed file says of itself. `sections` stand in the order of `SECTIONS`."""

    fingerprint: bytes
    segno: int
    base: int
    count: int
    event_count: int
    time_min: int
    time_max: int
    link_before: bytes  # leaf hash before base; F at 0
    link_after: bytes  # leaf hash of the last entry
    previous_seal_hash: bytes  # zero for segment 0
    segment_root: bytes  # of this segment's leaves alone
    size_after: int  # of the ledger
    root_after: bytes  # of the ledger at that size
    block_count: int
    raw_bytes: int  # sum over the blocks
    sections: tuple[Section, ...]
    index_root: bytes = ZERO_HASH  # zero: no index
    writer_version: int = 1

    @property
    def end(self) -> int:
        """The first index after the segment."""
        return self.base + self.count

    @property
    def seal_hash(self) -> bytes:
        """SHA-256 of the footer's bytes: the name of this sealed file, for ever."""
        return hashlib.sha256(self.encode()).digest()

    def section(self, name: str) -> Section:
        """The section of that name (one of `SECTIONS`)."""
        return self.sections[SECTIONS.index(name)]

    def encode(self) -> bytes:
        """The 744 bytes."""
        start = _FOOTER.pack(
            *(_FOOTER_MAGIC, self.fingerprint, self.segno, self.base, self.count),
            *(self.event_count, self.time_min, self.time_max, self.link_before, self.link_after),
            *(self.previous_seal_hash, self.segment_root, self.size_after, self.root_after),
            *(self.index_root, ZERO_HASH, len(SECTIONS), self.writer_version, 0),
            *(self.block_count, self.raw_bytes),
        )
        rows = (
            _SECTION.pack(kind, 0, section.offset, section.length, section.digest)
            for kind, section in enumerate(self.sections)
        )
        return start + b"".join(rows)

    def trailer(self) -> bytes:
        """The 64 bytes after the footer, which end the file."""
        offset = self.sections[-1].offset + self.sections[-1].length
        file_bytes = offset + FOOTER_BYTES + TRAILER_BYTES
        return _TRAILER.pack(_TRAILER_MAGIC, FOOTER_BYTES, offset, file_bytes, self.segno, self.seal_hash)

    @classmethod
    def decode(cls, data: bytes, segno: int, offset: int) -> Footer:
        """Read the footer, which stands at `offset` and whose hash the caller has compared.

        Checks all that the footer alone can tell: the sections fill [0, offset) in order, their
        lengths are those that the counts call for. Raises `CorruptionError` or `UsageError`."""
        if len(data) != FOOTER_BYTES or data[:8] != _FOOTER_MAGIC:
            raise corrupt(segno, "footer", "it does not begin as a footer does", offset=offset)
        (_, fingerprint, number, base, count, events, time_min, time_max, before, after,
         previous, segment_root, size_after, root_after, index_root, replaces,
         section_count, writer, flags, blocks, raw_bytes) = _FOOTER.unpack_from(data)  # fmt: skip
        if flags or section_count != len(SECTIONS) or replaces != ZERO_HASH:
            raise UsageError(
                f"sealed segment {segno} uses features of a newer version (flags {flags:#x}, "
                f"{section_count} sections). Use the version that wrote it, or a newer one"
            )
        sections = _decode_sections(data[_FOOTER.size :], segno, offset)
        footer = cls(
            *(fingerprint, number, base, count, events, time_min, time_max, before, after),
            *(previous, segment_root, size_after, root_after, blocks, raw_bytes, sections),
            *(index_root, writer),
        )
        broken = footer._broken_rule(segno)
        if broken:
            raise corrupt(segno, "footer", broken, offset=offset)
        return footer

    def _broken_rule(self, segno: int) -> str | None:
        """The first rule between two fields that does not hold."""
        first = self.segno == 0
        lengths = [section.length for section in self.sections]
        rules = (
            (self.segno == segno, f"it names segment {self.segno}"),
            (self.count >= 1 and self.event_count <= self.count, "counts disagree"),
            (self.size_after == self.end < 1 << 63, "size after is not base + count"),
            (first == (self.base == 0), "only segment 0 begins at index 0"),
            (first == (self.previous_seal_hash == ZERO_HASH), "the link to the seal before"),
            (not first or self.link_before == self.fingerprint, "entry 0 does not follow F"),
            (self.time_min <= self.time_max, "least time above greatest"),
            (1 <= self.block_count <= self.count, "blocks and entries disagree"),
            (lengths[0] == HEADER_BYTES, "length of the header"),
            (lengths[1] <= DICTIONARY_BYTES_MAX, "length of the dictionary"),
            (lengths[3] == self.block_count * ROW_BYTES, "length of the rows"),
            (lengths[4] == 32 * node_count(self.base, self.end), "length of the nodes"),
            (lengths[5] == 0, "withheld payloads, which this version does not know"),
            (lengths[6] == 32, "length of the seed"),
        )
        return next((what for holds, what in rules if not holds), None)


def _decode_sections(data: bytes, segno: int, end: int) -> tuple[Section, ...]:
    """The table of sections; they must be the seven kinds in order and fill [0, end)."""
    place, sections = 0, []
    for kind, name in enumerate(SECTIONS):
        number, zero, offset, length, digest = _SECTION.unpack_from(data, kind * _SECTION.size)
        if number != kind or zero or offset != place or length > end - place:
            raise corrupt(segno, "footer", f"section {name} is not where it must be", offset=end)
        sections.append(Section(offset, length, digest))
        place += length
    if place != end:
        raise corrupt(segno, "footer", f"bytes [{place}, {end}) are unaccounted for", offset=end)
    return tuple(sections)


def decode_trailer(data: bytes, segno: int, file_bytes: int) -> tuple[int, bytes]:
    """The footer's offset and the seal hash, from the last 64 bytes of a file of `file_bytes`."""
    at = file_bytes - TRAILER_BYTES
    if len(data) != TRAILER_BYTES or data[:4] != _TRAILER_MAGIC:
        raise corrupt(segno, "trailer", "it does not begin as a trailer does", offset=at)
    _, footer_bytes, offset, length, number, seal_hash = _TRAILER.unpack(data)
    if length != file_bytes:
        what = f"it says that the file has {length} bytes, and it has {file_bytes}"
        raise corrupt(segno, "trailer", what, offset=at)
    if number != segno:
        raise corrupt(segno, "trailer", f"it names segment {number}", offset=at)
    if footer_bytes != FOOTER_BYTES or offset + FOOTER_BYTES != at:
        raise corrupt(segno, "trailer", "the footer is not right before it", offset=at)
    return offset, seal_hash
