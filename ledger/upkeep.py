"""One lazy background thread a ledger: prepares the next active file, seals closed segments, closes an old one.

An error of the work is kept for `stats()` and raised by nothing: the next `seal()` meets it in the open."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

__all__ = ["Upkeep"]


class Upkeep:
    """Runs `work(asked)` in a daemon thread: asked after each `wake`, several while it runs being one, and not asked
    when the time of `wake_after` has come."""

    def __init__(self, work: Callable[[bool], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._wanted = self._stopping = False
        self._due: float | None = None
        self._thread: threading.Thread | None = None
        self.error: str | None = None
        _upkeeps.add(self)

    def wake(self) -> None:
        """Have the work done soon. Starts the thread if need be, also in a forked child."""
        with self._changed:
            self._wanted = True
            self._start()

    def wake_after(self, seconds: float) -> None:
        """Have the work done once `seconds` have passed. The last call counts."""
        with self._changed:
            self._due = time.monotonic() + seconds
            self._start()

    def _start(self) -> None:
        self._changed.notify_all()
        if self._stopping or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._run, name="sealedger-upkeep", daemon=True)
        self._thread.start()

    def _wait(self) -> bool | None:
        """Until there is work: was it asked for? None when there is to be none any more."""
        with self._changed:
            while not (self._wanted or self._stopping):
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            asked, self._wanted = self._wanted, False
            if not asked:
                self._due = None
            return None if self._stopping else asked

    def _run(self) -> None:
        while (asked := self._wait()) is not None:
            try:
                self._work(asked)
                self.error = None
            except Exception as error:  # kept for stats(): upkeep must not end the program it serves
                self.error = f"{type(error).__name__}: {error}"

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held it, and the parent's thread is not here."""
        self._changed = threading.Condition()
        self._due = None

    def stop(self) -> None:
        """Wait for running work, and start none."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join()


_upkeeps: weakref.WeakSet[Upkeep] = weakref.WeakSet()


def _renew_all() -> None:
    for upkeep in list(_upkeeps):
        upkeep.renew_lock()


os.register_at_fork(after_in_child=_renew_all)
