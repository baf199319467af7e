"""What a ledger has to ship, read from its files. Takes no lock and writes nothing.

A sealed file, a checkpoint and the identity never change once they have their names, so what is read here may be
sent at any time later. An index may be rebuilt; the archive then holds both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.archive import keys
from ledger.archive.keys import Key
from ledger.encoding.segment import Footer
from ledger.errors import CorruptionError
from ledger.storage.files import open_regular, read_file
from ledger.storage.identity_file import read_identity
from ledger.storage.paths import CheckpointName, Paths
from ledger.storage.sealed import SealedSegment
from ledger.storage.stub import EvictedSegment

__all__ = ["Item", "Source", "file_digest"]

_CHUNK_BYTES = 1 << 20
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One object to ship: its plain name and its bytes. `locked`: it is kept under retention, counted from `time`
    (UTC seconds). `footer`: of a segment."""

    key: Key
    data: bytes | Path
    locked: bool
    time: int
    footer: Footer | None = None

    @property
    def name(self) -> str:
        """What the journal calls it."""
        return str(self.key)

    @property
    def facts(self) -> list[Any]:
        """Base, count, root and seal hash of a segment, for the manifest."""
        footer = self.footer
        if footer is None:
            return []
        return [footer.base, footer.count, footer.segment_root.hex(), footer.seal_hash.hex()]

    def digest(self) -> tuple[bytes, int]:
        """SHA-256 and length. Reads a file once."""
        if isinstance(self.data, bytes):
            return hashlib.sha256(self.data).digest(), len(self.data)
        return file_digest(self.data)


def file_digest(path: Path) -> tuple[bytes, int]:
    """SHA-256 and length of a regular file."""
    digest, length = hashlib.sha256(), 0
    with open(open_regular(path), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            length += len(chunk)
    return digest.digest(), length


class Source:
    """The files of the ledger at `paths`."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.identity = read_identity(paths)
        self.ledger_id = self.identity.ledger_id

    def standing(self) -> list[Item]:
        """The objects that a ledger has once: the identity and the index key."""
        created = self.identity.created_ns // _SECOND_NS
        index_key = read_file(self.paths.index_key)
        return [
            Item(keys.genesis(self.ledger_id), self.identity.data, True, created),
            Item(keys.index_key(self.ledger_id), index_key, True, created),
        ]

    def segment_keys(self) -> list[Key]:
        """The sealed files that are here, in order."""
        return [keys.segment(self.ledger_id, segno) for segno in self.paths.list_sealed().found]

    def differs(self, segno: int, seal_hash: str) -> bool:
        """Whether the segment is another here, or not sealed here. One that is here and damaged tells nothing."""
        if not (self.paths.sealed(segno).exists() or self.paths.stub(segno).exists()):
            return True
        try:
            return self.footer(segno).seal_hash.hex() != seal_hash
        except CorruptionError:
            return False

    def index_keys(self) -> list[Key]:
        """The search indexes that are here, of sealed segments."""
        found = [keys.index(self.ledger_id, segno) for segno in self.paths.list_sealed().found]
        return [key for key in found if self.paths.index(key.number).is_file()]

    def segment(self, segno: int) -> Item:
        """A sealed file; header, trailer and footer are checked. Retention counts from its last event or from
        when it was sealed, whichever is later."""
        path, footer = self.paths.sealed(segno), self.footer(segno)
        sealed_at = path.stat().st_mtime_ns
        time = -(-max(footer.time_max, sealed_at) // _SECOND_NS)
        return Item(keys.segment(self.ledger_id, segno), path, True, time, footer)

    def footer(self, segno: int) -> Footer:
        """The footer of a sealed file, or of its stub. Reads 1.3 KiB."""
        path, kind = self.paths.sealed(segno), SealedSegment
        if not path.exists() and self.paths.stub(segno).exists():
            path, kind = self.paths.stub(segno), EvictedSegment
        with kind(path, segno, fingerprint=self.identity.fingerprint) as opened:
            return opened.footer

    def index(self, segno: int) -> Item:
        """The search index of a segment. It is not locked: an erasure may have to remove it, and what it says is
        proven by the segment's index_root."""
        return Item(keys.index(self.ledger_id, segno), self.paths.index(segno), False, 0)

    def checkpoint_names(self) -> list[CheckpointName]:
        """The checkpoints that are here, by size; reads none."""
        return list(self.paths.list_checkpoints().found)

    def checkpoint_key(self, found: CheckpointName) -> Key:
        """The key of a checkpoint; the name of its file has the same digits."""
        return Key(self.ledger_id, "ckpt", found.size, found.digest8)

    def checkpoint(self, found: CheckpointName) -> Item:
        """A checkpoint. Raises `CorruptionError` when its bytes do not match its name."""
        path = self.paths.checkpoint(found.size, found.digest8)
        data = read_file(path)
        if hashlib.sha256(data).hexdigest()[:8] != found.digest8:
            raise CorruptionError(f"{path}: its bytes do not match its name; it is not shipped, others are")
        return Item(self.checkpoint_key(found), data, True, 0)
