"""Recovery: facts about the newest active file, named cases, one decision; FAULTS of a crash or of the disk.

| case | what is found at x, the first byte after the last valid batch | what is done |
| --- | --- | --- |
| CLEAN | nothing but zeros | HEAD is written anew |
| TORN | bytes that nothing proves to have been acknowledged | set aside, zeroed, noted |
| CORRUPT | bytes, or zeros, that something proves to have been acknowledged | refused, nothing changed |

Proof is: a later batch header whose keyed check holds and whose `synced_end` is above x; HEAD, of any boot,
with synced_end above x or a later segment; a checkpoint above the last good index; a later sealed segment.
Dropping a tail is never silent: (1) copied to quarantine/, synced; (2) zeroed, synced; (3) HEAD; (4) a
"recovered" note; (5) `.noted`. A crash after any step leaves what the next recovery finishes [REC-1..3]."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger._native import ffi, lib
from ledger.errors import CorruptionError, DurabilityUnknownError
from ledger.storage.active import BATCHES_BEGIN, HEADER_BYTES, STOPS, ActiveSegment
from ledger.storage.files import boot_id, publish_file, read_file, sync_folder, translated
from ledger.storage.paths import Paths

__all__ = ["Finding", "examine", "newest_active", "owed_notes", "recover", "refuse"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examination found. `end`: x; `tail_end`: where only zeros follow; `evidence`: why the tail, or the
    lack of one, is corruption ("" when it is not)."""

    segno: int
    end: int
    size: int
    tail_end: int
    tail_entries: int
    stop: str
    evidence: str

    @property
    def case(self) -> str:
        if self.evidence:
            return "CORRUPT"
        return "TORN" if self.tail_end > self.end else "CLEAN"


def newest_active(paths: Paths) -> int:
    """The segment number of the newest active file that was begun.

    Begun is a file with a sound header, in either copy. One without, over a body of zeros, was only prepared, or
    the roll to it was cut short before the sync of its header [ROLL-1]."""
    for segno in reversed(paths.list_active().found):
        path = paths.active(segno)
        with path.open("rb", buffering=0) as file:
            copies = [file.read(HEADER_BYTES), file.read(HEADER_BYTES)]
            if any(_is_header(copy) for copy in copies):
                return segno
            if any(chunk.strip(b"\x00") for chunk in iter(lambda: file.read(1 << 20), b"")):
                raise CorruptionError(
                    f"{path} has no sound header over a body that is not empty; nothing was changed",
                    segment=segno,
                    offset=0,
                )
    raise CorruptionError(
        f"no active file was ever begun in {paths.active_folder}, though the ledger exists: the files there are "
        "lost or were removed. Sealed segments are not touched by this; restore active/ from a backup"
    )


def _is_header(data: bytes) -> bool:
    """Whether these 4096 bytes are a header, of this version of the format or a newer one."""
    header = ffi.new("ledger_active_header *")
    whole = len(data) == HEADER_BYTES
    return whole and lib.ledger_active_header_decode(data, header) in (lib.LEDGER_OK, lib.LEDGER_USAGE)


def examine(paths: Paths, segment: ActiveSegment, head: Any) -> Finding:
    """Read `segment` from its start, and say what the tail is. `head`: cdata `ledger_head *`, or None."""
    file_bytes = int(segment.header.file_bytes)
    stop = segment.scan_to(file_bytes)
    end = segment.end
    facts = ffi.new("ledger_tail_facts *")
    data = segment.read_all()
    lib.ledger_scan_tail(ffi.from_buffer("uint8_t[]", data), len(data), segment.header, end, facts)
    tail_end = int(facts.nonzero_end)
    return Finding(
        segment.segno,
        end,
        segment.size,
        tail_end,
        int(facts.entry_count),
        STOPS[stop],
        _evidence(paths, segment, head, facts, end),
    )


def _evidence(paths: Paths, segment: ActiveSegment, head: Any, facts: Any, end: int) -> str:
    if facts.synced_end > end:
        return f"the batch header at offset {facts.witness_offset} says that {facts.synced_end} was synced"
    if segment.state.synced_end > end:
        return f"a batch before says that offset {segment.state.synced_end} was synced"
    if head is not None and head.segno > segment.segno:
        return f"HEAD names the later segment {head.segno}"
    if head is not None and head.segno == segment.segno and head.synced_end > end:
        return f"HEAD acknowledges up to offset {head.synced_end}"
    later = [n for n in paths.list_sealed().found if n >= segment.segno and not paths.active(n).exists()]
    if later:
        return f"segment {later[-1]} is already sealed"
    sizes = [name.size for name in paths.list_checkpoints().found]
    if sizes and sizes[-1] > segment.size:
        return f"a checkpoint of {sizes[-1]} entries was signed"
    return ""


def refuse(paths: Paths, finding: Finding) -> CorruptionError:
    """The error for a CORRUPT finding."""
    path = paths.active(finding.segno)
    return CorruptionError(
        f"{path}: {finding.stop} at offset {finding.end}, yet {finding.evidence}. Entries from index {finding.size} "
        f"on may be lost; those before it are safe, and nothing was changed. Open with salvage=True to "
        "read them, and restore the file from a backup",
        segment=finding.segno,
        offset=finding.end,
        index=finding.size,
        evidence=finding.evidence,
    )


def _drop_cache(path: str) -> None:
    """What is read next shall come from the disk: a failed sync may have left pages that never reached it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        raise DurabilityUnknownError(f"syncing {path} before recovery failed: {error}; nothing was changed") from error
    finally:
        os.close(descriptor)


def recover(paths: Paths, core: Any, fingerprint: bytes) -> Finding | None:
    """Under byte 0: bring the newest active file to a state that can be appended to, and join.

    None when another process has already done it. Raises `CorruptionError`, nothing changed, when what is
    missing was acknowledged. Durable when it returns; the notes that are owed are the caller's to append."""
    if lib.ledger_core_join_locked(core) == lib.LEDGER_OK:
        return None
    with translated(f"recovering {paths.root}; what was acknowledged is safe, open it again"):
        return _recover(paths, core, fingerprint)


def _recover(paths: Paths, core: Any, fingerprint: bytes) -> Finding:
    for segno in paths.list_active().found[-2:]:
        _drop_cache(str(paths.active(segno)))
    head = ffi.new("ledger_head *")
    known = head if lib.ledger_core_head(core, head) == lib.LEDGER_OK else None
    segment = ActiveSegment(paths.active(newest_active(paths)), fingerprint)
    try:
        finding = examine(paths, segment, known)
        if finding.case == "CORRUPT":
            raise refuse(paths, finding)
        if finding.case == "TORN":
            _set_aside(paths, segment, finding)
        _unbegin(paths, finding.segno + 1)
        _publish(core, segment, finding, known)
        return finding
    finally:
        segment.close()


def _set_aside(paths: Paths, segment: ActiveSegment, finding: Finding) -> None:
    data = segment.read_all()[finding.end : finding.tail_end]
    digest8 = hashlib.sha256(data).hexdigest()[:8]
    publish_file(paths.quarantine(finding.segno, finding.end, digest8), data, 0o600)
    what = f"zeroing the torn tail of {segment.path}; its bytes are in quarantine/"
    _overwrite(segment.path, bytes(len(data)), finding.end, what)


def _unbegin(paths: Paths, segno: int) -> None:
    """Make the next file one that was only prepared again, where a roll left its header in part."""
    path = paths.active(segno)
    if path.exists():
        with path.open("rb", buffering=0) as file:
            torn = bool(file.read(2 * HEADER_BYTES).strip(b"\x00"))
        if torn:
            _overwrite(path, bytes(2 * HEADER_BYTES), 0, f"zeroing the torn header of {path}")


def _overwrite(path: Path, data: bytes, offset: int, what: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, data, offset)
        os.fdatasync(descriptor)
    except OSError as error:
        raise DurabilityUnknownError(f"{what} failed: {error}; earlier entries are safe, try again") from error
    finally:
        os.close(descriptor)


def _publish(core: Any, segment: ActiveSegment, finding: Finding, known: Any) -> None:
    head = ffi.new("ledger_head *")
    state = segment.state
    head.generation = known.generation if known is not None else 0
    head.boot_id = boot_id()
    head.segno = finding.segno
    head.written_end = head.synced_end = max(finding.end, BATCHES_BEGIN)
    head.written_size = head.synced_size = finding.size
    head.incarnation = max(int(state.incarnation), int(known.incarnation) if known is not None else 0) + 1
    head.time = state.chain.time
    head.link = bytes(state.chain.link)
    head.range = state.range
    status = lib.ledger_core_publish(core, head)
    if status != lib.LEDGER_OK:
        raise DurabilityUnknownError(
            f"writing HEAD after recovery failed ({status}); entries are safe, open the ledger again"
        )


def owed_notes(paths: Paths) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """The "recovered" note that each quarantined tail is owed, and what to call once it is durable [REC-3].

    A crash between the two repeats the note, with the same digest: harmless."""
    found = paths.list_quarantine().found
    noted = {name[:3] for name in found if name.noted}
    for name in found:
        if name.noted or name[:3] in noted:
            continue
        path = paths.quarantine(name.segno, name.offset, name.digest8)
        target = paths.quarantine(name.segno, name.offset, name.digest8, noted=True)
        data = read_file(path)

        def done(path: Path = path, target: Path = target) -> None:
            with translated(f"marking {path} as noted; the note is in the ledger, and may come once more"):
                with contextlib.suppress(FileExistsError):
                    os.link(path, target)
                sync_folder(target.parent)

        digest = hashlib.sha256(data).digest()
        yield (
            {
                "note": "recovered",
                "segno": name.segno,
                "offset": name.offset,
                "length": len(data),
                "sha256": digest,
            },
            done,
        )
