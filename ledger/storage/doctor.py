"""Say what is where, what recovery would do, and what does not belong. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger._native import ffi, lib
from ledger.errors import CorruptionError, EnvironmentFailure
from ledger.storage.active import ActiveSegment
from ledger.storage.create import is_copy
from ledger.storage.files import read_file
from ledger.storage.identity_file import file_fault, read_identity
from ledger.storage.inventory import manifest_faults, unacknowledged_bytes
from ledger.storage.paths import Paths
from ledger.storage.recover import examine as examine_tail
from ledger.storage.recover import newest_active
from ledger.storage.sealed import SealedSegment

__all__ = ["examine"]


def examine(path: Path) -> dict[str, Any]:
    """The state of the ledger at `path`. `problems`: what no crash leaves; `degraded`: what is mended by itself or
    stops nothing. Raises `EnvironmentFailure` when there is no ledger, `CorruptionError` when the newest active file
    cannot be read at all."""
    paths = Paths(path.absolute())
    try:
        identity = read_identity(paths)
    except FileNotFoundError:
        raise EnvironmentFailure(f"there is no ledger at {path}") from None
    head = ffi.new("ledger_head *")
    good = lib.ledger_head_parse(read_file(paths.head), head) == lib.LEDGER_OK
    segment = ActiveSegment(paths.active(newest_active(paths)), identity.fingerprint)
    try:
        finding = examine_tail(paths, segment, head if good else None)
    finally:
        segment.close()
    problems, degraded = _segments(paths, identity.fingerprint)
    degraded += filter(None, [file_fault(paths, identity), unacknowledged_bytes(paths, identity.fingerprint)])
    folders = (paths.list_active(), paths.list_sealed(), paths.list_checkpoints(), paths.list_ship_logs())
    listings = (*folders, paths.list_manifests())
    return {
        "origin": identity.origin,
        "fingerprint": identity.fingerprint.hex(),
        "copy": is_copy(paths),
        "head_slots": int(head.valid_slots) if good else 0,
        "active": list(paths.list_active().found),
        "sealed": list(paths.list_sealed().found),
        "newest": finding.segno,
        "entries": finding.size,
        "tail": finding.case,
        "tail_bytes": finding.tail_end - finding.end,
        "evidence": finding.evidence,
        "problems": problems,
        "degraded": degraded,
        "foreign": [name for listing in listings for name in listing.foreign],
        "leftovers": [name for listing in listings for name in listing.temporary],
    }


def _segments(paths: Paths, fingerprint: bytes) -> tuple[list[str], list[str]]:
    """Headers and footers of the sealed files, and the manifest against them."""
    problems: list[str] = []
    opened: list[SealedSegment] = []
    try:
        for segno in paths.list_sealed().found:
            try:
                opened.append(SealedSegment(paths.sealed(segno), segno, fingerprint=fingerprint))
            except CorruptionError as error:
                problems.append(str(error))
        found, degraded = manifest_faults(paths, opened)
        return problems + found, degraded
    finally:
        for segment in opened:
            segment.close()
