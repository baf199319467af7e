"""Roots and proofs of a Merkle tree, from the hashes of its perfect subtrees.

The caller brings `node(level, i)`: the root of the leaves [i·2^level, (i+1)·2^level), a subtree
that is whole at the size asked for; where it comes from (tiles, blocks, memory) is its affair. The
functions are pure, ask for each hash once, and for O(log size) of them.

A proof is the path from a leaf to the root. At size 7 that of leaf 4 is:

    level 2        [0,4)                   path: node(0,5), then the ragged [6,7), then node(2,0)
    level 1                  [4,6) [6,7)
    level 0                  4  5   6

Below level `inner` = bit_length(index XOR (size-1)) the leaf and the last leaf go separate ways:
the sibling may be on either side, and is whole, except that the topmost may be ragged. From `inner`
on both go up along the right edge, where every sibling is a whole one on the left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.errors import UsageError
from ledger.verify import EMPTY_ROOT, SIZE_END, node_hash

__all__ = ["Node", "consistency_proof", "fold", "inclusion_proof", "memory_nodes", "peaks", "root"]

Node = Callable[[int, int], bytes]


def peaks(begin: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees (level, i) that [begin, end) falls into, largest first.

    `begin` is a multiple of the largest power of two not above end − begin: as 0 is, and every
    right-hand child (RFC 6962 §2.1). Their number is popcount(end − begin)."""
    found = []
    for level in range((end - begin).bit_length() - 1, -1, -1):
        if (end - begin) >> level & 1:
            found.append((level, begin >> level))
            begin += 1 << level
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over peaks, largest first (RFC 6962 §2.1); that of the empty tree for none."""
    if not hashes:
        return EMPTY_ROOT
    found = hashes[-1]
    for left in reversed(hashes[:-1]):
        found = node_hash(left, found)
    return found


def root(size: int, node: Node) -> bytes:
    """The hash of the tree of `size` leaves, 32 bytes (RFC 6962 §2.1)."""
    _check(0 <= size < SIZE_END, f"a tree of {size} leaves")
    return fold([node(level, i) for level, i in peaks(0, size)])


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root at `size`, leaf side first (RFC 9162
    §2.1.3.1). Raises UsageError unless 0 ≤ index < size."""
    _check(0 <= index < size < SIZE_END, f"index {index} in a tree of {size} leaves")
    return _path(index, size, 0, node)


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """The hashes that show the tree of `old` leaves to be a prefix of that of `new` (RFC 9162
    §2.1.4.1). None for old = new and for old = 0. Raises UsageError unless 0 ≤ old ≤ new.

    It is the path of the last perfect subtree of the old tree, with that subtree's own hash before
    it unless it is the whole old tree, whose root the verifier has."""
    _check(0 <= old <= new < SIZE_END, f"consistency from {old} to {new} leaves")
    if old in (0, new):
        return []
    level = (old & -old).bit_length() - 1
    start = [] if old == 1 << level else [node(level, (old >> level) - 1)]
    return start + _path(old - 1, new, level, node)


def _path(index: int, size: int, level: int, node: Node) -> list[bytes]:
    """The siblings of the ancestors of leaf `index`, from the ancestor at `level` upward."""
    inner = (index ^ (size - 1)).bit_length()
    path = []
    for height in range(level, inner):
        sibling = index >> height ^ 1
        begin, end = sibling << height, min((sibling + 1) << height, size)
        path.append(fold([node(peak, i) for peak, i in peaks(begin, end)]))
    for height in range(max(level, inner), index.bit_length()):
        if index >> height & 1:
            path.append(node(height, (index >> height) - 1))
    return path


def memory_nodes(leaf_hashes: Sequence[bytes]) -> Node:
    """The `node` of a tree whose leaf hashes are in memory: for tests and small trees. O(n) once;
    a subtree that is not whole is an IndexError."""
    levels = [list(leaf_hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*below[i : i + 2]) for i in range(0, len(below) - 1, 2)])
    return lambda level, i: levels[level][i]


def _check(good: bool, what: str) -> None:
    if not good:
        raise UsageError(f"there is no such thing as {what}")
