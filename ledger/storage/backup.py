"""Copy the acknowledged state of a ledger while writers go on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ledger._native import ffi, lib
from ledger.errors import CorruptionError, UsageError
from ledger.storage.active import ActiveSegment
from ledger.storage.create import LOCK_BYTES
from ledger.storage.files import sync_folder, translated
from ledger.storage.identity_file import read_identity
from ledger.storage.paths import Paths

__all__ = ["backup"]


def backup(path: Path, target: Path) -> int:
    """Copy the ledger at `path` to the new folder `target`; returns the entries copied. Durable when it returns.

    HEAD is read first; sealed files and checkpoints are copied whole, active files up to what HEAD acknowledges,
    zeros after it. The copy reads and verifies as it is; opened for writing it says that it is a copy."""
    source, copy = Paths(path.absolute()), Paths(target.absolute())
    identity = read_identity(source)
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty; nothing was copied")
    head = ffi.new("ledger_head *")
    if lib.ledger_head_parse(source.head.read_bytes(), head) != lib.LEDGER_OK:
        raise CorruptionError(f"{source.head} has no valid slot; open the ledger for writing once, then back it up")
    with translated(f"copying {path} to {target}; the original is untouched"):
        for folder in ("active", "sealed", "checkpoints", "quarantine"):
            (target / folder).mkdir(parents=True, exist_ok=True)
        actives = {n: source.active(n) for n in source.list_active().found if n <= head.segno}
        for segno, file in actives.items():
            _copy_active(file, copy.active(segno), identity.fingerprint, int(head.synced_end), segno == head.segno)
        for listed in (source.sealed_folder, source.checkpoint_folder, source.quarantine_folder):
            for file in sorted(listed.iterdir()):
                if not file.name.endswith(".tmp"):
                    _copy(file, target / listed.name / file.name)
        for file in (source.ledger, source.index_key, *map(source.manifest, source.list_manifests().found)):
            _copy(file, target / file.name)
        (target / "lock").write_bytes(source.lock.read_bytes()[:4096] + bytes(LOCK_BYTES - 4096))
        _write_head(copy, head)
        for folder in ("active", "sealed", "checkpoints", "quarantine", "."):
            sync_folder(target / folder)
        sync_folder(target.absolute().parent)
    return int(head.synced_size)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_active(source: Path, target: Path, fingerprint: bytes, end: int, newest: bool) -> None:
    try:
        segment = ActiveSegment(source, fingerprint)
    except FileNotFoundError:
        return  # sealed since the listing: its sealed file is copied next
    try:
        data = segment.read_all()
    finally:
        segment.close()
    with target.open("xb") as out:
        out.write(data[:end] + bytes(len(data) - end) if newest else data)
        out.flush()
        os.fsync(out.fileno())


def _write_head(copy: Paths, head: object) -> None:
    with copy.head.open("xb") as out:
        slot = ffi.new("uint8_t[4096]")
        head.written_end, head.written_size = head.synced_end, head.synced_size  # type: ignore[attr-defined]
        if lib.ledger_head_format(head, slot) == lib.LEDGER_OK:
            out.write(bytes(slot) * 2)
        else:
            out.write(bytes(LOCK_BYTES))
        out.flush()
        os.fsync(out.fileno())
