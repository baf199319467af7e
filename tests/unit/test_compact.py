"""A compact range grows leaf by leaf or subtree by subtree into the same tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UsageError
from ledger.merkle.compact import CompactRange
from ledger.merkle.tree import memory_nodes, peaks, root
from ledger.verify import EMPTY_ROOT, SIZE_END

SIZE_MAX = 300
LEAVES = [hashlib.sha256(i.to_bytes(2, "big")).digest() for i in range(SIZE_MAX)]
NODE = memory_nodes(LEAVES)


def grown(size: int) -> CompactRange:
    tree = CompactRange()
    tree.extend(LEAVES[:size])
    return tree


@given(st.integers(0, SIZE_MAX))
def test_leaf_by_leaf_gives_the_peaks_and_the_root(size: int) -> None:
    """The state is the perfect subtrees of [0, size), and folds to the root of the tree."""
    tree = grown(size)
    assert tree.size == size
    assert tree.peaks == [NODE(level, i) for level, i in peaks(0, size)]
    assert tree.root() == root(size, NODE)


@given(st.data())
def test_whole_subtrees_give_the_same_as_their_leaves(data: st.DataObject) -> None:
    """However the leaves are cut into aligned subtrees, the state is the same."""
    tree = CompactRange()
    while tree.size < SIZE_MAX - 32:
        aligned = (tree.size & -tree.size).bit_length() - 1 if tree.size else 5
        level = data.draw(st.integers(0, min(aligned, 5)))
        tree.push_subtree(level, NODE(level, tree.size >> level))
    assert tree.peaks == grown(tree.size).peaks


@given(st.integers(0, SIZE_MAX - 1), st.integers(0, 40))
def test_state_read_back_from_bytes_goes_on(size: int, more: int) -> None:
    """A range restored from its bytes grows as the one that was never stored."""
    tree = CompactRange.from_bytes(size, grown(size).to_bytes())
    tree.extend(LEAVES[size : size + more])
    assert tree.root() == root(min(size + more, SIZE_MAX), NODE)


def test_copy_grows_apart() -> None:
    """Pushing to a copy leaves the first as it was."""
    tree = grown(7)
    before = tree.root()
    tree.copy().push(LEAVES[7])
    assert (tree.size, tree.root()) == (7, before)


def test_empty_range_has_the_empty_root() -> None:
    """H of the empty string, RFC 6962 §2.1."""
    assert CompactRange().root() == EMPTY_ROOT


@pytest.mark.parametrize(("size", "level"), [(1, 1), (4, 3), (6, 2), (0, 63), (0, -1)])
def test_subtree_that_is_not_aligned_changes_nothing(size: int, level: int) -> None:
    """A subtree must start at a multiple of its leaves; a refused one leaves the state."""
    tree = grown(size)
    before = list(tree.peaks)
    with pytest.raises(UsageError):
        tree.push_subtree(level, LEAVES[0])
    assert (tree.size, tree.peaks) == (size, before)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_hash_of_another_length_changes_nothing(length: int) -> None:
    """Only 32 bytes are a hash; nothing was merged when another was refused."""
    tree = grown(3)
    before = list(tree.peaks)
    with pytest.raises(UsageError):
        tree.push(bytes(length))
    assert (tree.size, tree.peaks) == (3, before)


def test_last_size_is_not_exceeded() -> None:
    """Sizes end before 2^63: the largest tree takes no further leaf."""
    tree = CompactRange(SIZE_END - 1, [bytes(32)] * 63)
    with pytest.raises(UsageError):
        tree.push(bytes(32))
    assert tree.size == SIZE_END - 1


@pytest.mark.parametrize(("size", "count"), [(3, 1), (4, 2), (-1, 1), (SIZE_END, 1)])
def test_state_that_does_not_fit_is_a_usage_error(size: int, count: int) -> None:
    """One peak for each set bit of the size, and sizes from 0 to 2^63 - 1."""
    with pytest.raises(UsageError):
        CompactRange(size, [bytes(32)] * count)
    with pytest.raises(UsageError):
        CompactRange.from_bytes(size, bytes(32 * count))


def test_peak_of_another_length_is_a_usage_error() -> None:
    """A state with a short peak is refused at the door."""
    with pytest.raises(UsageError):
        CompactRange(1, [bytes(31)])
