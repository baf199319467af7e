"""The file LEDGER, and entry 0, which holds the same bytes: where one is lost the other still says who this is."""

from __future__ import annotations

import os

from ledger._native import ffi, lib
from ledger.encoding import identity
from ledger.encoding.identity import Identity
from ledger.errors import CorruptionError, EnvironmentFailure
from ledger.storage.active import HEADER_BYTES, ActiveSegment
from ledger.storage.files import publish_file, read_file, translated
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment

__all__ = ["file_fault", "from_entry_zero", "read_identity", "restore", "was_used"]


def read_identity(paths: Paths) -> Identity:
    """Who the ledger is: LEDGER, or where that is damaged, or lost after its creation, entry 0. Changes nothing.

    `FileNotFoundError` when there is no ledger, or one whose creation is not finished; `CorruptionError` when
    neither says it. Entry 0 counts when its bytes have the fingerprint that the segment's header names [CREATE-2]."""
    try:
        return identity.decode(read_file(paths.ledger))
    except FileNotFoundError:
        found = from_entry_zero(paths) if was_used(paths) else None
        if found is None:
            raise
        return found
    except CorruptionError:
        found = from_entry_zero(paths)
        if found is None:
            raise
        return found


def was_used(paths: Paths) -> bool:
    """Whether a writer joined, which it does only after LEDGER was there."""
    try:
        data = read_file(paths.head)
    except FileNotFoundError:
        return False
    return len(data) == 8192 and lib.ledger_head_parse(data, ffi.new("ledger_head *")) == lib.LEDGER_OK


def from_entry_zero(paths: Paths) -> Identity | None:
    """The identity that entry 0 holds, from the active or the sealed file; None when neither is sound."""
    for read in (_from_active, _from_sealed):
        try:
            found = read(paths)
        except (FileNotFoundError, CorruptionError, EnvironmentFailure):
            continue  # the other file is asked; when both fail, the caller says what is wrong with LEDGER
        if found is not None:
            return found
    return None


def _from_active(paths: Paths) -> Identity | None:
    header = ffi.new("ledger_active_header *")
    descriptor = os.open(paths.active(0), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        copies = os.pread(descriptor, 2 * HEADER_BYTES, 0)
    finally:
        os.close(descriptor)
    if not any(
        len(copy) == HEADER_BYTES and lib.ledger_active_header_decode(copy, header) == lib.LEDGER_OK
        for copy in (copies[:HEADER_BYTES], copies[HEADER_BYTES:])
    ):
        return None
    segment = ActiveSegment(paths.active(0), bytes(ffi.buffer(header.fingerprint, 32)))
    try:
        segment.scan_to(int(segment.header.file_bytes))
        return _agreeing(segment.payload(0), segment.header.fingerprint) if segment.size > 0 else None
    finally:
        segment.close()


def _from_sealed(paths: Paths) -> Identity | None:
    with SealedSegment(paths.sealed(0), 0) as segment:
        segment.entry(0)  # proves the payload by the block's root
        return _agreeing(segment.payload(0), segment.footer.fingerprint)


def _agreeing(data: bytes, fingerprint: object) -> Identity | None:
    found = identity.decode(data)
    return found if found.fingerprint == bytes(fingerprint) else None  # type: ignore[call-overload]


def file_fault(paths: Paths, known: Identity) -> str:
    """What is wrong with the file LEDGER of the ledger that is `known`; "" when nothing is."""
    try:
        data = read_file(paths.ledger)
    except FileNotFoundError:
        return f"{paths.ledger} is missing: entry 0, which holds its bytes, was read instead"
    except CorruptionError as error:
        return str(error)
    if data != known.data:
        return (
            f"{paths.ledger} is damaged: entry 0, which holds its bytes, was read instead. Move the file away, and the "
            "next opening for writing makes it anew"
        )
    return ""


def restore(paths: Paths, known: Identity) -> None:
    """Give a ledger whose LEDGER is lost the same bytes again; one that is there stays as it is. Durable."""
    if not paths.ledger.exists():
        with translated(f"writing {paths.ledger} again; entry 0 still holds its bytes"):
            publish_file(paths.ledger, known.data)
