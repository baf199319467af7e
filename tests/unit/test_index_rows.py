# SPDX-License-Identifier: Apache-2.0
"""Sets of rows against Python's sets, around the border between list and bitmap."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.index.rows import Rows

BORDERS = (0, 1, 63, 64, 4095, 4096, 4097, 65535)


def row_sets() -> st.SearchStrategy[set[int]]:
    """Small ones as drawn; large ones from a seed."""

    def drawn(count_and_seed: tuple[int, int]) -> set[int]:
        count, seed = count_and_seed
        return set(random.Random(seed).sample(range(65536), count))

    small = st.sets(st.one_of(st.sampled_from(BORDERS), st.integers(0, 65535)), max_size=40)
    large = st.tuples(st.sampled_from([2000, 4095, 4096, 4097, 9000, 65536]), st.integers(0, 9)).map(drawn)
    return st.one_of(small, large)


@given(row_sets(), row_sets())
def test_operations_are_those_of_sets(a: set[int], b: set[int]) -> None:
    """And, or, and not, equality, membership, count."""
    x, y = Rows(a), Rows(b)
    assert list(x & y) == sorted(a & b)
    assert list(x | y) == sorted(a | b)
    assert list(x - y) == sorted(a - b)
    assert (x == y) == (a == b)
    assert (x | y) == (y | x)
    assert len(x) == len(a)
    for row in [*BORDERS, -1, 65536, *list(b)[:20]]:
        assert (row in x) == (row in a)


@given(row_sets(), st.integers(0, 70000), st.integers(0, 70000))
def test_slices_are_those_of_sorted_lists(a: set[int], begin: int, end: int) -> None:
    """By rank, from either end; beyond the end nothing."""
    x, listed = Rows(a), sorted(a)
    assert list(x.slice(begin, end)) == listed[begin:end]
    assert list(x.newest(begin, end)) == listed[::-1][begin:end]
    assert list(x.newest_first()) == listed[::-1]


@given(st.integers(0, 65536), st.integers(0, 65536))
def test_spans(begin: int, end: int) -> None:
    """Every row of a range, or a refusal."""
    if begin > end:
        with pytest.raises(ValueError):
            Rows.span(begin, end)
    else:
        assert list(Rows.span(begin, end)) == list(range(begin, end))


def test_rows_outside_are_refused() -> None:
    """A row is 16 bits."""
    for row in (-1, 65536):
        with pytest.raises(OverflowError):
            Rows([row])
    assert repr(Rows([3, 1])) == "Rows(2: 1, 3)"
    assert "a" not in Rows([3])
