"""What an object store must do for an archive: versions, locks that hold, and never an overwrite.

A version, once put, never changes; a lock is never made shorter or weaker. What a store claims of itself is only
claimed: the shipper re-reads each version, and a doctor tries the locks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Lock", "Receipt", "Target", "Version"]


@dataclass(frozen=True, slots=True)
class Lock:
    """`mode`: "COMPLIANCE" (nobody can shorten it) or "GOVERNANCE" (some roles can). `until`: whole UTC seconds."""

    mode: str
    until: int


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker. `sha256` None: the store does not tell. `modified`: UTC seconds.
    From a listing `lock` may be None although there is one: ask with `stat`."""

    key: str
    version: str
    length: int
    sha256: bytes | None
    modified: int
    latest: bool
    marker: bool
    lock: Lock | None
    hold: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a put answered. It proves nothing yet."""

    key: str
    version: str
    sha256: bytes
    length: int
    lock: Lock | None
    hold: bool
    checked_at: int


class Target(Protocol):
    """One bucket and prefix. Any thread. Raises `ArchiveError`s; those with `retryable` may pass by themselves."""

    url: str

    def put(
        self,
        key: str,
        data: bytes | Path,
        sha256: bytes,
        lock: Lock | None,
        *,
        hold: bool = False,
        if_absent: bool = True,
    ) -> Receipt:
        """Store a new version, in one request. `ObjectExistsError` when `if_absent` and something is there."""

    def stat(self, key: str, version: str | None = None) -> Version:
        """A version (default: the latest) with its lock. `ObjectMissingError` for none and for a marker."""

    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes:
        """Bytes of a version from `begin` (negative: from the end), fewer when it ends before."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """All versions and markers of all keys that begin so, by key, the oldest first within one."""

    def extend(self, key: str, version: str, lock: Lock) -> None:
        """Set or lengthen a lock. `RetentionError` for a shorter or weaker one."""

    def delete_marker(self, key: str, version: str) -> None:
        """Remove a delete marker; refuses to remove data."""

    def server_time(self) -> int:
        """The store's clock, UTC seconds."""
