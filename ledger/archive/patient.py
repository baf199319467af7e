"""A target whose questions are asked again while the failure may pass: for restore, audit and eviction.

Puts are not: they go through the journal. Waits are those of `pace`; after `tries_max` in a row the last error is
raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ledger.archive.pace import Pace
from ledger.archive.readable import Readable
from ledger.archive.target import Version
from ledger.errors import ArchiveError

__all__ = ["Patient"]

Answer = TypeVar("Answer")


class Patient:
    """Asks `inner`. Any thread."""

    def __init__(
        self, inner: Readable, *, sleep: Callable[[float], None], random: Callable[[], float], tries_max: int = 8
    ) -> None:
        """`random` gives floats in [0, 1)."""
        self.inner, self.url = inner, inner.url
        self._sleep, self._random, self._tries_max = sleep, random, tries_max

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        pace = Pace(self._random)
        for _ in range(self._tries_max - 1):
            try:
                return question()
            except ArchiveError as error:
                if not error.retryable:
                    raise
                self._sleep(pace.failed(error))
        return question()

    def stat(self, key: str, version: str | None = None) -> Version:
        """As the target's."""
        return self._ask(lambda: self.inner.stat(key, version))

    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes:
        """As the target's."""
        return self._ask(lambda: self.inner.read(key, version, begin, length))

    def versions(self, prefix: str) -> Iterator[Version]:
        """As the target's; a listing that breaks off is begun again, so all of it is held in memory."""
        return iter(self._ask(lambda: list(self.inner.versions(prefix))))
