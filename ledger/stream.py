"""Appends that nobody waits for: futures over the core's commit thread.

`submit` calls C through `ctypes.PYFUNCTYPE`, which keeps the GIL: beside a busy thread a release costs a whole
switch interval, and the call is a copy under a mutex. One Python thread takes finished groups and resolves them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ledger._native import ffi, lib
from ledger.encoding import event as events
from ledger.errors import ForkedHandleError
from ledger.storage.writer import Writer
from ledger.types import Receipt, Receipts

__all__ = ["PendingAppend", "Stream"]

_WAIT_NS = 200_000_000

_submit = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)
)(int(ffi.cast("uintptr_t", ffi.addressof(lib, "ledger_submit"))))


class PendingAppend(Future[Receipt]):
    """The future of one submitted event: `result()` is its `Receipt`, once it is durable.

    It cannot be cancelled: the event is on its way. Made before a fork, it raises `ForkedHandleError` in the
    child; the parent knows the outcome."""

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()

    def cancel(self) -> bool:
        return False

    def result(self, timeout: float | None = None) -> Receipt:
        if self._pid != os.getpid():
            raise ForkedHandleError("this future was made before the fork; only the parent knows its outcome")
        return super().result(timeout)


class Stream:
    """Submissions of one `Ledger` in one process."""

    def __init__(self, writer: Writer, heed: Callable[[int], None]) -> None:
        self.pid = os.getpid()
        self._writer = writer
        self._heed = heed
        self._core = writer.usable()
        self._address = int(ffi.cast("uintptr_t", self._core))
        self._pending: deque[PendingAppend] = deque()
        self._mutex = threading.Lock()
        self._done = threading.Condition(self._mutex)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sealedger-stream", daemon=True)
        self._thread.start()

    def submit(self, event: Any) -> PendingAppend:
        """Queue `event`; `EventError` at once when it cannot be stored. Waits only when 64 MiB are queued."""
        payload = events.encode(event)
        future = PendingAppend()
        ticket = ctypes.c_uint64()
        while True:
            with self._mutex:  # tickets and futures must come in one order
                status = _submit(self._address, payload, len(payload), ctypes.byref(ticket))
                if status == lib.LEDGER_OK:
                    self._pending.append(future)
                    return future
            if status == lib.LEDGER_QUEUE_FULL:
                lib.ledger_submit_room(self._core, _WAIT_NS)
            elif status in (lib.LEDGER_BAD_EVENT, lib.LEDGER_TOO_LARGE):
                raise events.explain(event)
            else:
                raise self._writer.error(status, "submitting")

    def _run(self) -> None:
        request, outcome = ffi.new("ledger_request **"), ffi.new("ledger_outcome *")
        while True:
            status = lib.ledger_completed(self._core, _WAIT_NS, request, outcome)
            if status == lib.LEDGER_OK:
                self._resolve(request[0], outcome)
            elif status == lib.LEDGER_RECOVER:
                self._recover()
            elif self._stopping and not self._pending:
                return

    def _recover(self) -> None:
        try:
            self._writer.recover()
        except Exception as error:  # handed to every future that waits: none of them can be stored now
            self._fail(error)

    def _resolve(self, request: Any, outcome: Any) -> None:
        count, status, hints = int(outcome.count), int(outcome.status), int(outcome.hints)
        rows = bytearray(count * 120)
        lib.ledger_completed_take(self._core, request, ffi.from_buffer("uint8_t[]", rows))
        with self._mutex:
            futures = [self._pending.popleft() for _ in range(min(count, len(self._pending)))]
            self._done.notify_all()
        if status == lib.LEDGER_OK:
            receipts = Receipts(int(outcome.base), int(outcome.time), bytes(rows))
            for position, future in enumerate(futures):
                future.set_result(receipts[position])
        else:
            error = self._writer.error(status, "appending a submitted event")
            for future in futures:
                future.set_exception(error)
        if hints:
            self._heed(hints)

    def _fail(self, error: Exception) -> None:
        with self._mutex:
            futures = list(self._pending)
            self._pending.clear()
            self._stopping = True
            self._done.notify_all()
        for future in futures:
            future.set_exception(error)

    def drain(self) -> None:
        """Wait until every submitted event is resolved, then end the thread."""
        if self.pid != os.getpid():
            return
        with self._mutex:
            while self._pending and self._thread.is_alive():
                self._done.wait(0.2)
        self._stopping = True
        self._thread.join()
