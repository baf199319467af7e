"""Our key is taken by other bytes: is that this ledger's other history, or a stranger's object?

A segment is a **fork** only if it is a whole sealed file of this ledger that follows the same predecessor: header,
footer and trailer agree, every section has the hash that the footer names, and base, link and previous seal hash
are those of our own. A manifest is one only if it opens under our statements key as the same number. Anything else
is a **squatter**: it stops nothing. (Whoever may write and read the archive can build such a segment, since no
signature is in it: to stop the shipper is then all that is won, and the alarm says so.)"""

from __future__ import annotations

import hashlib

from ledger.archive.archive_manifest import KIND, ArchiveManifest, Open
from ledger.archive.readable import Readable
from ledger.archive.source import Item
from ledger.archive.target import Version
from ledger.encoding.segment import (
    FOOTER_BYTES,
    HEADER_BYTES,
    SECTIONS,
    TRAILER_BYTES,
    Footer,
    SealedHeader,
    decode_trailer,
)
from ledger.errors import CorruptionError, UsageError
from ledger.verify import VerificationError

__all__ = ["is_fork", "same_bytes"]

_CHUNK_BYTES = 8 << 20
_MANIFEST_BYTES_MAX = 256 << 20


def same_bytes(target: Readable, found: Version, sha256: bytes, length: int) -> bool:
    """Whether a version has these bytes: by the checksum that the target keeps, else by reading all of it."""
    if found.marker or found.length != length:
        return False
    if found.sha256 is not None:
        return found.sha256 == sha256
    return _digest(target, found, 0, length) == sha256


def is_fork(target: Readable, found: Version, item: Item, open_statement: Open) -> bool:
    """Whether the foreign version `found` under the key of `item` is another history of the same ledger."""
    if found.marker:
        return False
    try:
        if item.footer is not None:
            return _follows(target, found, item.footer)
        if item.key.kind == "man" and found.length <= _MANIFEST_BYTES_MAX:
            body = open_statement(target.read(found.key, found.version), KIND)
            return ArchiveManifest.from_body(body).n == item.key.number
    except (CorruptionError, UsageError, VerificationError):
        return False
    return False


def _follows(target: Readable, found: Version, own: Footer) -> bool:
    if found.length < HEADER_BYTES + FOOTER_BYTES + TRAILER_BYTES:
        return False
    end = target.read(found.key, found.version, begin=found.length - FOOTER_BYTES - TRAILER_BYTES)
    offset, seal_hash = decode_trailer(end[FOOTER_BYTES:], own.segno, found.length)
    if hashlib.sha256(end[:FOOTER_BYTES]).digest() != seal_hash:
        return False
    footer = Footer.decode(end[:FOOTER_BYTES], own.segno, offset)
    header = SealedHeader.decode(target.read(found.key, found.version, 0, HEADER_BYTES), own.segno)
    predecessor = ("fingerprint", "segno", "base", "link_before", "previous_seal_hash")
    if header != SealedHeader(footer.fingerprint, footer.segno, footer.base):
        return False
    if any(getattr(footer, name) != getattr(own, name) for name in predecessor):
        return False
    sections = map(footer.section, SECTIONS)
    return all(_digest(target, found, part.offset, part.length) == part.digest for part in sections)


def _digest(target: Readable, found: Version, begin: int, length: int) -> bytes:
    """SHA-256 of a range of a version; what is missing of it makes the digest another."""
    digest = hashlib.sha256()
    for at in range(begin, begin + length, _CHUNK_BYTES):
        size = min(_CHUNK_BYTES, begin + length - at)
        digest.update(target.read(found.key, found.version, at, size))
    return digest.digest()
