"""Whole logs that other implementations wrote, file by file: tlog-15 and tlog-300."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.merkle.tiles import (
    ENTRIES,
    decode_bundle,
    encode_bundle,
    encode_tile,
    parse_path,
    tile_nodes,
    tiles,
)
from ledger.merkle.tree import consistency_proof, inclusion_proof, memory_nodes, root
from ledger.note import verify_note
from ledger.verify import (
    COSIGNATURE,
    leaf_hash,
    parse_checkpoint,
    parse_vkey,
    verify_consistency,
    verify_inclusion,
)

HERE = Path(__file__).parent
SMALL, LARGE = HERE / "tlog-15", HERE / "tlog-300"
ENTRIES_15 = decode_bundle((SMALL / "tile/entries/000.p/15").read_bytes(), 15)
NODES_15 = memory_nodes([leaf_hash(entry) for entry in ENTRIES_15])


def _paths(log: Path) -> set[str]:
    files = (path for path in (log / "tile").rglob("*") if path.is_file())
    return {path.relative_to(log).as_posix() for path in files}


def test_entries_are_the_known_ones() -> None:
    """The bundle of 15 holds the words that the log was filled with."""
    assert (ENTRIES_15[0], ENTRIES_15[1], ENTRIES_15[14]) == (b"one", b"two", b"fivten")


@pytest.mark.parametrize("size", range(16))
def test_checkpoint_of_every_size_is_signed_and_names_the_root(size: int) -> None:
    """Each of the 16 checkpoints verifies, and its root is that of the first `size` entries."""
    key = parse_vkey((SMALL / "vkey").read_text().strip())
    text, signed = verify_note((SMALL / f"checkpoint.{size}").read_bytes(), [key])
    checkpoint = parse_checkpoint(text)
    assert signed == [(key, None)]
    assert (checkpoint.size, checkpoint.root) == (size, root(size, NODES_15))


def test_tiles_and_bundles_of_every_size_are_byte_equal() -> None:
    """Written at every size, tiles and bundles are exactly the files of the log."""
    written = {}
    for size in range(16):
        for tile in tiles(size):
            bundle = tile.level == ENTRIES
            data = encode_bundle(ENTRIES_15[: tile.width]) if bundle else encode_tile(tile, NODES_15)
            written[tile.path] = data
    assert set(written) == _paths(SMALL)
    assert {path: (SMALL / path).read_bytes() for path in written} == written


def test_root_of_the_larger_log_from_its_tiles_is_cosigned() -> None:
    """300 leaf hashes in two tiles and a level above give the root that the witness cosigned."""
    key = parse_vkey((LARGE / "vkey").read_text().strip())
    text, signed = verify_note((LARGE / "checkpoint").read_bytes(), [key])
    checkpoint = parse_checkpoint(text)
    assert [one.type for one, _ in signed] == [COSIGNATURE]
    node = tile_nodes(lambda tile: (LARGE / tile.path).read_bytes(), 300)
    assert checkpoint.size == 300
    assert root(300, node) == checkpoint.root
    hashes = {tile.path for tile in tiles(300) if tile.level != ENTRIES}
    assert hashes == _paths(LARGE)  # this log was published without its entries


def test_proofs_from_the_larger_log_are_good() -> None:
    """Proofs made from its tiles lead to its root from every leaf and from every smaller size."""
    node = tile_nodes(lambda tile: (LARGE / tile.path).read_bytes(), 300)
    top = root(300, node)
    for index in range(0, 300, 7):
        verify_inclusion(index, 300, node(0, index), inclusion_proof(index, 300, node), top)
        old = root(index + 1, node)
        proof = consistency_proof(index + 1, 300, node)
        verify_consistency(index + 1, 300, old, proof, top)


@pytest.mark.parametrize("path", sorted(_paths(SMALL) | _paths(LARGE)))
def test_path_of_a_foreign_log_comes_back_the_same(path: str) -> None:
    """Every path is read as a tile or bundle and written as it was."""
    tile = parse_path(path)
    assert (tile.level == ENTRIES) == ("entries" in path)
    assert tile.path == path
