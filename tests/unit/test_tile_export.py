# SPDX-License-Identifier: Apache-2.0
"""The exported tile tree is complete, and its root is the checkpoint's, by tiles alone and by an outside package."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from ledger import Ledger
from ledger.merkle import tiles, tree
from ledger.verify import leaf_hash, parse_checkpoint, parse_note, verify_inclusion
from tests.plain import plain_commitment


def test_the_tiles_give_the_root_of_the_checkpoint(tmp_path: Path) -> None:
    """Root from tiles = signed root; bundles hold the entries; a second export adds what is new."""
    folder = tmp_path / "tiles"
    with Ledger(tmp_path / "a", new_key=True) as log:
        log.append_many([{"n": n} for n in range(700)])
        log.seal()
        log.export_tiles(folder)
        log.append({"later": 1})
        assert 0 < log.export_tiles(folder)["tiles_written"] < 10
        entries = [log.entry(i) for i in range(log.size)]
    checkpoint = parse_checkpoint(parse_note((folder / "checkpoint").read_text())[0])
    assert checkpoint.size == len(entries)
    node = tiles.tile_nodes(lambda tile: (folder / tile.path).read_bytes(), checkpoint.size)
    assert tree.root(checkpoint.size, node) == checkpoint.root
    found = []
    for tile in tiles.tiles(checkpoint.size):
        if tile.level == tiles.ENTRIES:
            found += tiles.decode_bundle((folder / tile.path).read_bytes(), tile.width)
    assert found == entries
    proof = tree.inclusion_proof(300, checkpoint.size, node)
    verify_inclusion(300, checkpoint.size, leaf_hash(found[300]), proof, checkpoint.root)


def test_notes_are_opened_and_events_are_not(tmp_path: Path) -> None:
    """Each line of notes.ndjson opens the commitment of a note; no event is among them."""
    with Ledger(tmp_path / "a", new_key=True) as log:
        log.append({"secret": "event"})
        log.seal()
        log.export_tiles(tmp_path / "tiles")
    rows = [json.loads(line) for line in (tmp_path / "tiles" / "notes.ndjson").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        entry, salt, payload = (base64.b64decode(row[key]) for key in ("entry", "salt", "payload"))
        assert entry[40:72] == plain_commitment(salt, payload)
        assert b"secret" not in payload
