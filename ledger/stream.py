"""Appends that nobody waits for: futures over the core's commit thread.

`submit` calls C through `ctypes.PYFUNCTYPE`, which keeps the GIL: beside a busy thread a release costs a whole
switch interval, and the call is a copy under a mutex. One Python thread takes finished groups and resolves them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ledger._native import ffi, lib
from ledger.encoding import event as events
from ledger.errors import ForkedHandleError
from ledger.storage.writer import Writer
from ledger.types import Receipt, Receipts

if TYPE_CHECKING:
    import asyncio

__all__ = ["PendingAppend", "Stream"]

_WAIT_NS = 200_000_000
_UNUSED_TICKET = ctypes.c_uint64()  # futures are told apart by their order

_submit = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_void_p)(
    int(ffi.cast("uintptr_t", ffi.addressof(lib, "ledger_submit")))
)


class PendingAppend:
    """One submitted event: `result()` is its `Receipt`, once it is durable. Any thread may ask.

    It cannot be cancelled: the event is on its way. Made before a fork, it raises `ForkedHandleError` in the
    child; the parent knows the outcome."""

    __slots__ = ("_callbacks", "_error", "_position", "_receipts", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._receipts: Receipts | None = None
        self._position = 0
        self._error: Exception | None = None
        self._callbacks: list[Callable[[PendingAppend], object]] | None = None

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._receipts is not None or self._error is not None

    def result(self, timeout: float | None = None) -> Receipt:
        """The receipt; waits at most `timeout` seconds (`TimeoutError`). Raises what the append raised."""
        if not self.done():
            self._stream.wait_for(self, timeout)
        if self._error is not None:
            raise self._error
        assert self._receipts is not None
        return self._receipts[self._position]

    def add_done_callback(self, callback: Callable[[PendingAppend], object]) -> None:
        """Call `callback(self)` in the stream's thread when the outcome is known; at once when it is."""
        with self._stream.mutex:
            if not self.done():
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        callback(self)


Outcome = tuple["asyncio.Future[Receipt]", PendingAppend]


def _tell(outcomes: list[Outcome]) -> None:
    """In the loop: one call for all futures of a group."""
    for future, pending in outcomes:
        if future.cancelled():
            continue
        try:
            future.set_result(pending.result(0))
        except Exception as error:  # it belongs to who awaits this future
            future.set_exception(error)


class Stream:
    """Submissions of one `Ledger` in one process."""

    def __init__(self, writer: Writer, heed: Callable[[int], None]) -> None:
        self.pid = os.getpid()
        self._writer = writer
        self._heed = heed
        self._core = writer.usable()
        self._address = int(ffi.cast("uintptr_t", self._core))
        self._pending: deque[PendingAppend] = deque()
        self._ticket = ctypes.addressof(_UNUSED_TICKET)
        self._awaited: dict[PendingAppend, tuple[asyncio.AbstractEventLoop, asyncio.Future[Receipt]]] = {}
        self.mutex = threading.Lock()
        self._done = threading.Condition(self.mutex)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sealedger-stream", daemon=True)
        self._thread.start()

    def submit(self, event: Any) -> PendingAppend:
        """Queue `event`; `EventError` at once when it cannot be stored. Waits only when 64 MiB are queued."""
        return self._submit(event, None)

    def submit_for(self, event: Any, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Receipt]) -> None:
        """Queue `event`, and resolve `future` in `loop`, all of a group in one call."""
        self._submit(event, (loop, future))

    def _submit(
        self, event: Any, awaited: tuple[asyncio.AbstractEventLoop, asyncio.Future[Receipt]] | None
    ) -> PendingAppend:
        payload = events.encode(event)
        pending = PendingAppend(self)
        while True:
            with self.mutex:  # tickets and futures must come in one order
                status = _submit(self._address, payload, len(payload), self._ticket)
                if status == lib.LEDGER_OK:
                    self._pending.append(pending)
                    if awaited is not None:
                        self._awaited[pending] = awaited
                    return pending
            if status == lib.LEDGER_QUEUE_FULL:
                lib.ledger_submit_room(self._core, _WAIT_NS)
            elif status in (lib.LEDGER_BAD_EVENT, lib.LEDGER_TOO_LARGE):
                raise events.explain(event)
            else:
                raise self._writer.error(status, "submitting")

    def wait_for(self, pending: PendingAppend, timeout: float | None) -> None:
        """Until the outcome of `pending` is known."""
        if self.pid != os.getpid():
            raise ForkedHandleError("this future was made before the fork; only the parent knows its outcome")
        with self.mutex:
            if not self._done.wait_for(pending.done, timeout):
                raise TimeoutError("the event is not durable yet; it stays queued")

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
        if status == lib.LEDGER_OK:
            self._settle(count, Receipts(int(outcome.base), int(outcome.time), bytes(rows)), None)
        else:
            self._settle(count, None, self._writer.error(status, "appending a submitted event"))
        if hints:
            self._heed(hints)

    def _settle(self, count: int, receipts: Receipts | None, error: Exception | None) -> None:
        told: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
        called = []
        with self.mutex:
            for position in range(min(count, len(self._pending))):
                pending = self._pending.popleft()
                pending._position = position
                pending._receipts, pending._error = receipts, error
                if pending._callbacks:
                    called.append(pending)
                if self._awaited and (awaited := self._awaited.pop(pending, None)) is not None:
                    told.setdefault(awaited[0], []).append((awaited[1], pending))
            self._done.notify_all()
        for loop, outcomes in told.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, outcomes)
        for pending in called:
            for callback in pending._callbacks or ():
                callback(pending)

    def _fail(self, error: Exception) -> None:
        self._stopping = True
        self._settle(len(self._pending), None, error)

    def drain(self) -> None:
        """Wait until every submitted event is resolved, then end the thread."""
        if self.pid != os.getpid():
            return
        with self.mutex:
            while self._pending and self._thread.is_alive():
                self._done.wait(0.2)
        self._stopping = True
        self._thread.join()
