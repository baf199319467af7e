"""Proofs and roots from perfect subtrees, against the recursion of RFC 6962 §2.1 as printed."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UsageError
from ledger.merkle.tree import (
    consistency_proof,
    fold,
    inclusion_proof,
    memory_nodes,
    peaks,
    root,
)
from ledger.verify import EMPTY_ROOT, SIZE_END, verify_consistency, verify_inclusion

SIZE_MAX = 300
LEAVES = [hashlib.sha256(b"\x00" + i.to_bytes(2, "big")).digest() for i in range(SIZE_MAX)]
NODE = memory_nodes(LEAVES)

sizes = st.integers(1, SIZE_MAX)
places = sizes.flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size)))
growths = sizes.flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size)))


def by_the_book(begin: int, end: int) -> bytes:
    """MTH(D[begin:end]) of RFC 6962 §2.1."""
    if end - begin == 0:
        return hashlib.sha256(b"").digest()
    if end - begin == 1:
        return LEAVES[begin]
    middle = begin + (1 << (end - begin - 1).bit_length() - 1)
    halves = by_the_book(begin, middle) + by_the_book(middle, end)
    return hashlib.sha256(b"\x01" + halves).digest()


@given(st.integers(0, SIZE_MAX))
def test_root_is_that_of_the_recursion(size: int) -> None:
    """Folding the perfect subtrees gives MTH, also for the empty tree."""
    assert root(size, NODE) == by_the_book(0, size)


@given(places)
def test_inclusion_proof_is_accepted_at_its_place(place: tuple[int, int]) -> None:
    """What the generator makes, the verifier takes."""
    index, size = place
    proof = inclusion_proof(index, size, NODE)
    verify_inclusion(index, size, LEAVES[index], proof, by_the_book(0, size))


@given(growths)
def test_consistency_proof_is_accepted_between_its_sizes(growth: tuple[int, int]) -> None:
    """What the generator makes, the verifier takes."""
    old, new = growth
    proof = consistency_proof(old, new, NODE)
    verify_consistency(old, new, by_the_book(0, old), proof, by_the_book(0, new))


@given(places)
def test_proof_asks_for_whole_subtrees_once(place: tuple[int, int]) -> None:
    """Each node asked for lies inside the tree, and none is asked for twice."""
    index, size = place
    asked: Counter[tuple[int, int]] = Counter()

    def node(level: int, i: int) -> bytes:
        asked[level, i] += 1
        return NODE(level, i)

    inclusion_proof(index, size, node)
    assert all(count == 1 and (i + 1) << level <= size for (level, i), count in asked.items())
    assert all(not i << level <= index < (i + 1) << level for level, i in asked)


@given(st.integers(0, SIZE_END - 1))
def test_peaks_tile_the_tree(size: int) -> None:
    """The peaks cover [0, size) without gap or overlap, larger before smaller."""
    end = 0
    for level, i in peaks(0, size):
        assert i << level == end
        end = (i + 1) << level
    assert end == size
    levels = [level for level, _ in peaks(0, size)]
    assert levels == sorted(set(levels), reverse=True)


def test_proof_in_the_largest_tree_has_the_stated_length() -> None:
    """Sizes up to 2^63 - 1 work: the last leaf of it has a proof of its popcount less one."""
    size = SIZE_END - 1
    assert len(inclusion_proof(size - 1, size, lambda level, i: bytes(32))) == 62
    assert len(inclusion_proof(0, size, lambda level, i: bytes(32))) == 63


def test_no_hash_is_needed_between_equal_sizes_or_from_nothing() -> None:
    """The empty tree is a prefix of every tree, and a tree of itself."""
    assert consistency_proof(0, 7, NODE) == consistency_proof(7, 7, NODE) == []


def test_fold_of_nothing_is_the_empty_root() -> None:
    """H of the empty string, RFC 6962 §2.1."""
    assert fold([]) == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3), (0, SIZE_END)])
def test_inclusion_outside_the_tree_is_a_usage_error(index: int, size: int) -> None:
    """An index outside [0, size) has no proof."""
    with pytest.raises(UsageError):
        inclusion_proof(index, size, NODE)


@pytest.mark.parametrize(("old", "new"), [(4, 3), (-1, 3), (1, SIZE_END)])
def test_consistency_backwards_is_a_usage_error(old: int, new: int) -> None:
    """No proof leads to a smaller tree."""
    with pytest.raises(UsageError):
        consistency_proof(old, new, NODE)


def test_root_of_too_large_a_tree_is_a_usage_error() -> None:
    """Sizes end before 2^63."""
    with pytest.raises(UsageError):
        root(SIZE_END, NODE)
