"""Work done a little ahead of its consumer, in another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Result = TypeVar("Result")


def ahead(work: Callable[..., Result], arguments: Sequence[tuple[object, ...]], threads: int = 1) -> Iterator[Result]:
    """`work(*arguments[0])`, `work(*arguments[1])`, … in order, up to `threads` + 1 of them begun ahead.

    For work that releases the GIL. With `threads` = 0, or a single piece of work, it is done in the caller's thread.
    What it raises is raised at its place, after the results before it; a consumer that stops early waits for what
    runs, and the rest is dropped."""
    if threads == 0 or len(arguments) <= 1:
        yield from (work(*one) for one in arguments)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ledger-ahead")
    begun: deque[Future[Result]] = deque()
    try:
        for one in arguments:
            begun.append(pool.submit(work, *one))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
