"""The writing side of an open ledger: one C core, its recoveries, and what it owes afterwards.

Threads: any number append at once; one leads and the rest share its sync (csrc/queue.c). Processes: the same,
through `lock` and HEAD. A fork closes the child's descriptors at once; the child's next call opens anew."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ledger._native import ffi, lib
from ledger.errors import (
    ClosedError,
    CopiedLedgerError,
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
from ledger.storage.create import is_copy
from ledger.storage.files import boot_id, translated
from ledger.storage.paths import Paths
from ledger.storage.place import check_locks, check_place
from ledger.storage.recover import Finding, recover
from ledger.types import Receipts

__all__ = ["HINT_BEGAN", "HINT_CLOCK", "HINT_PREPARE", "HINT_ROLLED", "LOCK_APPEND", "LOCK_SEAL", "LOCK_SIGN", "Writer"]

LOCK_APPEND, LOCK_SEAL, LOCK_SHIP, LOCK_SIGN = 0, 1, 2, 3
HINT_PREPARE, HINT_ROLLED, HINT_CLOCK, HINT_BEGAN = 1, 2, 4, 8
_LOCK_TIMEOUT_NS = 30_000_000_000

_REFUSED_AT_DOOR = {
    lib.LEDGER_BAD_EVENT: "is not an event in the exact form (docs/format.md §1)",
    lib.LEDGER_TOO_LARGE: "is above the limit of this ledger, or of one batch (64 MiB)",
}


class Writer:
    """Owns a `ledger_core`. `on_recovered` is called, outside every lock, after a recovery dropped a tail."""

    def __init__(
        self,
        paths: Paths,
        fingerprint: bytes,
        *,
        interval_ns: int = 0,
        on_recovered: Callable[[Finding], None] = lambda finding: None,
    ) -> None:
        self.paths = paths
        self._fingerprint = fingerprint
        self._interval_ns = interval_ns
        self._on_recovered = on_recovered
        self._new_thread_locks()
        self._closed = False
        self._open()
        _writers.add(self)

    def _open(self) -> None:
        check_place(self.paths.root)
        with translated(f"looking at {self.paths.lock}; nothing was changed"):
            check_locks(self.paths.lock)
            copied = is_copy(self.paths)
        if copied:
            raise CopiedLedgerError(
                f"{self.paths.root} is a copy of a ledger: its `lock` was written elsewhere. Nothing was changed. "
                "If the original is gone: `sealedger adopt`; if both live on: `sealedger fork` begins a new ledger "
                "that follows this one. Reading and verifying work as they are"
            )
        core, fault = ffi.new("ledger_core **"), ffi.new("ledger_fault *")
        status = lib.ledger_core_open(
            os.fsencode(self.paths.root), self._fingerprint, boot_id(), _LOCK_TIMEOUT_NS, self._interval_ns, core, fault
        )
        if status != lib.LEDGER_OK:
            what = ffi.string(fault.what).decode()
            raise EnvironmentFailure(f"{self.paths.root}: {what}: {os.strerror(fault.error)}; nothing was changed")
        self.core = core[0]
        self.pid = os.getpid()
        try:
            status = lib.ledger_core_join(self.core)
            if status == lib.LEDGER_RECOVER:
                self.recover()
            elif status != lib.LEDGER_OK:
                raise self.error(status, "joining the ledger")
        except BaseException:
            lib.ledger_core_close(self.core)
            self.core = None
            raise

    def usable(self) -> Any:
        """The core; opened anew in a forked child. Raises `ClosedError`."""
        if self._closed:
            raise ClosedError(f"{self.paths.root} is closed; what was acknowledged is safe")
        if self.pid != os.getpid():
            self._new_thread_locks()
            self._open()
        return self.core

    def _new_thread_locks(self) -> None:
        self._recovering = threading.Lock()
        # The kernel's locks belong to the descriptor, which the threads share: they need their own.
        self._holding = {byte: threading.Lock() for byte in (LOCK_SEAL, LOCK_SHIP, LOCK_SIGN)}

    def recover(self) -> None:
        """Run recovery, unless another process has done it meanwhile."""
        finding = None
        with self._recovering:
            status = lib.ledger_core_lock(self.core, LOCK_APPEND, _LOCK_TIMEOUT_NS)
            if status != lib.LEDGER_OK:
                raise self.error(status, "waiting for the append lock to recover")
            try:
                finding = recover(self.paths, self.core, self._fingerprint)
            finally:
                lib.ledger_core_unlock(self.core, LOCK_APPEND)
        if finding is not None:
            self._on_recovered(finding)

    def append(self, data: bytes, count: int, *, kind: int = 0, packed: bool = False) -> tuple[Receipts, int]:
        """Commit one event (`data` its payload), or the `count` elements of a msgpack array, as one batch.

        Durable when it returns: the receipts, and hints for upkeep. One release of the GIL. Signal handlers run
        every 100 ms while it waits; if one raises, the batch may still be committed."""
        core = self.usable()
        outcome = ffi.new("ledger_outcome *")
        rows = bytearray(count * 120)
        request = ffi.new("ledger_request **")
        buffer = ffi.from_buffer("uint8_t[]", rows)
        status = lib.ledger_append(core, data, len(data), count, kind, packed, outcome, buffer, request)
        if status in (lib.LEDGER_WAITING, lib.LEDGER_RECOVER):
            status = self._wait(core, request[0], status, outcome, buffer)
        if status != lib.LEDGER_OK:
            raise self.refusal(status, outcome) or self.error(status, "appending")
        return Receipts(outcome.base, outcome.time, rows), outcome.hints

    def _wait(self, core: Any, request: Any, status: int, outcome: Any, rows: Any) -> int:
        try:
            while status in (lib.LEDGER_WAITING, lib.LEDGER_RECOVER):
                if status == lib.LEDGER_RECOVER:
                    self.recover()
                status = lib.ledger_append_wait(core, request, outcome, rows)
        except BaseException:
            lib.ledger_append_abandon(core, request)
            raise
        return int(status)

    def refusal(self, status: int, outcome: Any) -> EventError | None:
        text = _REFUSED_AT_DOOR.get(status)
        if text is None:
            return None
        if status == lib.LEDGER_TOO_LARGE:
            text = f"of {outcome.count} bytes {text}"
        else:
            text = f"{text}: reason {outcome.count} at byte {outcome.time}"
        return EventError(f"event {outcome.base} of the call {text}; nothing was stored", position=outcome.base)

    def error(self, status: int, what: str) -> LedgerError:
        """The exception for a status of the core, with the facts of its fault."""
        fault = ffi.new("ledger_fault *")
        lib.ledger_core_read_fault(self.core, fault)
        step = ffi.string(fault.what).decode()
        cause = f"{step}: {os.strerror(fault.error)}" if fault.error else step
        where = f"{what} to {self.paths.root}"
        if status in (lib.LEDGER_LOCKED, lib.LEDGER_WAITING):
            return LockedError(f"{where}: another process held the lock for 30 s; nothing was stored, try again")
        if status == lib.LEDGER_DISK_FULL:
            return DiskFullError(f"{where}: {cause}; the batch failed whole, earlier events are safe. Free space")
        if status == lib.LEDGER_UNKNOWN:
            return DurabilityUnknownError(
                f"{where}: {cause}; whether this batch survives is not known, earlier ones are safe. Open anew"
            )
        if status == lib.LEDGER_POISONED:
            return PoisonedError(f"{where}: an earlier sync failed ({cause}); acknowledged events are safe. Open anew")
        if status == lib.LEDGER_CLOSED:
            return ClosedError(f"{where}: the ledger is closed")
        if status == lib.LEDGER_CORRUPT:
            return CorruptionError(f"{where}: {cause}")
        if status == lib.LEDGER_USAGE:
            return UsageError(f"{where}: the buffer is not an array of that many events; nothing was stored")
        if status == lib.LEDGER_IO:
            return EnvironmentFailure(f"{where}: {cause}; nothing of this call was stored")
        name = ffi.string(lib.ledger_status_name(status)).decode()
        return LedgerError(f"{where}: {name}: {cause}")

    def head(self) -> Any:
        """What HEAD says now (cdata `ledger_head *`). `CorruptionError` when no slot is valid."""
        head = ffi.new("ledger_head *")
        status = lib.ledger_core_head(self.usable(), head)
        if status != lib.LEDGER_OK:
            self.recover()
            lib.ledger_core_head(self.core, head)
        return head

    def stats(self) -> dict[str, int]:
        """Counts of this core since it was opened."""
        stats = ffi.new("ledger_core_stats *")
        lib.ledger_core_read_stats(self.usable(), stats)
        names = ("groups", "events", "syncs", "syncs_shared", "rolls", "lock_waits")
        return {name: int(getattr(stats, name)) for name in names}

    def roll(self) -> None:
        """Close the active segment, if it holds anything."""
        status = lib.ledger_core_roll(self.usable())
        if status == lib.LEDGER_RECOVER:
            self.recover()
            status = lib.ledger_core_roll(self.core)
        if status != lib.LEDGER_OK:
            raise self.error(status, "closing the active segment")

    def roll_old(self) -> float | None:
        """Close the active segment, if this handle's first event in it is older than the segment may become; else how
        many seconds are left until then: infinite when it wrote none. None: it was closed."""
        left = ffi.new("uint64_t *")
        status = lib.ledger_core_roll_old(self.usable(), left)
        if status == lib.LEDGER_RECOVER:
            self.recover()
            status = lib.ledger_core_roll_old(self.core, left)
        if status != lib.LEDGER_OK:
            raise self.error(status, "closing the active segment for its age")
        nanoseconds = int(left[0])
        return None if nanoseconds == 0 else math.inf if nanoseconds == (1 << 64) - 1 else nanoseconds / 1e9

    def prepare(self) -> None:
        """Build the next active file ahead of need."""
        status = lib.ledger_core_prepare(self.usable())
        if status not in (lib.LEDGER_OK, lib.LEDGER_DISK_FULL):
            raise self.error(status, "preparing the next segment")

    def locked(self, byte: int, timeout_s: float = 30) -> _Held:
        """A context that holds byte 1, 2 or 3 of `lock`, against threads and processes. Raises `LockedError`."""
        return _Held(self, byte, int(timeout_s * 1e9))

    def close(self) -> None:
        """Commit what was submitted, close. Raises if a sync had failed. Idempotent."""
        if self._closed:
            return
        self._closed = True
        _writers.discard(self)
        core, self.core = self.core, None
        if core is None or self.pid != os.getpid():
            return
        fault = ffi.new("ledger_fault *")
        lib.ledger_core_read_fault(core, fault)
        status = lib.ledger_core_close(core)
        if status != lib.LEDGER_OK:
            step = ffi.string(fault.what).decode()
            raise PoisonedError(f"{self.paths.root} was closed after a failure ({step}); acknowledged events are safe")

    def forget(self) -> None:
        """In a forked child."""
        if self.core is not None:
            lib.ledger_core_forget(self.core)


class _Held:
    def __init__(self, writer: Writer, byte: int, timeout_ns: int) -> None:
        self._writer, self._byte, self._timeout_ns = writer, byte, timeout_ns

    def __enter__(self) -> None:
        self._core = self._writer.usable()
        self._thread_lock = self._writer._holding[self._byte]
        what = f"locking byte {self._byte}"
        if not self._thread_lock.acquire(timeout=self._timeout_ns / 1e9):
            raise self._writer.error(lib.LEDGER_LOCKED, what)
        status = lib.ledger_core_lock(self._core, self._byte, self._timeout_ns)
        if status != lib.LEDGER_OK:
            self._thread_lock.release()
            raise self._writer.error(status, what)

    def __exit__(self, *exc: object) -> None:
        lib.ledger_core_unlock(self._core, self._byte)
        self._thread_lock.release()


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _forget_all() -> None:
    for writer in list(_writers):
        writer.forget()


os.register_at_fork(after_in_child=_forget_all)
