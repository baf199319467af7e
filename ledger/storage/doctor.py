"""Say what is where, what recovery would do, and what does not belong. Changes nothing, but with `adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger._native import ffi, lib
from ledger.errors import EnvironmentFailure
from ledger.storage.active import ActiveSegment
from ledger.storage.create import is_copy, read_identity, write_lock_digest
from ledger.storage.paths import Paths
from ledger.storage.recover import examine as examine_tail
from ledger.storage.recover import newest_active

__all__ = ["examine"]


def examine(path: Path, *, adopt: bool = False) -> dict[str, Any]:
    """The state of the ledger at `path`. With `adopt` a copy becomes the ledger: only when the original is gone."""
    paths = Paths(path.absolute())
    try:
        identity = read_identity(paths)
    except FileNotFoundError:
        raise EnvironmentFailure(f"there is no ledger at {path}") from None
    head = ffi.new("ledger_head *")
    good = lib.ledger_head_parse(paths.head.read_bytes(), head) == lib.LEDGER_OK
    segment = ActiveSegment(paths.active(newest_active(paths)), identity.fingerprint)
    try:
        finding = examine_tail(paths, segment, head if good else None)
    finally:
        segment.close()
    copied = is_copy(paths)
    if adopt and copied:
        write_lock_digest(paths)
    folders = (paths.list_active(), paths.list_sealed(), paths.list_checkpoints(), paths.list_ship_logs())
    listings = (*folders, paths.list_manifests())
    return {
        "origin": identity.origin,
        "fingerprint": identity.fingerprint.hex(),
        "copy": copied and not adopt,
        "head_slots": int(head.valid_slots) if good else 0,
        "active": list(paths.list_active().found),
        "sealed": list(paths.list_sealed().found),
        "newest": finding.segno,
        "entries": finding.size,
        "tail": finding.case,
        "tail_bytes": finding.tail_end - finding.end,
        "evidence": finding.evidence,
        "foreign": [name for listing in listings for name in listing.foreign],
        "leftovers": [name for listing in listings for name in listing.temporary],
    }
