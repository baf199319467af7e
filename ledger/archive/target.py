"""What an object store must do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Lock", "Receipt", "Target", "Version"]


@dataclass(frozen=True, slots=True)
class Lock:
    mode: str
    until: int


@dataclass(frozen=True, slots=True)
class Version:
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
    key: str
    version: str
    sha256: bytes
    length: int
    lock: Lock | None
    hold: bool
    checked_at: int


class Target(Protocol):
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
    ) -> Receipt: ...
    def stat(self, key: str, version: str | None = None) -> Version: ...
    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes: ...
    def versions(self, prefix: str) -> Iterator[Version]: ...
    def extend(self, key: str, version: str, lock: Lock) -> None: ...
    def hold(self, key: str, version: str, on: bool) -> None: ...
    def delete_marker(self, key: str, version: str) -> None: ...
    def server_time(self) -> int: ...
    def capabilities(self) -> Any: ...
