"""Small durable file acts: what each leaves after a crash is said with it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import struct
from pathlib import Path

from ledger.errors import CorruptionError, DiskFullError, DurabilityUnknownError, EnvironmentFailure

__all__ = ["boot_id", "lock_digest", "open_regular", "publish_file", "read_file", "sync_folder", "translated"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def translated(what: str):  # type: ignore[no-untyped-def]
    """Turn an `OSError` of the block into our exceptions; `what` says what was tried and what is safe."""
    try:
        yield
    except OSError as error:
        kind = DiskFullError if error.errno in _FULL else EnvironmentFailure
        raise kind(f"{what}: {error.strerror} ({error.filename or 'no file'})") from error


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file: no link is followed, a FIFO or device in its place does not block."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CorruptionError(f"{path} is not a regular file; nothing was read from it")
    return descriptor


def read_file(path: Path, bytes_max: int = 1 << 28) -> bytes:
    """The whole of a regular file. `FileNotFoundError` when it is not there, `EnvironmentFailure` when the system
    does not give it."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            if os.fstat(file.fileno()).st_size > bytes_max:
                raise CorruptionError(f"{path} is larger than any file of its kind")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EnvironmentFailure(f"{path} cannot be read: {error.strerror}; nothing was changed") from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. A failure is final: the caller must not go on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise DurabilityUnknownError(
            f"syncing the folder {folder} failed: {error.strerror}; reopen the ledger"
        ) from error
    finally:
        os.close(descriptor)


def publish_file(target: Path, data: bytes, mode: int = 0o644) -> bool:
    """Write `data` under the name `target`, whole and durable or not at all. False when the name was taken.

    A crash leaves at most a `.tmp`, which nothing reads."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_folder(target.parent)
    return True


def boot_id() -> bytes:
    """16 bytes that name this boot of this system."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return bytes.fromhex(text.replace("-", ""))


def lock_digest(lock: Path) -> bytes:
    """What tells `lock` from a copy of it: its inode, as long as the file is not copied.

    (Birth times are not to be had from Python's stat on Linux; they are zero in the digest.)"""
    status = os.stat(lock)
    return hashlib.sha256(struct.pack("<QQQ", status.st_ino, 0, 0)).digest()
