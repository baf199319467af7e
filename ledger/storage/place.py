"""Where a ledger lies: file systems whose locks and syncs are not what they say are refused for writing.

The type comes from fstatfs (numbers of linux/magic.h). Types that only some of are remote, as those that run in user
space, are let through with a warning in `stats()`: whether their locks exclude is then tried out."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from ledger._native import ffi, lib
from ledger.errors import EnvironmentFailure

__all__ = ["check_locks", "check_place", "place_warning"]

_REMOTE = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x01021997: "9p",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x00C36400: "Ceph",
    0x73757245: "Coda",
    0x0000564C: "NCP",
    0x0BD00BD0: "Lustre",
    0x786F4256: "a shared folder of VirtualBox",
    0xBACBACBC: "a shared folder of VMware",
}
_OVERWRITES_ALLOCATE = "overwriting takes space there: a full disk can stop an append in a file that was prepared"
_WARNINGS = {
    0x65735546: ("FUSE", "a file system in user space: whether it keeps what it syncs is its own affair"),
    0x01021994: ("tmpfs", "this is memory: nothing here survives power loss"),
    0x858458F6: ("ramfs", "this is memory: nothing here survives power loss"),
    0x9123683E: ("btrfs", _OVERWRITES_ALLOCATE),
    0x2FC12FC1: ("ZFS", _OVERWRITES_ALLOCATE),
    0xCA451A4E: ("bcachefs", _OVERWRITES_ALLOCATE),
}
_PROBE_BYTE = 5  # of `lock`; docs/format.md §6


def _type(folder: Path) -> int:
    found = ffi.new("uint32_t *")
    if lib.ledger_file_system(os.fsencode(folder), found) != lib.LEDGER_OK:
        error = os.strerror(ffi.errno)
        raise EnvironmentFailure(f"{folder}: what file system this is cannot be told ({error}); nothing was changed")
    return int(found[0])


def check_place(folder: Path) -> None:
    """Before `folder`, or what will be made there, is written to. `EnvironmentFailure` on a network file system."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    name = _REMOTE.get(_type(folder))
    if name is not None:
        raise EnvironmentFailure(
            f"{folder} lies on {name}: locks and syncs are not what they say there, and events that were acknowledged "
            "could be lost or overwritten. Nothing was changed; reading works. Choose a local disk [PLACE-1]"
        )


def place_warning(folder: Path) -> str:
    """What there is to know about the file system under `folder`; "" for most."""
    name, warning = _WARNINGS.get(_type(folder), ("", ""))
    return f"{folder} lies on {name}: {warning}" if name else ""


def check_locks(lock: Path) -> None:
    """`EnvironmentFailure` when a second descriptor gets a lock that a first one holds [PLACE-2].

    Another process that tries it at the same moment holds the byte, and thereby answers."""
    first, second = (os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW) for _ in range(2))
    try:
        if _try_lock(first) and _try_lock(second):
            raise EnvironmentFailure(
                f"{lock}: the file system gave one lock twice, so that two writers would overwrite each other. Nothing "
                "was changed; reading works. Choose a local disk"
            )
    finally:
        os.close(second)
        os.close(first)


def _try_lock(descriptor: int) -> bool:
    region = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _PROBE_BYTE, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, region)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
