"""The half of a target that asks and changes nothing: enough for restore, audit and eviction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ledger.archive.target import Version

__all__ = ["Readable"]


class Readable(Protocol):
    """A target, or one that is asked with patience. Methods as those of `Target`."""

    @property
    def url(self) -> str:
        """Names the bucket and prefix."""

    def stat(self, key: str, version: str | None = None) -> Version:
        """A version with its lock."""

    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes:
        """Bytes of a version."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """All versions and markers."""
