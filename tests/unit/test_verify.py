"""What ledger.verify accepts is what RFC 6962 says; every change of a good proof is refused.

The oracle is the recursion of RFC 6962 §2.1 as printed; two outside verifiers are asked beside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import metamorphic_log
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales import tlog

from ledger.verify import (
    EMPTY_ROOT,
    SIZE_END,
    MismatchError,
    VerificationError,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

SIZE_MAX = 70
LEAVES = [hashlib.sha256(b"\x00" + bytes([i])).digest() for i in range(SIZE_MAX)]


def tree(begin: int, end: int) -> bytes:
    """MTH(D[begin:end])."""
    if end - begin == 1:
        return LEAVES[begin]
    middle = begin + split(end - begin)
    return hashlib.sha256(b"\x01" + tree(begin, middle) + tree(middle, end)).digest()


def split(size: int) -> int:
    """The largest power of two below `size`."""
    half = 1
    while half * 2 < size:
        half *= 2
    return half


def path(index: int, begin: int, end: int) -> list[bytes]:
    """PATH(index, D[begin:end])."""
    if end - begin == 1:
        return []
    middle = begin + split(end - begin)
    if index < middle:
        return [*path(index, begin, middle), tree(middle, end)]
    return [*path(index, middle, end), tree(begin, middle)]


def subproof(old: int, begin: int, end: int, known: bool) -> list[bytes]:
    """SUBPROOF(old - begin, D[begin:end], known)."""
    if old == end:
        return [] if known else [tree(begin, end)]
    middle = begin + split(end - begin)
    if old <= middle:
        return [*subproof(old, begin, middle, known), tree(middle, end)]
    return [*subproof(old, middle, end, False), tree(begin, middle)]


sizes = st.integers(1, SIZE_MAX)
indexed = sizes.flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size)))
grown = sizes.flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size)))


def flipped(value: bytes, bit: int) -> bytes:
    at = bit % (8 * len(value))
    changed = bytearray(value)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def foreign_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> list[bool]:
    """What the two outside verifiers say."""
    return [
        _accepts(lambda: metamorphic_log.verify_inclusion(index, size, leaf, proof, root)),
        _accepts(lambda: tlog.InclusionProof(index, size, proof).check(leaf, root)),
    ]


def foreign_consistency(old: int, new: int, proof: list[bytes]) -> list[bool]:
    """What the two outside verifiers say; one of them knows no proof between equal sizes."""
    first, second = tree(0, old), tree(0, new)
    said = [
        _accepts(lambda: metamorphic_log.verify_consistency(old, new, proof, first, second)),
        _accepts(lambda: tlog.ConsistencyProof(old, new, proof).check(first, second)),
    ]
    return said[:1] if old == new else said


def _accepts(check: Callable[[], object]) -> bool:
    try:
        check()
    except (
        metamorphic_log.VerifyError,
        tlog.InclusionProofInvalid,
        tlog.ConsistencyProofInvalid,
    ):
        return False
    return True


@given(indexed)
def test_inclusion_proof_by_the_book_is_accepted(place: tuple[int, int]) -> None:
    """The printed recursion's proof is good here and for two outside verifiers."""
    index, size = place
    proof, root = path(index, 0, size), tree(0, size)
    verify_inclusion(index, size, LEAVES[index], proof, root)
    assert foreign_inclusion(index, size, LEAVES[index], proof, root) == [True, True]


@given(grown)
def test_consistency_proof_by_the_book_is_accepted(place: tuple[int, int]) -> None:
    """The printed recursion's proof is good here and for two outside verifiers."""
    old, new = place
    proof = subproof(old, 0, new, True)
    verify_consistency(old, new, tree(0, old), proof, tree(0, new))
    assert all(foreign_consistency(old, new, proof))


@given(indexed, st.integers(0, 255), st.data())
def test_inclusion_proof_with_one_bit_changed_is_a_mismatch(
    place: tuple[int, int], bit: int, data: st.DataObject
) -> None:
    """Leaf hash, root and every hash of the proof count to the last bit."""
    index, size = place
    parts = [LEAVES[index], tree(0, size), *path(index, 0, size)]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flipped(parts[which], bit)
    with pytest.raises(MismatchError) as caught:
        verify_inclusion(index, size, parts[0], parts[2:], parts[1])
    assert caught.value.expected == parts[1] != caught.value.found
    assert foreign_inclusion(index, size, parts[0], parts[2:], parts[1]) == [False, False]


@given(grown, st.integers(0, 255), st.data())
def test_consistency_proof_with_one_bit_changed_is_a_mismatch(
    place: tuple[int, int], bit: int, data: st.DataObject
) -> None:
    """Both roots and every hash of the proof count to the last bit."""
    old, new = place
    parts = [tree(0, old), tree(0, new), *subproof(old, 0, new, True)]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flipped(parts[which], bit)
    with pytest.raises(MismatchError) as caught:
        verify_consistency(old, new, parts[0], parts[2:], parts[1])
    assert caught.value.expected != caught.value.found
    if which > 1:
        assert not any(foreign_consistency(old, new, parts[2:]))


@given(indexed, st.integers(0, SIZE_MAX))
def test_inclusion_proof_does_not_fit_another_index(place: tuple[int, int], other: int) -> None:
    """A proof of one leaf is refused at every other index of the same tree."""
    index, size = place
    if other != index:
        with pytest.raises(VerificationError):
            verify_inclusion(other, size, LEAVES[index], path(index, 0, size), tree(0, size))


@given(indexed, st.integers(1, SIZE_MAX))
def test_inclusion_proof_does_not_lead_to_the_root_of_another_size(place: tuple[int, int], other: int) -> None:
    """With the root that belongs to another size, as a verified checkpoint gives it, it fails."""
    index, size = place
    if other != size:
        with pytest.raises(VerificationError):
            verify_inclusion(index, other, LEAVES[index], path(index, 0, size), tree(0, other))


@given(grown, grown)
def test_consistency_proof_does_not_fit_other_sizes(place: tuple[int, int], other: tuple[int, int]) -> None:
    """A proof between two sizes is refused between any others whose proof is not the same."""
    proof = subproof(place[0], 0, place[1], True)
    if proof != subproof(other[0], 0, other[1], True):
        with pytest.raises(VerificationError):
            verify_consistency(other[0], other[1], tree(0, other[0]), proof, tree(0, other[1]))


@given(indexed, st.data())
def test_inclusion_proof_of_another_length_is_undecided(place: tuple[int, int], data: st.DataObject) -> None:
    """One hash more or less, anywhere, is refused before anything is hashed."""
    index, size = place
    proof = path(index, 0, size)
    at = data.draw(st.integers(0, len(proof)))
    for changed in (proof[:at] + LEAVES[:1] + proof[at:], proof[:at] + proof[at + 1 :]):
        if len(changed) != len(proof):
            with pytest.raises(VerificationError) as caught:
                verify_inclusion(index, size, LEAVES[index], changed, tree(0, size))
            assert not isinstance(caught.value, MismatchError)


@given(grown, st.data())
def test_consistency_proof_of_another_length_is_undecided(place: tuple[int, int], data: st.DataObject) -> None:
    """One hash more or less, anywhere, is refused before anything is hashed."""
    old, new = place
    proof = subproof(old, 0, new, True)
    at = data.draw(st.integers(0, len(proof)))
    for changed in (proof[:at] + LEAVES[:1] + proof[at:], proof[:at] + proof[at + 1 :]):
        if len(changed) != len(proof):
            with pytest.raises(VerificationError) as caught:
                verify_consistency(old, new, tree(0, old), changed, tree(0, new))
            assert not isinstance(caught.value, MismatchError)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (5, 3), (0, SIZE_END), (SIZE_END, SIZE_END + 1)])
def test_index_outside_the_tree_is_undecided(index: int, size: int) -> None:
    """No leaf is in the empty tree, at or after the size, or in a tree of 2**63 leaves."""
    with pytest.raises(VerificationError):
        verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (-1, 3), (1, SIZE_END)])
def test_nothing_is_proved_from_the_empty_tree(old: int, new: int) -> None:
    """A proof from size 0 would prove nothing, so there is none, even to size 0."""
    with pytest.raises(VerificationError):
        verify_consistency(old, new, EMPTY_ROOT, [], EMPTY_ROOT)


def test_smaller_tree_is_a_rollback() -> None:
    """A tree that shrank is refused by name, whatever proof comes with it."""
    with pytest.raises(VerificationError, match="rollback"):
        verify_consistency(5, 3, tree(0, 5), subproof(3, 0, 5, True), tree(0, 3))


@pytest.mark.parametrize("length", [0, 12, 31, 33, 64])
def test_hash_that_is_not_of_32_bytes_is_undecided(length: int) -> None:
    """Short and long hashes are refused in every place, equal roots among them."""
    odd = bytes(length)
    for call in (
        lambda: verify_inclusion(0, 1, odd, [], odd),
        lambda: verify_inclusion(0, 2, LEAVES[0], [odd], tree(0, 2)),
        lambda: verify_consistency(1, 1, odd, [], odd),
        lambda: verify_consistency(1, 2, LEAVES[0], [odd], tree(0, 2)),
    ):
        with pytest.raises(VerificationError):
            call()


def test_node_does_not_pass_for_a_leaf() -> None:
    """The two halves of a node are no leaf data: the prefixes keep them apart (RFC 6962 §2.1)."""
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


def test_last_leaf_twice_is_another_tree() -> None:
    """An odd leaf is not paired with itself, so a log of 3 never equals a log of 4."""
    doubled = hashlib.sha256(b"\x01" + LEAVES[2] + LEAVES[2]).digest()
    root = hashlib.sha256(b"\x01" + tree(0, 2) + doubled).digest()
    assert root != tree(0, 3)
    with pytest.raises(VerificationError):
        verify_inclusion(3, 3, LEAVES[2], [LEAVES[2], tree(0, 2)], root)
