# SPDX-License-Identifier: Apache-2.0
"""Entries, salts and leaf hashes of the core against plain hashlib (csrc/entry.c; docs/format.md §2)."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger._native import ffi, lib
from tests.plain import plain_entry, plain_leaf, plain_salt

_ID, _LINK, _SEED = (hashlib.sha256(name).digest() for name in (b"id", b"link", b"seed"))


def chain_at(index: int) -> Any:
    """A chain that stands before the entry at `index`."""
    chain: Any = ffi.new("ledger_chain *")
    chain.ledger_id, chain.size, chain.link = _ID[:16], index, _LINK
    return chain


def extend(chain: Any, payloads: list[bytes], marks: list[tuple[int, int, int]], gap: int = 0) -> list[bytes]:
    """What the core makes of `payloads`, `gap` bytes apart: entries, salts and leaf hashes, joined."""
    count, data = len(payloads), bytearray(b"\xee")
    rows: Any = ffi.new("ledger_row[]", count)
    for i, (payload, (time, kind, flags)) in enumerate(zip(payloads, marks, strict=True)):
        rows[i] = (len(data), time, len(payload), kind, flags, 0)
        data += payload + b"\xee" * gap
    parts = [bytearray(count * size) for size in (104, 16, 32)]
    pointers = [ffi.from_buffer("uint8_t[]", part) for part in parts]
    lib.ledger_chain_extend(chain, _SEED, ffi.from_buffer("uint8_t[]", data), rows, count, *pointers)
    return [bytes(part) for part in parts]


def plainly(index: int, payloads: list[bytes], marks: list[tuple[int, int, int]]) -> list[bytes]:
    """The same by hashlib."""
    entries, salts, leaves, link = b"", b"", b"", _LINK
    for i, (payload, (time, kind, flags)) in enumerate(zip(payloads, marks, strict=True)):
        salt = plain_salt(_SEED, index + i)
        entry = plain_entry(_ID[:16], index + i, kind, flags, time, payload, salt, link)
        link = plain_leaf(entry)
        entries, salts, leaves = entries + entry, salts + salt, leaves + link
    return [entries, salts, leaves]


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[int, int, int]]]:
    """1 to 300 payloads of 0 to 1000 bytes, with time, kind and flags of each."""
    count = draw(st.integers(1, 300))
    few = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=12))
    filler = draw(st.binary(min_size=1, max_size=40)) * 1000
    sizes = [few[i * 7 % len(few)] for i in range(count)]
    time = draw(st.integers(0, 2**64 - 1))
    marks = [((time + i * i) % 2**64, i % 3 & 1, i % 5 == 1) for i in range(count)]
    return [filler[i % 40 :][:size] for i, size in enumerate(sizes)], [(t, k, int(f)) for t, k, f in marks]


@given(made=rows(), index=st.integers(0, 2**63), gap=st.integers(0, 9))
def test_a_run_of_rows_is_what_hashlib_makes_of_it(
    made: tuple[list[bytes], list[tuple[int, int, int]]], index: int, gap: int
) -> None:
    """Entries, salts and leaf hashes of any 1 to 300 rows equal the plain ones, wherever the payloads lie."""
    assert extend(chain_at(index), *made, gap) == plainly(index, *made)


@given(made=rows(), index=st.integers(0, 2**40), cut=st.integers(0, 300))
def test_two_runs_make_what_one_run_makes(
    made: tuple[list[bytes], list[tuple[int, int, int]]], index: int, cut: int
) -> None:
    """The chain carries size, time and link: where a run is cut does not matter."""
    payloads, marks = made
    cut = min(cut, len(payloads))
    chain = chain_at(index)
    first = extend(chain, payloads[:cut], marks[:cut])
    second = extend(chain, payloads[cut:], marks[cut:])
    assert [a + b for a, b in zip(first, second, strict=True)] == plainly(index, payloads, marks)
    assert chain.size == index + len(payloads)
    assert chain.time == marks[-1][0]
    assert bytes(chain.link) == plainly(index, payloads, marks)[2][-32:]


def test_every_size_around_the_hash_blocks_is_right() -> None:
    """Each payload size from 0 to 300, where padding and block counts change, in one run."""
    payloads = [bytes([size % 251]) * size for size in range(301)]
    marks = [(10**18, 0, 0)] * 301
    assert extend(chain_at(5), payloads, marks) == plainly(5, payloads, marks)


def test_rows_of_nothing_move_nothing() -> None:
    """No rows, no change."""
    chain = chain_at(7)
    assert extend(chain, [], []) == [b"", b"", b""]
    assert (chain.size, bytes(chain.link)) == (7, _LINK)
