"""AsyncLedger: the same ledger for an event loop; no call blocks the loop for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from ledger.engine import Ledger
from ledger.types import Receipt, Receipts

__all__ = ["AsyncLedger"]


class AsyncLedger:
    """`async with AsyncLedger(path) as log: await log.append(event)`. Options as `Ledger`'s.

    Appends of all tasks gather in one queue and share syncs; each `await` returns when durable. Other calls run
    in the loop's executor. `ledger` is the `Ledger` inside."""

    def __init__(self, path: str, **options: Any) -> None:
        self._open = partial(Ledger, path, **options)
        self.ledger: Ledger

    async def __aenter__(self) -> Self:
        self.ledger = await asyncio.get_running_loop().run_in_executor(None, self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run(self.ledger.close)

    async def _run(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)

    async def append(self, event: Mapping[str, Any]) -> Receipt:
        """Append one event; durable when it returns. Cancelling the task does not take the event back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        self.ledger.stream().submit_for(event, loop, future)
        return await future

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
