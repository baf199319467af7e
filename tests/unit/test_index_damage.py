# SPDX-License-Identifier: Apache-2.0
"""Damaged index files: an error that names the index, or the right answer; never a crash, never a wrong answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._native import ffi, lib
from ledger.errors import IndexUnusableError
from ledger.index.build import build_granule, row_table
from ledger.index.container import encode_container, read_container
from ledger.index.granule import Granule

KEY, FINGERPRINT = bytes(range(16)), b"F" * 32


def made() -> bytes:
    """The file of a segment of two granules with every kind of section."""
    granules = []
    for part in range(2):
        payloads = [
            msgpack.packb({"id": f"{part}-{i}", "m": i % 3, "u": i % 170, "text": f"word{i % 9} and {i % 5}"})
            for i in range(1200)
        ]
        kinds = [int(i == 77) for i in range(1200)]
        table = row_table(payloads, [i * i for i in range(1200)], kinds)
        granules.append(build_granule(table, segno=1, base=1200 * part, key=KEY, seed=bytes(32)))
    return encode_container(granules, FINGERPRINT, 1)


DATA = made()


def opened(data: bytes) -> list[Granule]:
    """The granules of a file that is in memory."""

    def source(offset: int, length: int) -> bytes:
        return data[offset : offset + length] if offset >= 0 else b""

    return [Granule(source, table, KEY) for table in read_container(source, len(data), FINGERPRINT, 1)]


QUESTIONS: list[Callable[[Granule], Any]] = [
    lambda g: list(g.lookup(["m"], 2).rows),
    lambda g: [list(g.lookup(["u"], i).rows) for i in range(0, 170, 13)],
    lambda g: [list(g.lookup(["id"], f"{part}-{i}").rows) for part in (0, 1) for i in range(0, 1200, 97)],
    lambda g: list(g.exists(["text"]).rows),
    lambda g: list(g.words("word3", ["text"])),
    lambda g: list(g.events),
    lambda g: g.values(["m"]),
    lambda g: g.times(),
]
ANSWERS = [[question(g) for question in QUESTIONS] for g in opened(DATA)]


def ask(data: bytes) -> int:
    """Ask everything; how many answers were refused. Each that is given is right."""
    refused = 0
    try:
        granules = opened(data)
    except IndexUnusableError:
        return len(QUESTIONS)
    assert len(granules) == len(ANSWERS)
    for granule, answers in zip(granules, ANSWERS, strict=True):
        for question, answer in zip(QUESTIONS, answers, strict=True):
            try:
                assert question(granule) == answer
            except IndexUnusableError:
                refused += 1
    return refused


def test_an_intact_file_answers_everything() -> None:
    """Nothing is refused."""
    assert ask(DATA) == 0


@pytest.mark.parametrize("part", range(4))
def test_a_flipped_bit_is_never_a_wrong_answer(part: int) -> None:
    """Bits all over the file, of every section."""
    rng = random.Random(part)
    refused = 0
    for _ in range(300):
        data = bytearray(DATA)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        refused += ask(bytes(data)) > 0
    assert refused > 100  # most bytes are needed by some question


def test_every_byte_of_header_footer_and_trailer_counts() -> None:
    """One flipped byte in them refuses the file."""
    end = max(s.offset + s.length for g in opened(DATA) for s in g.table.sections.values())
    for place in [*range(64), *range(end, len(DATA), 7), *range(len(DATA) - 32, len(DATA))]:
        data = bytearray(DATA)
        data[place] ^= 0x40
        with pytest.raises(IndexUnusableError):
            opened(bytes(data))


@given(st.integers(0, len(DATA) - 1), st.binary(max_size=3))
def test_a_cut_or_grown_file_is_refused(end: int, more: bytes) -> None:
    """Cut anywhere, whatever follows; and bytes after the end."""
    with pytest.raises(IndexUnusableError):
        opened(DATA[:end] + more)
    with pytest.raises(IndexUnusableError):
        opened(DATA + more + b"\0")


def test_an_index_of_another_segment_is_refused() -> None:
    """Names and fingerprints are in the header."""

    def source(offset: int, length: int) -> bytes:
        return DATA[offset : offset + length]

    for fingerprint, segno in ((b"G" * 32, 1), (FINGERPRINT, 2)):
        with pytest.raises(IndexUnusableError):
            read_container(source, len(DATA), fingerprint, segno)


@given(st.binary(max_size=80), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 65536))
def test_chunk_readers_take_any_bytes(chunk: bytes, first: int, key: int, rows: int) -> None:
    """Bytes whose checksum an attacker has put right: a status, no read outside, no row outside."""
    places, found = ffi.new("ledger_index_posting[4]"), ffi.new("uint32_t *")
    status = lib.ledger_index_find_terms(chunk, len(chunk), first, key, rows, places, found)
    assert status in (lib.LEDGER_OK, lib.LEDGER_CORRUPT)
    for place in places[0 : found[0]] if status == lib.LEDGER_OK else []:
        assert place.place == lib.LEDGER_INDEX_FAR or place.offset + place.bytes <= len(chunk)
    out = ffi.new("uint16_t[8]")
    if lib.ledger_index_find_singles(chunk, len(chunk), first, key, rows, out, 8, found) == lib.LEDGER_OK:
        assert all(row < rows for row in out[0 : min(8, found[0])])
    made_rows = ffi.new("ledger_rows *")
    if lib.ledger_index_find_word(chunk, len(chunk), first, key, rows, made_rows) == lib.LEDGER_OK:
        assert made_rows.count <= rows
    for form in (0, 1, 3, 0xFFFF):
        for count in (0, 1, 5):
            status = lib.ledger_index_posting_rows(chunk, len(chunk), form, count, rows, made_rows)
            assert status == lib.LEDGER_CORRUPT or made_rows.count == count
