"""AsyncLedger: the same ledger for an event loop; no call blocks the loop for a disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from ledger.encoding import event as events
from ledger.encoding.arrays import packed_array
from ledger.engine import Ledger
from ledger.errors import EventError
from ledger.stream import QueueFullError
from ledger.types import Receipt, Receipts

__all__ = ["AsyncLedger"]


_GATHERED_BYTES_MAX: Final = 4 << 20
_GATHERED_EVENTS_MAX: Final = 32  # so that the core writes the first while the loop runs more tasks
_RETRY_S: Final = 0.001


class _Gathered:
    """The appends of one turn of an event loop, to be submitted together. One thread: the loop's."""

    def __init__(self, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger = ledger
        self._loop = loop
        self._clear()

    def _clear(self) -> None:
        self._bytes = 0
        self._payloads: list[bytes] = []
        self._sources: list[Mapping[str, Any]] = []
        self._futures: list[asyncio.Future[Receipt]] = []

    def add(self, event: Mapping[str, Any]) -> asyncio.Future[Receipt]:
        """The future of `event`. Raises `EventError` for what cannot be packed."""
        payload = events.encode(event)
        future: asyncio.Future[Receipt] = self._loop.create_future()
        if not self._payloads:
            self._loop.call_soon(self._flush)
        self._payloads.append(payload)
        self._sources.append(event)
        self._futures.append(future)
        self._bytes += len(payload)
        if self._bytes >= _GATHERED_BYTES_MAX or len(self._payloads) >= _GATHERED_EVENTS_MAX:
            self._flush()
        return future

    def _flush(self) -> None:
        payloads, sources, futures = self._payloads, self._sources, self._futures
        self._clear()
        while payloads:
            try:
                self._ledger.stream().submit_awaited(packed_array(payloads), self._loop, futures)
                return
            except QueueFullError:
                self._loop.call_later(_RETRY_S, self._flush)
                self._payloads, self._sources, self._futures = payloads, sources, futures
                return
            except EventError as error:  # the one that cannot be stored; the rest goes on
                at = error.position or 0
                _fail(futures.pop(at), events.explain(sources.pop(at), cause=error))
                del payloads[at]
            except Exception as error:  # it belongs to everybody who awaits
                for future in futures:
                    _fail(future, error)
                return

    def close(self) -> None:
        """Submit what has gathered, and let the loop go; the core resolves what is under way."""
        self._flush()
        self._ledger.stream().forget_loop(self._loop)


def _fail(future: asyncio.Future[Receipt], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class AsyncLedger:
    """`async with AsyncLedger(path) as log: await log.append(event)`. Options as `Ledger`'s. In place of a path it
    takes an open `Ledger`, which it leaves open.

    Appends of all tasks gather in one queue and share syncs; each `await` returns when durable. Other calls run
    in the loop's executor. `ledger` is the `Ledger` inside."""

    def __init__(self, path: str | os.PathLike[str] | Ledger, **options: Any) -> None:
        self.ledger: Ledger
        self._open: Callable[[], Ledger] | None = None
        if isinstance(path, Ledger):
            self.ledger = path
        else:
            self._open = partial(Ledger, path, **options)
        self._gathered: dict[asyncio.AbstractEventLoop, _Gathered] = {}

    async def __aenter__(self) -> Self:
        if self._open is not None:
            self.ledger = await asyncio.get_running_loop().run_in_executor(None, self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        if (gathered := self._gathered.pop(loop, None)) is not None:
            gathered.close()
        if self._open is not None:
            await self._run(self.ledger.close)

    async def _run(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)

    async def append(self, event: Mapping[str, Any]) -> Receipt:
        """Append one event; durable when it returns. Cancelling the task does not take the event back.

        The event is packed before anything else runs; it may change after. Cost: the events of all tasks that
        run in one turn of the loop are one call into C and one batch."""
        loop = asyncio.get_running_loop()
        gathered = self._gathered.get(loop)
        if gathered is None:
            gathered = self._gathered[loop] = _Gathered(self.ledger, loop)
        return await gathered.add(event)

    async def append_many(self, batch: Iterable[Mapping[str, Any]]) -> Receipts:
        """Append events as one batch, all or nothing; durable when it returns."""
        receipts: Receipts = await self._run(self.ledger.append_many, list(batch))
        return receipts

    async def get(self, index: int) -> dict[str, Any]:
        """The event or note at `index`."""
        event: dict[str, Any] = await self._run(self.ledger.__getitem__, index)
        return event

    async def checkpoint(self) -> str:
        """Sign the acknowledged size and root."""
        note: str = await self._run(self.ledger.checkpoint)
        return note
