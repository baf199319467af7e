"""The one importer of the C core: buffers in, bytes out, status into exception.

`lib` and `ffi` are the raw extension, for tests and for storage's active-file code; the functions here are
what the rest uses. Pure functions: any thread, the GIL released while C runs."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ledger._core import ffi, lib
from ledger.errors import (
    ClosedError,
    CorruptionError,
    DiskFullError,
    DurabilityUnknownError,
    EnvironmentFailure,
    EventError,
    LedgerError,
    LockedError,
    PoisonedError,
    UsageError,
)

__all__ = ["ROW", "Row", "crc32c", "event_fault", "ffi", "lib", "raise_status", "sha256"]

Buffer = bytes | bytearray | memoryview

_ERRORS: dict[int, type[LedgerError]] = {
    lib.LEDGER_USAGE: UsageError,
    lib.LEDGER_BAD_EVENT: EventError,
    lib.LEDGER_TOO_LARGE: EventError,
    lib.LEDGER_CORRUPT: CorruptionError,
    lib.LEDGER_IO: EnvironmentFailure,
    lib.LEDGER_DISK_FULL: DiskFullError,
    lib.LEDGER_POISONED: PoisonedError,
    lib.LEDGER_UNKNOWN: DurabilityUnknownError,
    lib.LEDGER_LOCKED: LockedError,
    lib.LEDGER_CLOSED: ClosedError,
}


class Row(NamedTuple):
    """Where one entry's payload lies in a buffer, and what the frame says of it."""

    offset: int
    time: int
    bytes: int
    kind: int
    flags: int


ROW = struct.Struct("=QQIBB2x")  # the same as a ledger_row of C: many are read at once by `iter_unpack`
assert ROW.size == ffi.sizeof("ledger_row")


def raise_status(status: int, what: str) -> None:
    """Turn a status that is not OK into its exception; `what` says what was tried, where, and what is safe."""
    if status == lib.LEDGER_OK:
        return
    text = ffi.string(lib.ledger_status_text(status)).decode()
    if status == lib.LEDGER_NOMEM:
        raise MemoryError(f"{what}: {text}")
    raise _ERRORS.get(status, LedgerError)(f"{what}: {text}")


def sha256(data: Buffer) -> bytes:
    """SHA-256 by the chosen kernel; `hashlib` is as good for anything that is not a test."""
    out = ffi.new("uint8_t[32]")
    lib.ledger_sha256(ffi.from_buffer("uint8_t[]", data), len(data), out)
    return bytes(out)


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC32C (Castagnoli) of `data`, going on from `crc`."""
    return int(lib.ledger_crc32c(crc, ffi.from_buffer("uint8_t[]", data), len(data)))


def event_fault(payload: Buffer) -> tuple[int, int] | None:
    """None when `payload` is one event in the exact form (docs/format.md §1), else (reason, offset)."""
    reason, offset = ffi.new("int *"), ffi.new("uint64_t *")
    status = lib.ledger_event_check(ffi.from_buffer("uint8_t[]", payload), len(payload), reason, offset)
    if status == lib.LEDGER_OK:
        return None
    if status != lib.LEDGER_BAD_EVENT:
        raise_status(status, "checking an event")
    return int(reason[0]), int(offset[0])


def as_bytes(pointer: Any, size: int) -> bytes:
    """`size` bytes at a C pointer, copied."""
    return bytes(ffi.buffer(pointer, size))
