# SPDX-License-Identifier: Apache-2.0
"""The core's compact range and root against the plain recursion of RFC 6962 §2.1 (csrc/merkle.c)."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._native import ffi, lib
from tests.sealed_files import root_of


def leaf_hashes(count: int, seed: int) -> list[bytes]:
    """`count` different leaf hashes."""
    return [hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in range(count)]


def root(range_: Any) -> bytes:
    """The root of a range."""
    out = ffi.new("uint8_t[32]")
    lib.ledger_range_root(range_, out)
    return bytes(out)


def peaks_of(leaves: list[bytes]) -> list[bytes]:
    """Roots of the perfect subtrees of [0, n), largest first, by the recursion."""
    peaks, at = [], 0
    for bit in reversed(range(len(leaves).bit_length())):
        if len(leaves) >> bit & 1:
            peaks.append(root_of(leaves[at : at + (1 << bit)]))
            at += 1 << bit
    return peaks


@given(count=st.integers(1, 2000), seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_leaves_pushed_in_any_chunks_give_the_plain_root(count: int, seed: int, cuts: list[int]) -> None:
    """However the leaves are cut into pushes, root, size and peaks are those of the recursion."""
    leaves, range_ = leaf_hashes(count, seed), ffi.new("ledger_range *")
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    for begin, end in pairwise(bounds):
        lib.ledger_range_push(range_, b"".join(leaves[begin:end]), end - begin)
        assert root(range_) == root_of(leaves[:end])
    assert (range_.size, range_.count) == (count, count.bit_count())
    assert bytes(range_.peaks)[: 32 * range_.count] == b"".join(peaks_of(leaves))


def test_each_size_to_300_has_the_plain_root_both_ways() -> None:
    """Pushed one by one, and over an array at once."""
    leaves, range_ = leaf_hashes(300, 1), ffi.new("ledger_range *")
    for size in range(1, 301):
        lib.ledger_range_push(range_, leaves[size - 1], 1)
        whole, out = bytearray(b"".join(leaves[:size])), ffi.new("uint8_t[32]")
        lib.ledger_leaves_root(ffi.from_buffer("uint8_t[]", whole), size, out)
        assert root(range_) == bytes(out) == root_of(leaves[:size])


@given(count=st.integers(1, 5000), seed=st.integers(0, 99))
def test_the_root_over_an_array_is_the_plain_one(count: int, seed: int) -> None:
    """`ledger_leaves_root` at any size."""
    leaves, out = leaf_hashes(count, seed), ffi.new("uint8_t[32]")
    lib.ledger_leaves_root(ffi.from_buffer("uint8_t[]", bytearray(b"".join(leaves))), count, out)
    assert bytes(out) == root_of(leaves)


def test_an_empty_range_has_the_hash_of_nothing() -> None:
    """RFC 6962: MTH of no entries is SHA-256 of no bytes; a push of none changes nothing."""
    range_ = ffi.new("ledger_range *")
    lib.ledger_range_push(range_, b"", 0)
    assert root(range_) == hashlib.sha256().digest()
    assert (range_.size, range_.count) == (0, 0)


@pytest.mark.parametrize("place", [0, 1, 6, 7])
def test_another_leaf_gives_another_root(place: int) -> None:
    """One changed leaf, wherever it lies, changes the root."""
    leaves, out = leaf_hashes(8, 3), ffi.new("uint8_t[32]")
    changed = [*leaves[:place], bytes(32), *leaves[place + 1 :]]
    lib.ledger_leaves_root(ffi.from_buffer("uint8_t[]", bytearray(b"".join(changed))), 8, out)
    assert bytes(out) == root_of(changed) != root_of(leaves)
