"""Export a C2SP tile tree that other people's tools verify: tiles, entry bundles, the checkpoint last.

`notes.ndjson` beside it has index, entry, salt and payload of the ledger's own notes, so that the commitments in
those entries can be opened by anyone; events are never opened."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from ledger.errors import UsageError
from ledger.merkle import tiles
from ledger.storage.files import sync_folder, translated
from ledger.storage.store import Store
from ledger.verify import parse_checkpoint, parse_note

__all__ = ["export"]


def export(store: Store, folder: Path, note: str) -> dict[str, int]:
    """Write the tree of the checkpoint `note` below the new or earlier `folder`. Tiles that are there stay.

    A crash leaves tiles without a checkpoint that names them: run it again. O(n) node hashes."""
    size = parse_checkpoint(parse_note(note)[0]).size
    if size > store.refresh():
        raise UsageError(f"the checkpoint of {size} entries is ahead of this ledger ({store.size})")
    written = 0
    with translated(f"writing tiles to {folder}; the ledger is untouched"):
        for tile in tiles.tiles(size):
            path = folder / tile.path
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if tile.level == tiles.ENTRIES:
                first = tile.number * tiles.WIDTH
                data = tiles.encode_bundle([store.entry(i)[0] for i in range(first, first + tile.width)])
            else:
                data = tiles.encode_tile(tile, store.node)
            path.write_bytes(data)
            written += 1
        with (folder / "notes.ndjson").open("w") as out:
            for item in store.items(0, size):
                if item.kind == 1:
                    entry, salt = store.entry(item.index)
                    row = {"index": item.index, "entry": entry, "salt": salt, "payload": item.payload}
                    encoded = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
                    out.write(json.dumps(encoded) + "\n")
        (folder / "checkpoint").write_text(note)
        sync_folder(folder)
    return {"size": size, "tiles_written": written}
