# SPDX-License-Identifier: Apache-2.0
"""The raw bytes of a block: one form, and no other is accepted (csrc/block.c; docs/format.md §7)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger._native import ffi, lib

_Row = tuple[bytes, int, int, int]


@st.composite
def blocks(draw: st.DrawFn) -> list[_Row]:
    """2^j rows: (payload, time, kind, flags), with runs of equal time."""
    count = 1 << draw(st.integers(0, 7))
    payloads = draw(st.lists(st.binary(max_size=60), min_size=1, max_size=8))
    times = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
    length = draw(st.integers(1, 40))
    bits = draw(st.integers(0, 2**16 - 1))
    return [
        (payloads[i % len(payloads)], times[i // length % len(times)], bits >> i % 16 & 1, bits >> i % 13 & 1)
        for i in range(count)
    ]


def encode(made: list[_Row]) -> bytes:
    """The raw bytes of a block."""
    rows: Any = ffi.new("ledger_row[]", len(made))
    data = bytearray(b"\0")
    for i, (payload, time, kind, flags) in enumerate(made):
        rows[i] = (len(data), time, len(payload), kind, flags, 0)
        data += payload
    return encode_rows(bytes(data), rows, len(made))


def encode_rows(data: bytes, rows: Any, count: int) -> bytes:
    """The same from rows over data."""
    out = bytearray(lib.ledger_block_bytes(rows, count))
    lib.ledger_block_encode(data, rows, count, ffi.from_buffer("uint8_t[]", out))
    return bytes(out)


def decode(raw: bytes) -> tuple[Any, int] | None:
    """Rows and count, or None when the core refuses; the bytes are at the end of their memory."""
    rows, count = ffi.new("ledger_row[128]"), ffi.new("uint32_t *")
    status = lib.ledger_block_decode(raw, len(raw), rows, count)
    assert status in (lib.LEDGER_OK, lib.LEDGER_CORRUPT)
    return (rows, int(count[0])) if status == lib.LEDGER_OK else None


def check(raw: bytes) -> int:
    """The status of a whole check of the block, with everything it writes given room."""
    chain, leaves, root = ffi.new("ledger_chain *"), ffi.new("uint8_t[]", 128 * 32), ffi.new("uint8_t[32]")
    numbers = [ffi.new("uint32_t *"), ffi.new("uint32_t *"), ffi.new("uint64_t *"), ffi.new("uint64_t *")]
    return int(lib.ledger_block_check(raw, len(raw), bytes(32), chain, leaves, root, *numbers, ffi.new("uint32_t *")))


@given(made=blocks())
def test_a_block_comes_back_as_it_was(made: list[_Row]) -> None:
    """Decoded, each row is the one given."""
    raw = encode(made)
    found = decode(raw)
    assert found is not None
    rows, count = found
    assert [(raw[r.offset :][: r.bytes], r.time, r.kind, r.flags) for r in rows[0:count]] == made


@given(made=blocks(), changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_block_is_refused_or_is_another_block(made: list[_Row], changes: list[tuple[int, int]]) -> None:
    """No mutation crashes; what is accepted is the encoding of what it decodes to."""
    raw = bytearray(encode(made))
    for place, value in changes:
        raw[place % min(len(raw), 1200)] = value
    check(bytes(raw))
    accepted_is_canonical(bytes(raw))


@given(raw=st.binary(max_size=600))
def test_any_bytes_are_refused_or_are_a_block(raw: bytes) -> None:
    """Bytes from nowhere, behind a plausible count and one run."""
    for front in (b"", b"\x01\0\0\0\x01\0\0\0", b"\x04\0\0\0\x02\0\0\0"):
        check(front + raw)
        accepted_is_canonical(front + raw)


def accepted_is_canonical(raw: bytes) -> None:
    """What decodes encodes to the same bytes."""
    found = decode(raw)
    if found is not None:
        assert encode_rows(raw, *found) == raw


@given(made=blocks(), size=st.integers(0, 10**6))
def test_a_block_cut_short_or_gone_on_is_refused(made: list[_Row], size: int) -> None:
    """Its bytes are accounted for, to the last."""
    raw = encode(made)
    assert decode(raw[: size % len(raw)]) is None
    assert decode(raw + b"\0") is None


def test_counts_that_no_block_has_are_refused() -> None:
    """Zero, three, 256 entries; no run, more runs than entries; a run of none."""
    raw = encode([(b"a", 5, 0, 0), (b"b", 6, 0, 0)])
    for place, value in ((0, 0), (0, 3), (1, 1), (4, 0), (4, 3), (20, 0), (20, 2)):
        changed = bytearray(raw)
        changed[place] = value
        assert decode(bytes(changed)) is None, (place, value)


def test_two_runs_of_one_time_are_refused() -> None:
    """A run is as long as it can be: one form for one block."""
    raw = bytearray(encode([(b"a", 5, 0, 0), (b"b", 6, 0, 0)]))
    assert raw[36:44] == (1).to_bytes(8, "little")
    raw[36:44] = bytes(8)
    assert decode(bytes(raw)) is None
