"""The signed manifests of an archive, found among whatever lies there.

A version under a manifest's key counts when the statement opens under keys that the caller brought, and names its
own number. Of several the oldest counts: a copy of an old manifest under a newer number names another number, a
later version is no older. Two different ones of one number are two histories, and both are named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ledger.archive import keys
from ledger.archive.archive_manifest import KIND, ArchiveManifest, Link, Open, Row
from ledger.archive.readable import Readable
from ledger.archive.target import Version
from ledger.errors import CorruptionError, LedgerError, ObjectMissingError
from ledger.verify import VerificationError

__all__ = ["MANIFEST_BYTES_MAX", "Found", "Listing", "all_rows", "list_manifests", "read_manifest"]

MANIFEST_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest that counts, and where it is."""

    manifest: ArchiveManifest
    link: Link
    at: Version


@dataclass
class Listing:
    """The versions under man/ by number, oldest first, markers left out; nothing in them is read yet."""

    candidates: dict[int, list[Version]] = field(default_factory=dict)

    def newest(self, target: Readable, open_statement: Open) -> Found | None:
        """The manifest of the highest number that counts. Reads down from the highest name."""
        return next(self.descending(target, open_statement), None)

    def descending(self, target: Readable, open_statement: Open) -> Iterator[Found]:
        """The manifests that count, highest number first."""
        for n in sorted(self.candidates, reverse=True):
            for at in self.candidates[n]:
                found = read_manifest(target, at, n, open_statement)
                if found is not None:
                    yield found
                    break


def list_manifests(target: Readable, ledger_id: bytes) -> Listing:
    """List man/, one request a thousand versions."""
    listing = Listing()
    for at in target.versions(keys.folder(ledger_id, "man")):
        key = keys.parse(at.key)
        if key is not None and not at.marker and at.length <= MANIFEST_BYTES_MAX:
            listing.candidates.setdefault(key.number, []).append(at)
    for versions in listing.candidates.values():
        versions.sort(key=lambda at: len(at.key))  # the plain name first; within a name the oldest
    return listing


def read_manifest(target: Readable, at: Version, n: int, open_statement: Open) -> Found | None:
    """The manifest number `n` in this version, or None when it does not count."""
    try:
        data = target.read(at.key, at.version)
        manifest = ArchiveManifest.from_body(open_statement(data, KIND))
    except (CorruptionError, VerificationError, ObjectMissingError):
        return None
    if manifest.n != n:
        return None
    link = Link(n, at.key, at.version, hashlib.sha256(data).hexdigest())
    return Found(manifest, link, at)


def all_rows(target: Readable, newest: ArchiveManifest, open_statement: Open) -> list[Row]:
    """The whole list at `newest`, oldest first: its rows and those of the manifests that it leaves them to, which
    must have the hash that it names. Raises `CorruptionError` when one is not what it was."""
    parts, manifest = [newest.rows], newest
    while manifest.since is not None:
        manifest = follow(target, manifest.since, open_statement)
        parts.append(manifest.rows)
    return [row for rows in reversed(parts) for row in rows]


def follow(target: Readable, link: Link, open_statement: Open) -> ArchiveManifest:
    """The manifest that another names. The version it names is asked for first, then any with that hash."""
    for version in _versions_of(target, link):
        try:
            data = target.read(link.key, version)
        except LedgerError:
            continue
        if hashlib.sha256(data).hexdigest() == link.sha256:
            return ArchiveManifest.from_body(open_statement(data, KIND))
    raise CorruptionError(
        f"archive manifest {link.n} ({link.key} on {target.url}) with the SHA-256 that a later one names is not "
        "there: the list of objects is incomplete. Nothing was changed"
    )


def _versions_of(target: Readable, link: Link) -> Iterator[str]:
    yield link.version
    for at in target.versions(link.key):
        if at.key == link.key and not at.marker:
            yield at.version
