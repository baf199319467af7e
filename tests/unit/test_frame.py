# SPDX-License-Identifier: Apache-2.0
"""Headers of active files and of batches: what is accepted, and that nothing else is (docs/format.md §4)."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._native import crc32c, ffi, lib
from tests.active_builder import ActiveBuilder

_SALT = bytes(range(16))
_SEGNO, _OFFSET = 3, 8192 + 512 * 7


def header_bytes() -> bytes:
    """The header of a small active file."""
    builder = ActiveBuilder()
    builder.append([b"\x80"] * 5, 10**18)
    builder.close()
    builder.append([b"\x80"], 10**18)
    return builder.close()[:4096]


def header_status(data: bytes) -> int:
    """What the core says of a header."""
    return int(lib.ledger_active_header_decode(data, ffi.new("ledger_active_header *")))


def sealed_again(data: bytearray) -> bytes:
    """The header with hash and checksum made anew: what a writer of another version could write."""
    data[4056:4088] = hashlib.sha256(data[:4056]).digest()
    data[4088:4092] = struct.pack("<I", crc32c(data[:4088]))
    return bytes(data)


def test_a_header_comes_back_as_it_was() -> None:
    """Decoded and encoded again it is the same 4096 bytes."""
    data, header, again = header_bytes(), ffi.new("ledger_active_header *"), bytearray(4096)
    assert lib.ledger_active_header_decode(data, header) == lib.LEDGER_OK
    lib.ledger_active_header_encode(header, ffi.from_buffer("uint8_t[]", again))
    assert bytes(again) == data
    assert (header.segno, header.base, header.peak_count) == (1, 5, 2)


def test_no_byte_of_a_header_can_change() -> None:
    """Each of 4096 bytes flipped, one bit and all bits, is refused."""
    data = header_bytes()
    for place in range(4096):
        for mask in (1 << place % 8, 0xFF):
            changed = bytearray(data)
            changed[place] ^= mask
            assert header_status(bytes(changed)) != lib.LEDGER_OK, f"byte {place}"


@pytest.mark.parametrize(
    ("offset", "value", "status"),
    [
        (8, b"\x02\x00", lib.LEDGER_USAGE),  # a newer major
        (236, b"\x01\x00\x00\x00", lib.LEDGER_USAGE),  # an unknown incompatible flag
        (10, b"\x05\x00", lib.LEDGER_OK),  # a newer minor
        (12, b"\x00\x10\x00\x00", lib.LEDGER_CORRUPT),  # another alignment
        (244, b"\x03\x00\x00\x00", lib.LEDGER_CORRUPT),  # peaks that do not fit base
        (2304, b"\x01", lib.LEDGER_CORRUPT),  # a reserved byte
    ],
)
def test_a_header_of_another_version_is_told_from_a_damaged_one(offset: int, value: bytes, status: int) -> None:
    """Sound checksums over other contents: newer is USAGE, against the rules is CORRUPT."""
    data = bytearray(header_bytes())
    data[offset : offset + len(value)] = value
    assert header_status(sealed_again(data)) == status


def batch_bytes(salt: bytes = _SALT, segno: int = _SEGNO, offset: int = _OFFSET, **fields: int) -> bytes:
    """A batch header at its place."""
    batch: Any = ffi.new("ledger_batch_header *")
    made = {"body_bytes": 448, "count": 2, "base": 9, "synced_end": 8192, "time": 10**18, "body_crc": 77} | fields
    for name, value in made.items():
        setattr(batch, name, value)
    out = bytearray(64)
    lib.ledger_batch_header_encode(batch, salt, segno, offset, ffi.from_buffer("uint8_t[]", out))
    return bytes(out)


def batch_status(data: bytes, salt: bytes = _SALT, segno: int = _SEGNO, offset: int = _OFFSET) -> int:
    """What the core says of a batch header at a place."""
    return int(lib.ledger_batch_header_decode(data, salt, segno, offset, ffi.new("ledger_batch_header *")))


def test_no_bit_of_a_batch_header_can_change() -> None:
    """Each of 512 bits flipped is refused."""
    data = batch_bytes()
    assert batch_status(data) == lib.LEDGER_OK
    for bit in range(512):
        changed = bytearray(data)
        changed[bit >> 3] ^= 1 << (bit & 7)
        assert batch_status(bytes(changed)) == lib.LEDGER_CORRUPT, f"bit {bit}"


@given(
    segno=st.integers(0, 2**64 - 1),
    offset=st.integers(16, 2**40).map(lambda n: n * 512),
    salt=st.binary(min_size=16, max_size=16),
)
def test_a_batch_header_counts_only_at_its_own_place(segno: int, offset: int, salt: bytes) -> None:
    """Another segment, offset or salt is refused: stale or planted bytes are no batch."""
    data = batch_bytes(salt, segno, offset)
    assert batch_status(data, salt, segno, offset) == lib.LEDGER_OK
    assert batch_status(data, salt, segno ^ 1, offset) == lib.LEDGER_CORRUPT
    assert batch_status(data, salt, segno, offset + 512) == lib.LEDGER_CORRUPT
    assert batch_status(data, bytes([salt[0] ^ 1]) + salt[1:], segno, offset) == lib.LEDGER_CORRUPT


@pytest.mark.parametrize("fields", [{"count": 0}, {"body_bytes": (80 << 20) + 1}, {"body_bytes": 0}])
def test_a_batch_out_of_bounds_is_refused_though_its_check_holds(fields: dict[str, int]) -> None:
    """No entries, or more bytes than a batch may have."""
    assert batch_status(batch_bytes(**fields)) == lib.LEDGER_CORRUPT
