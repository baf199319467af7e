"""The MANIFEST files of a ledger: the newest sound one is read, the next generation is written beside it.

Who writes holds lock byte 1. A crash leaves the generation before, which is as good: states and receipts are in
the archive's logs too. See docs/format.md §8 and `ledger.encoding.manifest`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace

from ledger.encoding.manifest import Manifest, ManifestRow
from ledger.errors import CorruptionError
from ledger.storage.files import publish_file, read_file
from ledger.storage.paths import Paths

__all__ = ["change", "newest", "write"]

_KEPT = 3


def newest(paths: Paths) -> Manifest | None:
    """The sound manifest of the highest generation, or None. A damaged one is passed over: nothing in it is
    only there."""
    for generation in reversed(paths.list_manifests().found):
        try:
            return Manifest.decode(read_file(paths.manifest(generation)), generation)
        except (CorruptionError, FileNotFoundError):
            continue
    return None


def write(paths: Paths, rows: Iterable[ManifestRow]) -> None:
    """Write the next generation with these rows; what the one before says of the state and the receipts of the
    same sealed file is carried over. Durable when it returns; of the older ones the last two stay."""
    known = {} if (before := newest(paths)) is None else {row.seal_hash: row for row in before.rows}
    carried = []
    for row in rows:
        old = known.get(row.seal_hash)
        carried.append(row if old is None else replace(row, state=old.state, receipts=old.receipts))
    _publish(paths, tuple(carried))


def change(paths: Paths, changed: Callable[[ManifestRow], ManifestRow]) -> bool:
    """Write the next generation with each row as `changed` gives it, if that makes a difference; says whether."""
    before = newest(paths)
    if before is None:
        return False
    rows = tuple(map(changed, before.rows))
    if rows == before.rows:
        return False
    _publish(paths, rows)
    return True


def _publish(paths: Paths, rows: tuple[ManifestRow, ...]) -> None:
    generations = paths.list_manifests().found
    previous = bytes(32)
    if generations:
        previous = hashlib.sha256(read_file(paths.manifest(generations[-1]))).digest()
    generation = generations[-1] + 1 if generations else 1
    publish_file(paths.manifest(generation), Manifest(generation, previous, rows).encode())
    for old in generations[: -(_KEPT - 1)]:
        paths.manifest(old).unlink(missing_ok=True)
