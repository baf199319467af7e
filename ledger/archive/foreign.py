"""Name a version that no manifest accounts for: FOREIGN, UNLISTED, or FORK."""

from __future__ import annotations

import hashlib
from typing import Protocol

from ledger.archive import keys
from ledger.archive.archive_manifest import Open, Row
from ledger.archive.compare import is_fork
from ledger.archive.readable import Readable
from ledger.archive.source import Item
from ledger.archive.target import Version
from ledger.encoding.segment import FOOTER_BYTES, TRAILER_BYTES, Footer, decode_trailer
from ledger.errors import CorruptionError, LedgerError, UsageError

__all__ = ["Dated", "Finder", "explain", "read_footer"]


class Dated(Protocol):
    """When the newest manifest was signed, UTC seconds."""

    time: int


class Finder(Protocol):
    """The audit, as far as it is needed here."""

    target: Readable
    ledger_id: bytes
    open: Open

    @property
    def report(self) -> Dated:
        """What is found so far."""

    def find(self, state: str, at: Version, detail: str) -> None:
        """Add a finding."""


def read_footer(target: Readable, key: str, version: str, length: int, segno: int) -> Footer | None:
    """The footer of a sealed file on a target, with the hash that its trailer names; None when it is none."""
    begin = length - FOOTER_BYTES - TRAILER_BYTES
    if begin < 0:
        return None
    try:
        end = target.read(key, version, begin)
        offset, seal_hash = decode_trailer(end[FOOTER_BYTES:], segno, length)
        if hashlib.sha256(end[:FOOTER_BYTES]).digest() != seal_hash:
            return None
        return Footer.decode(end[:FOOTER_BYTES], segno, offset)
    except (CorruptionError, UsageError):
        return None


def explain(audit: Finder, name: str, at: Version, own: Row | None) -> None:
    """Add the finding for version `at` under `name`; `own`: the listed object of that kind and number, if any.

    UNLISTED is only what came after the newest manifest: what was there before, it would list."""
    key = keys.parse(name)
    late = at.modified >= audit.report.time and own is None
    if key is None or key.kind != "seg":
        audit.find("UNLISTED" if late and key is not None and key.kind == "idx" else "FOREIGN", at, "in no manifest")
        return
    try:
        footer = read_footer(audit.target, at.key, at.version, at.length, key.number)
        if footer is None or footer.fingerprint[:16] != audit.ledger_id:
            audit.find("FOREIGN", at, "in no manifest, and no segment of this ledger")
        elif own is not None and _excludes(audit, key, at, own):
            audit.find("FORK", at, f"another segment {key.number} after the same predecessor as {own.key}")
        else:
            audit.find("UNLISTED" if late else "FOREIGN", at, "looks like a segment of this ledger, in no manifest")
    except LedgerError as error:
        audit.find("FOREIGN", at, f"in no manifest, and it cannot be read: {error}")


def _excludes(audit: Finder, key: keys.Key, at: Version, own: Row) -> bool:
    footer = read_footer(audit.target, own.key, own.version, own.length, key.number)
    if footer is None or footer.seal_hash.hex() != own.seal_hash:
        return False
    return is_fork(audit.target, at, Item(key, b"", True, 0, footer), audit.open)
