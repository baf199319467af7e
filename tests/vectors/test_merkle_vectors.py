"""Trees and proofs of other implementations, good and mutated: see README.md for their origin."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from ledger.merkle.compact import CompactRange
from ledger.merkle.tree import consistency_proof, inclusion_proof, memory_nodes, root
from ledger.verify import (
    VerificationError,
    leaf_hash,
    parse_checkpoint,
    verify_consistency,
    verify_inclusion,
)

HERE = Path(__file__).parent

# Valid where it comes from, and refused by us: its two equal roots have 12 bytes.
TWELVE_BYTE_ROOTS = "consistency/additional/sizes-are-equal-one-and-proof-is-empty"


def _cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def _hashes(encoded: list[str] | None) -> list[bytes]:
    return [b64decode(one) for one in encoded or []]


def _counter_hashes(count: int) -> list[bytes]:
    return [leaf_hash(i.to_bytes(8, "big")) for i in range(count)]


COUNTER_ROOTS = {
    int(size): b64decode(value)
    for size, value in json.loads((HERE / "merkle/counter-roots.json").read_text())["roots_b64"].items()
}
COUNTER_PROOFS = _cases("merkle/counter-proofs.ndjson")
COUNTER_NODES = memory_nodes(_counter_hashes(max(COUNTER_ROOTS)))


def test_every_file_of_cases_is_whole() -> None:
    """No case can go missing unseen."""
    assert len(_cases("merkle/inclusion.ndjson")) == 98
    assert len(_cases("merkle/consistency.ndjson")) == 98
    assert len(COUNTER_PROOFS) == 1183
    assert len(_cases("rekor/inclusion-proofs.ndjson")) == 11


@pytest.mark.parametrize("case", _cases("merkle/inclusion.ndjson"), ids=lambda case: case["name"])
def test_inclusion_proof_is_decided_as_elsewhere(case: dict[str, Any]) -> None:
    """The 98 inclusion cases, 6 of them good, are accepted and refused as their origin does."""
    proof = _hashes(case["proof"])
    leaf, tree_root = b64decode(case["leafHash"]), b64decode(case["root"])
    if case["wantErr"]:
        with pytest.raises(VerificationError):
            verify_inclusion(case["leafIdx"], case["treeSize"], leaf, proof, tree_root)
    else:
        verify_inclusion(case["leafIdx"], case["treeSize"], leaf, proof, tree_root)


@pytest.mark.parametrize("case", _cases("merkle/consistency.ndjson"), ids=lambda case: case["name"])
def test_consistency_proof_is_decided_as_elsewhere(case: dict[str, Any]) -> None:
    """The 98 consistency cases are decided as their origin does, but for one with short roots."""
    proof = _hashes(case["proof"])
    old_root, new_root = b64decode(case["root1"]), b64decode(case["root2"])
    if case["wantErr"] or case["name"].removesuffix(".json") == TWELVE_BYTE_ROOTS:
        with pytest.raises(VerificationError):
            verify_consistency(case["size1"], case["size2"], old_root, proof, new_root)
    else:
        verify_consistency(case["size1"], case["size2"], old_root, proof, new_root)


def test_the_known_difference_is_one_case_and_valid_elsewhere() -> None:
    """The exception above names an existing case, which really is about 12-byte roots."""
    found = [
        case for case in _cases("merkle/consistency.ndjson") if case["name"].removesuffix(".json") == TWELVE_BYTE_ROOTS
    ]
    assert [len(b64decode(case["root1"])) for case in found] == [12]
    assert not found[0]["wantErr"]


def test_roots_and_nodes_of_the_eight_known_leaves() -> None:
    """Leaf inputs, every full node and the roots of sizes 0 to 8 are as printed."""
    known = json.loads((HERE / "merkle/roots.json").read_text())
    leaves = [leaf_hash(bytes.fromhex(data)) for data in known["leaf_inputs_hex"]]
    node = memory_nodes(leaves)
    for level, hashes in enumerate(known["levels_hex"]):
        assert [node(level, i).hex() for i in range(len(hashes))] == hashes
    assert [root(size, node).hex() for size in range(9)] == known["roots_hex_by_size"]


def test_counter_tree_roots_at_all_known_sizes() -> None:
    """Both ways to a root, from nodes and by pushing leaves, give the known one."""
    grown = CompactRange()
    for size in range(max(COUNTER_ROOTS) + 1):
        if size in COUNTER_ROOTS:
            assert root(size, COUNTER_NODES) == grown.root() == COUNTER_ROOTS[size]
        grown.push(hashlib.sha256(b"\x00" + size.to_bytes(8, "big")).digest())


def test_counter_tree_inclusion_proofs_are_the_known_lists() -> None:
    """All 595 inclusion proofs are made hash for hash and accepted."""
    cases = [case for case in COUNTER_PROOFS if case["kind"] == "inclusion"]
    assert len(cases) == 595
    for case in cases:
        index, size, proof = case["index"], case["size"], _hashes(case["proof"])
        assert inclusion_proof(index, size, COUNTER_NODES) == proof
        leaf = leaf_hash(index.to_bytes(8, "big"))
        verify_inclusion(index, size, leaf, proof, root(size, COUNTER_NODES))


def test_counter_tree_consistency_proofs_are_the_known_lists() -> None:
    """All 588 consistency proofs are made hash for hash and accepted."""
    cases = [case for case in COUNTER_PROOFS if case["kind"] == "consistency"]
    assert len(cases) == 588
    for case in cases:
        old, new, proof = case["size1"], case["size2"], _hashes(case["proof"])
        assert consistency_proof(old, new, COUNTER_NODES) == proof
        verify_consistency(old, new, root(old, COUNTER_NODES), proof, root(new, COUNTER_NODES))


@pytest.mark.parametrize("case", _cases("rekor/inclusion-proofs.ndjson"), ids=lambda c: c["source"])
def test_production_log_entry_is_included(case: dict[str, Any]) -> None:
    """Entries of real trees up to 75 million leaves are included under the root the log signed."""
    tree_root = b64decode(case["root"])
    leaf = leaf_hash(b64decode(case["leaf"]))
    index, size = int(case["index"]), int(case["size"])
    verify_inclusion(index, size, leaf, _hashes(case["proof"]), tree_root)
    checkpoint = parse_checkpoint(case["checkpoint"].partition("\n\n")[0] + "\n")
    assert (checkpoint.size, checkpoint.root) == (size, tree_root)
    with pytest.raises(VerificationError):
        verify_inclusion(index ^ 1, size, leaf, _hashes(case["proof"]), tree_root)
