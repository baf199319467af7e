"""Create a ledger: the folder, entry 0, then the name LEDGER. Several processes may race; one wins.

Steps, and what a crash after each leaves:
(1) folders, `lock`, `HEAD`, `index-key`      nothing that counts: the next creation goes on
(2) 0.act with entry 0, synced                the next creation reads LEDGER's bytes back from entry 0
(3) LEDGER linked, folders synced             a ledger                                              [CREATE-1]"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger._native import ffi, lib, raise_status
from ledger.encoding import identity
from ledger.encoding.identity import Identity
from ledger.errors import CorruptionError, EnvironmentFailure
from ledger.storage.active import BATCHES_BEGIN, HEADER_BYTES, read_exactly
from ledger.storage.files import boot_id, lock_digest, publish_file, sync_folder, translated
from ledger.storage.identity_file import from_entry_zero, read_identity, was_used
from ledger.storage.paths import Paths
from ledger.storage.place import check_place
from ledger.types import Limits

__all__ = ["LOCK_BYTES", "create", "is_copy", "write_lock_digest"]

LOCK_BYTES = HEAD_BYTES = 8192
_FIRST_FILE_BYTES = 1 << 20
_LOCK_MAGIC = b"LGLOCK1\x00"


def create(
    paths: Paths,
    *,
    name: str,
    limits: Limits,
    keys: Callable[[str], tuple[str, ...]],
    predecessor: dict[str, Any] | None = None,
) -> Identity:
    """Make a ledger at `paths`, or return the identity of the one that is there. Durable when it returns.

    `keys(origin)` gives the verifier keys that LEDGER shall name; it is called by the one process that creates.
    `predecessor`: what LEDGER shall say of the ledger that this one follows (docs/format.md §3). Where segments lie
    and LEDGER does not, they are a ledger's: it gets LEDGER back from entry 0, else `CorruptionError` [CREATE-2]."""
    with translated(f"creating a ledger at {paths.root}; nothing was lost"):
        check_place(paths.root)
        _make_folders(paths)
        lock = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            whole_byte_0 = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            fcntl.fcntl(lock, fcntl.F_OFD_SETLKW, whole_byte_0)
            if paths.ledger.exists():
                return read_identity(paths)
            return _create_locked(paths, name, limits, keys, predecessor)
        finally:
            os.close(lock)


def _make_folders(paths: Paths) -> None:
    """`lock` is the first name, so a folder that holds nothing else is ours: a creation was cut short."""
    paths.root.mkdir(parents=True, exist_ok=True)
    if not paths.lock.exists():
        if any(not _begins_creation(name) for name in os.listdir(paths.root)):
            raise EnvironmentFailure(
                f"{paths.root} is not empty and no ledger; nothing was changed. Choose another folder"
            )
        publish_file(paths.lock, bytes(LOCK_BYTES))
    for folder in ("active", "sealed", "checkpoints", "quarantine"):
        (paths.root / folder).mkdir(exist_ok=True)
    if os.stat(paths.lock).st_size != LOCK_BYTES:
        raise CorruptionError(f"{paths.lock} does not have {LOCK_BYTES} bytes; nothing was changed")
    write_lock_digest(paths)
    publish_file(paths.head, bytes(HEAD_BYTES))
    publish_file(paths.index_key, secrets.token_bytes(16), 0o600)
    sync_folder(paths.root)
    sync_folder(paths.root.parent)


def _begins_creation(name: str) -> bool:
    return name == "lock" or (name.startswith("lock.") and name.endswith(".tmp"))


def write_lock_digest(paths: Paths) -> None:
    """Say in `lock` that this directory is the ledger itself, not a copy. Durable when it returns."""
    descriptor = os.open(paths.lock, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, _LOCK_MAGIC + lock_digest(paths.lock), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_copy(paths: Paths) -> bool:
    """Whether `lock` was written elsewhere."""
    descriptor = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        data = read_exactly(descriptor, 40, 0, str(paths.lock))
    finally:
        os.close(descriptor)
    return data != _LOCK_MAGIC + lock_digest(paths.lock)


def _create_locked(
    paths: Paths,
    name: str,
    limits: Limits,
    keys: Callable[[str], tuple[str, ...]],
    predecessor: dict[str, Any] | None,
) -> Identity:
    unfinished = from_entry_zero(paths)
    if unfinished is not None:
        publish_file(paths.ledger, unfinished.data)
        return unfinished
    if was_used(paths) or paths.list_sealed().found or any(segno > 0 for segno in paths.list_active().found):
        raise CorruptionError(
            f"{paths.root} is a ledger's folder without LEDGER, and entry 0 cannot be read either. Nothing was "
            "changed; restore LEDGER or segment 0 from a backup"
        )
    made = identity.encode(
        name=name,
        created_ns=time.time_ns(),
        limits=limits,
        keys=keys,
        nonce=secrets.token_bytes(32),
        index_key=paths.index_key.read_bytes(),
        predecessor=predecessor,
    )
    paths.active(0).unlink(missing_ok=True)
    temporary = paths.temporary(paths.active(0))
    temporary.unlink(missing_ok=True)
    _write_first_file(temporary, made)
    os.link(temporary, paths.active(0))
    temporary.unlink()
    sync_folder(paths.active_folder)
    publish_file(paths.ledger, made.data)
    sync_folder(paths.root.parent)
    return made


def _write_first_file(path: Path, made: Identity) -> None:
    limits = made.limits
    bytes_max = max(limits.segment_bytes_max, _FIRST_FILE_BYTES)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = lib.ledger_active_create(folder, os.fsencode(path.name), _FIRST_FILE_BYTES, 0)
        raise_status(status, f"zeroing {path}; nothing was lost")
    finally:
        os.close(folder)
    header = ffi.new("ledger_active_header *")
    header.fingerprint = made.fingerprint
    header.root = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    header.link = made.fingerprint
    header.salt, header.seed = secrets.token_bytes(16), secrets.token_bytes(32)
    header.created_ns, header.boot_id = made.created_ns, boot_id()
    header.file_bytes = _FIRST_FILE_BYTES
    header.segment_bytes_max = bytes_max
    header.segment_entries_max = limits.segment_entries_max
    header.segment_age_max_ns = int(limits.segment_age_max_s * 1e9)
    header.event_bytes_max = limits.event_bytes_max
    encoded = ffi.new("uint8_t[]", HEADER_BYTES)
    lib.ledger_active_header_encode(header, encoded)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, bytes(encoded) * 2, 0)
        os.pwrite(descriptor, first_batch(made, header), BATCHES_BEGIN)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_batch(made: Identity, header: object) -> bytes:
    """Entry 0 as a batch: a note whose payload is LEDGER."""
    chain, row = ffi.new("ledger_chain *"), ffi.new("ledger_row *")
    chain.ledger_id, chain.link = made.ledger_id, made.fingerprint
    row.bytes, row.kind, row.time = len(made.data), 1, made.created_ns
    entry, salt, leaf = ffi.new("uint8_t[104]"), ffi.new("uint8_t[16]"), ffi.new("uint8_t[32]")
    payload = ffi.from_buffer("uint8_t[]", made.data)
    lib.ledger_chain_extend(chain, header.seed, payload, row, 1, entry, salt, leaf)  # type: ignore[attr-defined]
    record = struct.pack("<IBBH", len(made.data), 1, 0, 0) + made.data
    body = record + bytes(-len(record) % 8) + bytes(leaf)
    batch = ffi.new("ledger_batch_header *")
    batch.body_bytes, batch.count, batch.time, batch.incarnation = len(body), 1, made.created_ns, 1
    padded = body + bytes(-(64 + len(body)) % 512)
    batch.body_crc = lib.ledger_crc32c(0, padded, len(padded))
    front = ffi.new("uint8_t[64]")
    lib.ledger_batch_header_encode(batch, header.salt, 0, BATCHES_BEGIN, front)  # type: ignore[attr-defined]
    return bytes(front) + padded
