"""One lazy background thread a ledger: prepares the next active file and seals closed segments.

An error of the work is kept for `stats()` and raised by nothing: the next `seal()` meets it in the open."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Upkeep"]


class Upkeep:
    """Runs `work` in a daemon thread after each `wake`; several wakes while it runs are one."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._wanted = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.error: str | None = None

    def wake(self) -> None:
        """Have the work done soon. Starts the thread if need be, also in a forked child."""
        with self._lock:
            self._wanted.set()
            if self._stopping or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="sealedger-upkeep", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            with self._lock:
                if self._stopping:
                    return
            try:
                self._work()
                self.error = None
            except Exception as error:  # kept for stats(): upkeep must not end the program it serves
                self.error = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Wait for running work, and start none."""
        with self._lock:
            self._stopping = True
            self._wanted.set()
            thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join()
