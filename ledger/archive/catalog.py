"""What of the journal goes into the next signed manifest, and how the manifests before it are linked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.archive import keys
from ledger.archive.archive_manifest import ArchiveManifest, Link, Row, choose_since
from ledger.archive.journal import Intent, Journal, Progress, Verified

__all__ = ["Catalog"]

_LISTED = ("genesis", "index-key", "seg", "idx")


class Catalog:
    """The listed objects of one journal. One thread; `note_verified` after each receipt."""

    def __init__(self, journal: Journal) -> None:
        self.first: dict[str, int] = {}  # object → the manifest that first lists it
        self.links: dict[int, Link] = {}
        self.pending: str | None = None  # a manifest that was begun and is not verified
        self.rows: dict[str, Row] = {}
        self._unlisted: dict[str, None] = {}
        self.checkpoint_size, self.checkpoint_name = -1, ""
        for name, progress in journal.progress.items():
            self.note(name, progress)

    def note(self, name: str, progress: Progress) -> None:
        """Take in what the journal says of an object."""
        key = keys.parse(name)
        assert key is not None, name
        if key.kind == "man":
            if progress.verified is None:
                self.pending = name
                return
            if self.pending == name:
                self.pending = None
            receipt = progress.verified
            self.links[key.number] = Link(key.number, receipt.key, receipt.version, receipt.checksum.hex())
            for listed in progress.intent.lists:
                self.first[listed] = key.number
                self._unlisted.pop(listed, None)
        elif progress.verified is not None and key.kind == "ckpt" and key.number > self.checkpoint_size:
            self.checkpoint_size, self.checkpoint_name = key.number, name
        elif progress.verified is not None and key.kind in _LISTED:
            self.rows[name] = self._row(key, progress.verified, progress.intent)
            if name not in self.first:
                self._unlisted[name] = None

    def _row(self, key: keys.Key, receipt: Verified, intent: Intent) -> Row:
        start = (receipt.key, receipt.version, receipt.checksum.hex(), intent.length, receipt.mode, receipt.until)
        if key.kind == "seg":
            return Row(*start, key.number, *intent.facts)
        return Row(*start, key.number if key.kind == "idx" else 0)

    def unlisted(self) -> list[str]:
        """The objects with receipts that no manifest lists yet."""
        return list(self._unlisted)

    @property
    def number(self) -> int:
        """The number of the next manifest."""
        return max(self.links, default=-1) + 1

    def until(self) -> int:
        """The longest retention of a listed object, UTC seconds; 0 for none."""
        return max((row.until for row in self.rows.values()), default=0)

    def build(self, time: int, checkpoint: str, new: Iterable[str]) -> ArchiveManifest:
        """The next manifest, which is first to list `new`."""
        n, first = self.number, {**self.first, **dict.fromkeys(new, self.number)}
        since = choose_since(n, len(first))
        rows = tuple(self.rows[name] for name, number in first.items() if number > since)
        previous = self.links[n - 1] if n else None
        return ArchiveManifest(n, time, previous, self.links[since] if since >= 0 else None, checkpoint, rows)
