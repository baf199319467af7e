"""The signed checkpoints of an archive: each proves itself, so each version under ckpt/ is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.archive import keys
from ledger.archive.readable import Readable
from ledger.archive.target import Version
from ledger.errors import ObjectMissingError
from ledger.note import verify_note
from ledger.verify import Checkpoint, VerificationError, VerifierKey, parse_checkpoint, parse_note

__all__ = ["NOTE_BYTES_MAX", "Pinned", "pinned", "read_checkpoint"]

NOTE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Pinned:
    """A checkpoint signed under a brought key, and where it was found."""

    key: str
    note: str
    checkpoint: Checkpoint


def read_checkpoint(key: str, data: bytes, origin: str, brought: Sequence[VerifierKey]) -> Pinned | None:
    """The checkpoint in these bytes when a brought key signed it for this origin, else None."""
    try:
        note = data.decode()
        verify_note(note, brought)
        checkpoint = parse_checkpoint(parse_note(note)[0])
    except (VerificationError, UnicodeDecodeError):
        return None
    return Pinned(key, note, checkpoint) if checkpoint.origin == origin else None


def pinned(
    target: Readable, ledger_id: bytes, origin: str, brought: Sequence[VerifierKey], manifest_note: str = ""
) -> list[Pinned]:
    """All that count, by size; `manifest_note` is the one that a signed manifest carries. One read for each."""
    found: dict[str, Pinned] = {}
    own = read_checkpoint("manifest", manifest_note.encode(), origin, brought)
    if own is not None:
        found[own.note] = own
    for at in target.versions(keys.folder(ledger_id, "ckpt")):
        item = None if at.marker or at.length > NOTE_BYTES_MAX else _read(target, at, origin, brought)
        if item is not None:
            found.setdefault(item.note, item)
    return sorted(found.values(), key=lambda item: item.checkpoint.size)


def _read(target: Readable, at: Version, origin: str, brought: Sequence[VerifierKey]) -> Pinned | None:
    try:
        return read_checkpoint(at.key, target.read(at.key, at.version), origin, brought)
    except ObjectMissingError:
        return None
