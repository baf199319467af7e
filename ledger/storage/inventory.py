"""Compare what lies in a ledger's folder with what says what should: the manifest, and the end of the newest file."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ledger._native import ffi, lib
from ledger.encoding.manifest import LOCAL, Manifest, ManifestRow
from ledger.errors import CorruptionError
from ledger.storage.active import ActiveSegment
from ledger.storage.files import read_file
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment

__all__ = ["manifest_faults", "newest_manifest", "unacknowledged_bytes"]

_SETTLE_S = 0.02


def newest_manifest(paths: Paths) -> tuple[Manifest | None, list[str]]:
    """The newest sound manifest, and what is wrong with those after it: an older one serves."""
    faults: list[str] = []
    for generation in reversed(paths.list_manifests().found):
        try:
            return Manifest.decode(read_file(paths.manifest(generation)), generation), faults
        except FileNotFoundError:
            continue  # a seal has just replaced it
        except CorruptionError as error:
            faults.append(str(error))
    return None, faults


def manifest_faults(paths: Paths, sealed: Iterable[SealedSegment]) -> tuple[list[str], list[str]]:
    """Problems and degradations of the manifest against the sealed files that are open.

    A problem: a row whose file is gone or another. A degradation: a manifest that is damaged, or knows less than
    there is, as a crash between a seal and its manifest leaves it; the next seal writes a new one."""
    manifest, degraded = newest_manifest(paths)
    held = {segment.segno: segment for segment in sealed}
    rows = {row.segno: row for row in manifest.rows} if manifest is not None else {}
    problems = []
    for segno, row in rows.items():
        segment = held.get(segno)
        if segment is not None and row != _row_of(segment, row):
            problems.append(f"segment {segno} is not the one that the manifest lists: it was replaced")
        elif segment is None and row.state == LOCAL and not _is_there(paths, segno):
            problems.append(
                f"segment {segno}, entries [{row.base}, {row.end}), is in the manifest and its file is gone"
            )
    # One whose active file is still there is being sealed, or its seal was cut off: the next one finishes it.
    unlisted = sorted(segno for segno in held.keys() - rows.keys() if not paths.active(segno).exists())
    if unlisted:
        degraded.append(f"the manifest does not list the sealed segments {unlisted}; the next seal writes a new one")
    return problems, degraded


def _row_of(segment: SealedSegment, row: ManifestRow) -> ManifestRow:
    footer = segment.footer
    facts = (footer.segno, footer.base, footer.count, segment.file_bytes, footer.seal_hash, footer.segment_root)
    return ManifestRow(*facts, row.state, row.receipts)


def _is_there(paths: Paths, segno: int) -> bool:
    """Whether a reader that began before the seal has it as an active file, or began before it was sealed."""
    return paths.sealed(segno).exists() or paths.active(segno).exists()


def unacknowledged_bytes(paths: Paths, fingerprint: bytes) -> str:
    """What lies after the last batch of the newest active file that HEAD knows of; "" for zeros.

    A writer between its write and its HEAD leaves such bytes for microseconds: they count when they are there twice
    and HEAD did not move. Without a sound HEAD nothing is said here: recovery looks then (docs/guarantees.md REC-1)."""
    first = _tail(paths, fingerprint)
    if first is None or not first[1]:
        return ""
    time.sleep(_SETTLE_S)
    if _tail(paths, fingerprint) != first:
        return ""
    (_, segno, offset), count = first
    return (
        f"{paths.active(segno)}: {count} bytes from offset {offset} on belong to no batch that was acknowledged; the "
        "next recovery sets them aside and notes it"
    )


def _tail(paths: Paths, fingerprint: bytes) -> tuple[tuple[int, int, int], int] | None:
    """(generation, segment, offset) of HEAD's end, and how far bytes that are not zero reach beyond it."""
    head = ffi.new("ledger_head *")
    if lib.ledger_head_parse(read_file(paths.head), head) != lib.LEDGER_OK:
        return None
    place = (int(head.generation), int(head.segno), int(head.written_end))
    try:
        segment = ActiveSegment(paths.active(place[1]), fingerprint)
    except (FileNotFoundError, CorruptionError):
        return None  # sealed since, or damaged: other checks name that
    try:
        return place, segment.nonzero_end(place[2]) - place[2]
    finally:
        segment.close()
