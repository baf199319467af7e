"""Seal closed segments: each becomes a `.seg`, a note, a line of the manifest; then its `.act` goes.

Steps, under lock byte 1, and what a crash after each leaves:
(1) `.seg` written as tmp, synced, dropped from the cache, read back and verified in full    a tmp, never read
    the search index made from what was read back, its root put into the footer, synced    as above
(2) linked to its name, folder synced       `.seg` and `.act`: the next seal verifies `.seg` and goes on
    `.idx` published                        without it a search reads entries; the next seal, or reindex, makes it
(3) a durable "sealed" note                 as above; a repeated note with the same seal hash is harmless
(4) MANIFEST of the next generation         rebuildable in any case
(5) `.act` unlinked, folder synced          done                                               [SEAL-1..5]

An error of the index stops no seal: its root is then zero, or its file missing, and `stats()` says so [INDEX-1]."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ledger.encoding.manifest import ManifestRow
from ledger.encoding.segment import ZERO_HASH, Footer
from ledger.errors import CorruptionError, IndexUnusableError, LedgerError
from ledger.index.build import BuiltGranule, index_root
from ledger.storage import manifests
from ledger.storage.active import ActiveSegment
from ledger.storage.files import sync_folder, translated
from ledger.storage.index_file import IndexFile, publish_index, read_index_key
from ledger.storage.reindex import build_index, reindex
from ledger.storage.seal import build_segment
from ledger.storage.sealed import SealedSegment
from ledger.storage.sealed_check import Border
from ledger.storage.store import Store

__all__ = ["seal_closed"]

_Index = list[BuiltGranule]  # empty: none was made


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
        done, granules = _seal_one(store, segment, _sealed_before(store, segno))
        _publish_index(store, done, granules)
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


def _seal_one(store: Store, segment: ActiveSegment, before: SealedSegment | None) -> tuple[SealedSegment, _Index]:
    """The sealed file, and its index when that was made on the way."""
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
            with _verified(store, temporary, segment, border) as verified:
                granules = _index_of(store, verified)
                footer = verified.footer
            _commit_index(store, temporary, footer, granules)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(store.paths.sealed_folder)
        return SealedSegment(target, segment.segno, fingerprint=store.identity.fingerprint), granules
    return _verified(store, target, segment, border), []


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


# ---- the index: made from the verified file; what goes wrong with it stops nothing --------------------------------


def _index_of(store: Store, segment: SealedSegment) -> _Index:
    """The granules of a verified segment; none, and why is kept for `stats()`, when they cannot be made."""
    try:
        return build_index(segment, read_index_key(store.paths, store.identity))
    except (LedgerError, MemoryError) as error:
        store.note_degraded(f"segment {segment.segno} is sealed without a search index: {error}")
        return []


def _commit_index(store: Store, path: Path, footer: Footer, granules: _Index) -> None:
    """Put the root into the footer of the file that was verified; nothing else of it changes [INDEX-1]."""
    if not granules:
        return
    final = replace(footer, index_root=index_root([granule.descriptor for granule in granules]))
    end = final.encode() + final.trailer()
    with path.open("r+b") as file:
        file.seek(-len(end), os.SEEK_END)
        file.write(end)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with SealedSegment(path, footer.segno, fingerprint=store.identity.fingerprint, seal_hash=final.seal_hash):
        return  # read back: header, footer and trailer agree again, with the hash that they must have


def _has_index(store: Store, segment: SealedSegment) -> bool:
    try:
        IndexFile(store.paths, segment, read_index_key(store.paths, store.identity)).close()
    except IndexUnusableError:
        return False
    return True


def _publish_index(store: Store, segment: SealedSegment, granules: _Index) -> None:
    try:
        if granules:
            publish_index(store.paths, store.identity, segment.segno, granules)
        elif segment.footer.index_root != ZERO_HASH and not _has_index(store, segment):
            reindex(store.paths, store.identity, segment)
    except (LedgerError, MemoryError, OSError) as error:
        store.note_degraded(f"segment {segment.segno} has no search index beside it, reindex makes it: {error}")


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
