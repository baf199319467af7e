"""Appends that nobody waits for: futures over the core's commit thread.

`submit` calls C through `ctypes.PYFUNCTYPE`, which keeps the GIL: beside a busy thread a release costs a whole
switch interval, and the call is a copy under a mutex. Finished requests come back in the order of submission; whoever
waits for one collects all that have finished, one thread at a time, so no thread of ours stands between the core and
the caller. An event loop collects when the core's eventfd says so."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ledger._native import ffi, lib
from ledger.encoding import event as events
from ledger.encoding.arrays import array_length
from ledger.errors import EventError, ForkedHandleError, LedgerError
from ledger.storage.writer import Writer
from ledger.types import Receipt, Receipts

if TYPE_CHECKING:
    import asyncio

__all__ = ["Awaited", "PendingAppend", "PendingBatch", "QueueFullError", "Stream"]

_WAIT_NS: Final = 200_000_000
_COLLECT_EVERY: Final = 256  # submissions, so that what finished is taken and upkeep hears of it


def _keeps_gil(name: str, *arguments: Any) -> Any:
    address = int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
    return ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *arguments)(address)


_submit = _keeps_gil("ledger_submit", ctypes.c_char_p, ctypes.c_uint64)
_submit_batch = _keeps_gil("ledger_submit_batch", ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p)
_completed = _keeps_gil("ledger_completed", ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)


class QueueFullError(LedgerError):
    """64 MiB are submitted and not yet taken; nothing of this call was queued. Wait for an earlier one."""


class Pending:
    """Something submitted, whose outcome comes later. It cannot be cancelled: it is on its way. Made before a fork,
    it raises `ForkedHandleError` in the child; the parent knows the outcome."""

    __slots__ = ("_callbacks", "_error", "_position", "_receipts", "_stream", "count")

    def __init__(self, stream: Stream, count: int) -> None:
        self.count = count
        self._stream = stream
        self._receipts: Receipts | None = None
        self._position = 0
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Any], object]] | None = None

    def done(self) -> bool:
        """Whether the outcome is known to this process; asking collects nothing."""
        return self._receipts is not None or self._error is not None

    def _wait(self, timeout: float | None) -> Receipts:
        if not self.done():
            self._stream.wait_for(self, timeout)
        if self._error is not None:
            raise self._error
        assert self._receipts is not None
        return self._receipts

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call `callback(self)` when the outcome is known, in a thread of the stream; at once when it is."""
        if not self._stream.call_when_done(self, callback):
            callback(self)


class PendingAppend(Pending):
    """One submitted event: `result()` is its `Receipt`, once it is durable. Any thread may ask."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> Receipt:
        """The receipt; waits at most `timeout` seconds (`TimeoutError`). Raises what the append raised."""
        return self._wait(timeout)[self._position]


class PendingBatch(Pending):
    """A submitted batch: `result()` is its `Receipts`, once all of it is durable. Any thread may ask."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> Receipts:
        """The receipts; waits at most `timeout` seconds (`TimeoutError`). Raises what the append raised."""
        return self._wait(timeout)


class Awaited(Pending):
    """A batch of events, each awaited by a task of one event loop."""

    __slots__ = ("_futures", "loop")

    def __init__(self, stream: Stream, loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[Receipt]]) -> None:
        super().__init__(stream, len(futures))
        self.loop = loop
        self._futures = futures

    def tell(self) -> None:
        """In the loop: resolve every future of the batch."""
        for position, future in enumerate(self._futures):
            if future.done():
                continue  # its task was cancelled; the event is stored all the same
            if self._receipts is not None:
                future.set_result(self._receipts[position])
            elif self._error is not None:
                future.set_exception(self._error)


class Stream:
    """Submissions of one `Ledger` in one process."""

    def __init__(self, writer: Writer, heed: Callable[[int], None]) -> None:
        self.pid = os.getpid()
        self._writer = writer
        self._heed = heed
        self._core = writer.usable()
        self._address = int(ffi.cast("uintptr_t", self._core))
        self._request, self._outcome = ffi.new("ledger_request **"), ffi.new("ledger_outcome *")
        self._pointers = [int(ffi.cast("uintptr_t", p)) for p in (self._request, self._outcome)]
        self._refusal = ffi.new("ledger_outcome *")
        self._refusal_address = int(ffi.cast("uintptr_t", self._refusal))
        self._pending: deque[Pending] = deque()
        self._submitted = 0
        self._failed: Exception | None = None
        self._mutex = threading.Lock()  # the order of submissions is the order of _pending
        self._changed = threading.Condition(self._mutex)
        self._collecting = False
        self._callbacks_wanted = self._stopping = False
        self._thread: threading.Thread | None = None
        self._loops: set[asyncio.AbstractEventLoop] = set()

    # ---- submitting ---------------------------------------------------------------------------------

    def submit(self, event: Any) -> PendingAppend:
        """Queue `event`; `EventError` at once when it cannot be stored. Waits only when 64 MiB are queued."""
        payload = events.encode(event)
        pending = PendingAppend(self, 1)
        while True:
            with self._mutex:
                self._check()
                status = _submit(self._address, payload, len(payload))
                if status == lib.LEDGER_OK:
                    self._pending.append(pending)
                    self._submitted += 1
                    break
            if status in (lib.LEDGER_BAD_EVENT, lib.LEDGER_TOO_LARGE):
                raise events.explain(event)
            self._make_room(status)
        if self._submitted % _COLLECT_EVERY == 0:
            self._try_collect(0)
        return pending

    def submit_many(self, batch: list[Any]) -> PendingBatch:
        """Queue events as one batch, all or none; the rest as `submit`."""
        blob, pending = events.encode_many(batch), PendingBatch(self, len(batch))
        if not batch:
            pending._receipts = Receipts(0, 0, b"")
            return pending
        try:
            while not self._submit_packed(blob, pending):
                self._make_room(lib.LEDGER_QUEUE_FULL)
        except EventError as error:
            position = error.position or 0
            raise events.explain(batch[position], position=position, cause=error) from None
        self._try_collect(0)
        return pending

    def submit_awaited(
        self, blob: bytes, loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[Receipt]]
    ) -> None:
        """Queue packed events, one a future, from the thread of `loop`; each future is resolved in the loop.

        Raises `EventError` with the position of an event that cannot be stored (nothing was queued), and
        `QueueFullError`. Never waits."""
        if loop not in self._loops:
            self._loops.add(loop)
            loop.add_reader(lib.ledger_completed_event(self._core), self._collect_in, loop)
        if not self._submit_packed(blob, Awaited(self, loop, futures)):
            raise QueueFullError("64 MiB are submitted and not yet durable; nothing of this call was queued")

    def _submit_packed(self, blob: bytes, pending: Pending) -> bool:
        """False: no room."""
        with self._mutex:
            self._check()
            status = _submit_batch(self._address, blob, len(blob), array_length(blob), self._refusal_address)
            if status == lib.LEDGER_OK:
                self._pending.append(pending)
                return True
            if status == lib.LEDGER_QUEUE_FULL:
                return False
            raise self._writer.refusal(status, self._refusal) or self._writer.error(status, "submitting")

    def _check(self) -> None:
        if self._failed is not None:
            raise LedgerError(
                f"an earlier submission met: {self._failed}. What was acknowledged is safe; open the ledger anew"
            ) from self._failed

    def _make_room(self, status: int) -> None:
        if status != lib.LEDGER_QUEUE_FULL:
            raise self._writer.error(status, "submitting")
        with self._mutex:
            oldest = self._pending[0] if self._pending else None
        if oldest is not None:
            self.wait_for(oldest, None)

    # ---- collecting ---------------------------------------------------------------------------------

    def wait_for(self, pending: Pending, timeout: float | None) -> None:
        """Until the outcome of `pending` is known. Raises `TimeoutError`."""
        if self.pid != os.getpid():
            raise ForkedHandleError("this future was made before the fork; only the parent knows its outcome")
        until = None if timeout is None else time.monotonic() + timeout
        while not pending.done():
            left = _WAIT_NS if until is None else min(_WAIT_NS, int((until - time.monotonic()) * 1e9))
            if left <= 0:
                raise TimeoutError("the event is not durable yet; it stays queued")
            if not self._try_collect(left):
                with self._mutex:
                    if self._collecting and not pending.done():
                        self._changed.wait(left / 1e9)

    def _try_collect(self, wait_ns: int, here: asyncio.AbstractEventLoop | None = None) -> bool:
        """Take all that has finished, waiting for the first; False when another thread is at it."""
        with self._mutex:
            if self._collecting:
                return False
            self._collecting = True
        try:
            if wait_ns:
                status = lib.ledger_completed(self._core, wait_ns, self._request, self._outcome)
            else:
                status = _completed(self._address, 0, *self._pointers)
            while status == lib.LEDGER_OK:
                self._resolve(here)
                status = _completed(self._address, 0, *self._pointers)
            if status == lib.LEDGER_RECOVER:
                self._recover()
        finally:
            with self._mutex:
                self._collecting = False
                self._changed.notify_all()
        return True

    def _collect_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """The core's eventfd is readable. Read only by who collects: else a finished request could be forgotten."""
        with contextlib.suppress(BlockingIOError):
            if not self._collecting:
                os.read(lib.ledger_completed_event(self._core), 8)
                self._try_collect(0, loop)

    def _recover(self) -> None:
        try:
            self._writer.recover()
        except Exception as error:  # handed to everything that waits: none of it can be stored now
            with self._mutex:
                self._failed = error
                left = sum(pending.count for pending in self._pending)
            self._settle(left, None, error, None)

    def _resolve(self, here: asyncio.AbstractEventLoop | None) -> None:
        outcome = self._outcome
        count, status, hints = int(outcome.count), int(outcome.status), int(outcome.hints)
        base, time_ns = int(outcome.base), int(outcome.time)
        rows = bytearray(count * 120)
        lib.ledger_completed_take(self._core, self._request[0], ffi.from_buffer("uint8_t[]", rows))
        if status == lib.LEDGER_OK:
            self._settle(count, Receipts(base, time_ns, rows), None, here)
        else:
            self._settle(count, None, self._writer.error(status, "appending a submitted event"), here)
        if hints:
            self._heed(hints)

    def _settle(
        self,
        count: int,
        receipts: Receipts | None,
        error: Exception | None,
        here: asyncio.AbstractEventLoop | None,
    ) -> None:
        settled, position = [], 0
        with self._mutex:
            while position < count and self._pending:
                pending = self._pending.popleft()
                pending._position = position
                pending._receipts, pending._error = receipts, error
                position += pending.count
                if pending._callbacks or isinstance(pending, Awaited):
                    settled.append(pending)
            self._changed.notify_all()
        for pending in settled:
            if isinstance(pending, Awaited):
                _tell(pending, here)
            for callback in pending._callbacks or ():
                callback(pending)

    # ---- callbacks and the end ----------------------------------------------------------------------

    def call_when_done(self, pending: Pending, callback: Callable[[Any], object]) -> bool:
        """Have `callback` called; False when the outcome is known already."""
        with self._mutex:
            if pending.done():
                return False
            pending._callbacks = [*(pending._callbacks or ()), callback]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sealedger-stream", daemon=True)
                self._thread.start()
        return True

    def _run(self) -> None:
        """Somebody has to collect for callbacks that nobody waits for."""
        while not self._stopping:
            if not self._try_collect(_WAIT_NS):
                with self._mutex:
                    self._changed.wait(_WAIT_NS / 1e9)

    def forget_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop ends, or has no more use for the ledger."""
        if loop in self._loops:
            self._loops.discard(loop)
            loop.remove_reader(lib.ledger_completed_event(self._core))

    def drain(self) -> None:
        """Wait until every submitted event is resolved."""
        if self.pid != os.getpid():
            return
        while self._pending:
            self.wait_for(self._pending[-1], None)
        self._stopping = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _tell(awaited: Awaited, here: asyncio.AbstractEventLoop | None) -> None:
    if awaited.loop is here:
        awaited.tell()
    elif not awaited.loop.is_closed():
        awaited.loop.call_soon_threadsafe(awaited.tell)
