"""Header, footer and trailer of a sealed file: back as they went, refused when a field is off."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._native import crc32c
from ledger.encoding.segment import (
    FOOTER_BYTES,
    HEADER_BYTES,
    SECTIONS,
    TRAILER_BYTES,
    Footer,
    SealedHeader,
    Section,
    decode_trailer,
    node_count,
    node_position,
)
from ledger.errors import CorruptionError, UsageError

F = hashlib.sha256(b"F").digest()
HASH = hashlib.sha256(b"a hash").digest()


def footer(base: int = 1000, count: int = 500, **changes: Any) -> Footer:
    """A footer in which all rules hold, then changed."""
    lengths = [HEADER_BYTES, 0, 7000, 9 * 80, 32 * node_count(base, base + count), 0, 32]
    offsets = [sum(lengths[:k]) for k in range(len(lengths))]
    sections = tuple(Section(at, n, HASH) for at, n in zip(offsets, lengths, strict=True))
    good = Footer(
        fingerprint=F,
        segno=3 if base else 0,
        base=base,
        count=count,
        event_count=count - 1,
        time_min=5,
        time_max=6,
        link_before=HASH if base else F,
        link_after=HASH,
        previous_seal_hash=HASH if base else bytes(32),
        segment_root=HASH,
        size_after=base + count,
        root_after=HASH,
        block_count=9,
        raw_bytes=9000,
        sections=sections,
    )
    return replace(good, **changes)


def end_of(value: Footer) -> int:
    """Where the footer stands."""
    return value.sections[-1].offset + value.sections[-1].length


@given(st.binary(min_size=32, max_size=32), st.integers(0, 1 << 63), st.integers(0, 1 << 63))
def test_header_comes_back(fingerprint: bytes, segno: int, base: int) -> None:
    """decode(encode(h)) == h, in 512 bytes."""
    header = SealedHeader(fingerprint, segno, base)
    data = header.encode()
    assert len(data) == HEADER_BYTES
    assert SealedHeader.decode(data, segno) == header


def test_any_changed_byte_of_a_header_is_refused() -> None:
    """Each of the 512 bytes is covered."""
    good = SealedHeader(F, 3, 1000).encode()
    for at in range(HEADER_BYTES):
        bad = bytearray(good)
        bad[at] ^= 0x40
        with pytest.raises(CorruptionError, match="sealed segment 3, header"):
            SealedHeader.decode(bytes(bad), 3)


@pytest.mark.parametrize(
    ("offset", "value", "error"),
    [(8, 2, UsageError), (64, 1, UsageError), (12, 1, CorruptionError), (100, 1, CorruptionError)],
)
def test_header_with_a_sound_checksum_is_still_read_strictly(offset: int, value: int, error: type[Exception]) -> None:
    """A newer major version or a flag names itself; a reserved byte that is set is corruption."""
    data = bytearray(SealedHeader(F, 3, 1000).encode())
    data[offset] = value
    data[-4:] = crc32c(data[:-4]).to_bytes(4, "little")
    with pytest.raises(error, match="segment 3"):
        SealedHeader.decode(bytes(data), 3)


def test_header_of_a_newer_minor_version_is_read() -> None:
    """A newer minor version changes nothing that this one needs."""
    data = bytearray(SealedHeader(F, 3, 1000).encode())
    data[10] = 9
    data[-4:] = crc32c(data[:-4]).to_bytes(4, "little")
    assert SealedHeader.decode(bytes(data), 3) == SealedHeader(F, 3, 1000)


@given(st.integers(0, 1 << 40), st.integers(9, 2000), st.integers(0, 99))
def test_footer_and_trailer_come_back(base: int, count: int, writer_version: int) -> None:
    """decode(encode(f)) == f, and the trailer leads to it and to its seal hash."""
    value = footer(base, count, writer_version=writer_version)
    data, trailer = value.encode(), value.trailer()
    assert (len(data), len(trailer)) == (FOOTER_BYTES, TRAILER_BYTES)
    file_bytes = end_of(value) + FOOTER_BYTES + TRAILER_BYTES
    assert decode_trailer(trailer, value.segno, file_bytes) == (end_of(value), value.seal_hash)
    assert Footer.decode(data, value.segno, end_of(value)) == value
    assert hashlib.sha256(data).digest() == value.seal_hash


def test_fields_stand_where_the_format_says() -> None:
    """A few offsets of docs/format.md §7, read by hand."""
    value = footer()
    data = value.encode()
    assert struct.unpack_from("<QQQQ", data, 40) == (3, 1000, 500, 499)
    assert data[152:184] == value.previous_seal_hash
    assert struct.unpack_from("<Q", data, 216) == (1500,)
    assert struct.unpack_from("<II", data, 320) == (7, 1)
    assert struct.unpack_from("<IIQQ", data, 352 + 2 * 56) == (2, 0, 512, 7000)


@pytest.mark.parametrize(
    "changes",
    [
        {"segno": 4},
        {"segno": 0},
        {"count": 0},
        {"event_count": 501},
        {"size_after": 1501},
        {"base": 0},
        {"previous_seal_hash": bytes(32)},
        {"time_min": 7},
        {"block_count": 0},
        {"block_count": 501},
        {"block_count": 8},
    ],
)
def test_fields_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    """Even under the right hash a footer is believed only if its fields agree."""
    bad = replace(footer(), **changes)
    with pytest.raises(CorruptionError, match="sealed segment 3, footer"):
        Footer.decode(bad.encode(), 3, end_of(bad))


@given(st.integers(0, len(SECTIONS) - 1), st.integers(-5, 5), st.integers(-5, 5))
def test_sections_that_overlap_or_leave_a_gap_are_refused(k: int, shift: int, grow: int) -> None:
    """The seven sections fill the file in order: no byte twice, none unaccounted for."""
    good = footer()
    old = good.sections[k]
    sections = list(good.sections)
    sections[k] = Section(max(0, old.offset + shift), max(0, old.length + grow), old.digest)
    bad = replace(good, sections=tuple(sections))
    if bad == good:
        return
    with pytest.raises(CorruptionError, match="footer"):
        Footer.decode(bad.encode(), 3, end_of(good))


def test_features_of_a_newer_version_name_themselves() -> None:
    """Flags, more sections and `replaces` belong to a newer version, which the error says."""
    for offset in (288, 320, 328):
        data = bytearray(footer().encode())
        data[offset] += 1
        with pytest.raises(UsageError, match="newer version"):
            Footer.decode(bytes(data), 3, end_of(footer()))


def test_any_changed_byte_of_a_trailer_is_noticed() -> None:
    """A trailer field is off, or the seal hash that it gives is not the footer's."""
    value = footer()
    file_bytes = end_of(value) + FOOTER_BYTES + TRAILER_BYTES
    for at in range(TRAILER_BYTES):
        bad = bytearray(value.trailer())
        bad[at] ^= 0x40
        if at < 32:
            with pytest.raises(CorruptionError, match="sealed segment 3, trailer"):
                decode_trailer(bytes(bad), 3, file_bytes)
        else:
            assert decode_trailer(bytes(bad), 3, file_bytes)[1] != value.seal_hash


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_every_node_of_the_segment_has_its_own_place(base: int, count: int) -> None:
    """The places are 0, 1, 2, … level by level; a node begun before the segment belongs to it if
    it ends in it."""
    end = base + count
    nodes = [(level, i) for level in range(8, 14) for i in range((end >> level) + 2) if base < (i + 1) << level <= end]
    places = [node_position(base, end, level, i) for level, i in nodes]
    assert places == list(range(node_count(base, end)))
    assert node_position(base, end, 7, base >> 7) is None
    assert node_position(base, end, 8, end >> 8) is None
