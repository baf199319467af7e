"""Seal closed segments: each becomes a `.seg`, a note, a line of the manifest; then its `.act` goes.

Steps, under lock byte 1, and what a crash after each leaves:
(1) `.seg` written as tmp, synced, dropped from the cache, read back and verified in full    a tmp, never read
(2) linked to its name, folder synced       `.seg` and `.act`: the next seal verifies `.seg` and goes on
(3) a durable "sealed" note                 as above; a repeated note with the same seal hash is harmless
(4) MANIFEST of the next generation         rebuildable in any case
(5) `.act` unlinked, folder synced          done                                               [SEAL-1..5]"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from ledger.encoding.manifest import ManifestRow
from ledger.errors import CorruptionError
from ledger.storage import manifests
from ledger.storage.active import ActiveSegment
from ledger.storage.files import sync_folder, translated
from ledger.storage.seal import build_segment
from ledger.storage.sealed import SealedSegment
from ledger.storage.sealed_check import Border
from ledger.storage.store import Store

__all__ = ["seal_closed"]


def seal_closed(store: Store, append_note: Callable[[dict[str, Any]], object]) -> int:
    """Seal every closed segment, oldest first; the caller holds lock byte 1. Returns how many were sealed.

    Raises `CorruptionError`, with nothing unlinked, when a file disagrees with the chain."""
    store.refresh()
    newest = store.segments()[-1].segno
    held = {s.segno for s in store.segments() if isinstance(s, ActiveSegment)}
    closed = sorted(n for n in held | set(store.paths.list_active().found) if n < newest)
    for segno in closed:
        with translated(f"sealing segment {segno}; its active file stays, nothing was lost"):
            _finish(store, segno, append_note)
    return len(closed)


def _finish(store: Store, segno: int, append_note: Callable[[dict[str, Any]], object]) -> None:
    """All steps for one segment, also where an earlier seal stopped between them [SEAL-2..5]."""
    path = store.paths.active(segno)
    found = next((s for s in store.segments() if s.segno == segno), None)
    if isinstance(found, ActiveSegment):
        segment, opened = found, None
    else:
        segment = opened = ActiveSegment(path, store.identity.fingerprint)
    try:
        if opened is not None:
            opened.scan_to(int(opened.header.file_bytes))
        done = _seal_one(store, segment, _sealed_before(store, segno))
        append_note(_note(done))
        store.replace_sealed(done)
        manifests.write(store.paths, _manifest_rows(store))
        path.unlink(missing_ok=True)
        sync_folder(store.paths.active_folder)
    finally:
        if opened is not None:
            opened.close()


def _sealed_before(store: Store, segno: int) -> SealedSegment | None:
    if segno == 0:
        return None
    for segment in store.segments():
        if segment.segno == segno - 1 and isinstance(segment, SealedSegment):
            return segment
    return SealedSegment(store.paths.sealed(segno - 1), segno - 1, fingerprint=store.identity.fingerprint)


def _border(segment: ActiveSegment, before: SealedSegment | None) -> Border:
    header = segment.header
    return Border(
        segment.base,
        bytes(header.link),
        int(header.time_before),
        bytes(header.peaks)[: int(header.peak_count) * 32],
        bytes(32) if before is None else before.seal_hash,
    )


def _seal_one(store: Store, segment: ActiveSegment, before: SealedSegment | None) -> SealedSegment:
    target = store.paths.sealed(segment.segno)
    border = _border(segment, before)
    if not target.exists():
        temporary = store.paths.temporary(target)
        temporary.unlink(missing_ok=True)
        try:
            with temporary.open("xb") as out:
                build_segment(
                    segment.read_all(),
                    out,
                    previous_seal_hash=border.seal_hash,
                    time_before=border.time,
                )
                out.flush()
                os.fsync(out.fileno())
                os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            _verified(store, temporary, segment, border).close()
            with contextlib.suppress(FileExistsError):
                os.link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(store.paths.sealed_folder)
        return SealedSegment(target, segment.segno, fingerprint=store.identity.fingerprint)
    return _verified(store, target, segment, border)


def _verified(store: Store, path: Any, segment: ActiveSegment, border: Border) -> SealedSegment:
    """The file, read back in full; it must end where the active file ends."""
    found = SealedSegment(path, segment.segno, fingerprint=store.identity.fingerprint)
    facts = found.verify(border)
    if facts.after.size != segment.size or facts.after.link != segment.leaf_hash(segment.size - 1):
        raise CorruptionError(
            f"{path} and {segment.path} hold different entries; neither was changed, and sealing stops here",
            segment=segment.segno,
        )
    return found


def _note(segment: SealedSegment) -> dict[str, Any]:
    footer = segment.footer
    return {
        "note": "sealed",
        "segno": footer.segno,
        "base": footer.base,
        "count": footer.count,
        "seal_hash": footer.seal_hash,
        "root": footer.segment_root,
        "index_root": footer.index_root,
    }


def _manifest_rows(store: Store) -> list[ManifestRow]:
    rows = []
    for segment in store.segments():
        if isinstance(segment, SealedSegment):
            footer = segment.footer
            rows.append(
                ManifestRow(
                    footer.segno,
                    footer.base,
                    footer.count,
                    segment.file_bytes,
                    footer.seal_hash,
                    footer.segment_root,
                )
            )
    return rows
