"""Begin the active file after the last sealed segment, where there is none: a ledger that comes back from its
archive then stands as one that rolled and sealed and was not appended to since.

HEAD is written with no boot id, so the first writer recovers, which finds a clean file. The caller has written
everything else and links LEDGER last."""

from __future__ import annotations

import os
import secrets
import time

from ledger._native import ffi, lib, raise_status
from ledger.encoding.identity import Identity
from ledger.storage.active import BATCHES_BEGIN, HEADER_BYTES
from ledger.storage.files import boot_id, publish_file, sync_folder
from ledger.storage.paths import Paths
from ledger.storage.sealed_check import Border

__all__ = ["begin_after", "border_root"]

_FILE_BYTES = 1 << 20
_SLOT_BYTES = 4096


def border_root(border: Border) -> bytes:
    """The ledger's root at a border."""
    range_ = ffi.new("ledger_range *")
    range_.size, range_.count = border.size, len(border.peaks) // 32
    ffi.memmove(range_.peaks, border.peaks, len(border.peaks))
    root = ffi.new("uint8_t[32]")
    lib.ledger_range_root(range_, root)
    return bytes(root)


def begin_after(paths: Paths, made: Identity, segno: int, border: Border) -> None:
    """Write active file `segno`, empty, with the header that `border` calls for, and HEAD. Durable when it returns;
    a crash before leaves a file without a header, or no HEAD, which recovery knows."""
    path = paths.active(segno)
    folder = os.open(paths.active_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = lib.ledger_active_create(folder, os.fsencode(path.name), _FILE_BYTES, 0)
        raise_status(status, f"zeroing {path}; the archive is not touched")
    finally:
        os.close(folder)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, _header(made, segno, border) * 2, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(paths.active_folder)
    publish_file(paths.head, bytes(_SLOT_BYTES) + _head(segno, border))  # generation 1: the second slot


def _header(made: Identity, segno: int, border: Border) -> bytes:
    limits = made.limits
    header = ffi.new("ledger_active_header *")
    header.fingerprint, header.segno, header.base = made.fingerprint, segno, border.size
    header.root, header.link, header.time_before = border_root(border), border.link, border.time
    header.salt, header.seed = secrets.token_bytes(16), secrets.token_bytes(32)
    header.created_ns, header.boot_id = time.time_ns(), boot_id()
    header.file_bytes = _FILE_BYTES
    header.segment_bytes_max = max(limits.segment_bytes_max, _FILE_BYTES)
    header.segment_entries_max = limits.segment_entries_max
    header.segment_age_max_ns = int(limits.segment_age_max_s * 1e9)
    header.event_bytes_max = limits.event_bytes_max
    header.peak_count = len(border.peaks) // 32
    ffi.memmove(header.peaks, border.peaks, len(border.peaks))
    encoded = ffi.new("uint8_t[]", HEADER_BYTES)
    lib.ledger_active_header_encode(header, encoded)
    return bytes(encoded)


def _head(segno: int, border: Border) -> bytes:
    head = ffi.new("ledger_head *")
    head.generation, head.segno = 1, segno
    head.written_end = head.synced_end = BATCHES_BEGIN
    head.written_size = head.synced_size = border.size
    head.time, head.link = border.time, border.link
    head.range.size, head.range.count = border.size, len(border.peaks) // 32
    ffi.memmove(head.range.peaks, border.peaks, len(border.peaks))
    slot = ffi.new("uint8_t[]", _SLOT_BYTES)
    status = lib.ledger_head_format(head, slot)
    assert status == lib.LEDGER_OK, "the peaks of a checked border fit its size"
    return bytes(slot)
