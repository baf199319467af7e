"""Every file name of a ledger, made from numbers and read back strictly.

A name in a folder is either exactly what a number gives, or foreign: reported, left alone, never
opened. No path ever comes from the content of a file. See docs/format.md, first table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

__all__ = ["CheckpointName", "Listing", "Paths", "QuarantineName"]

_U64_END = 1 << 64
_NUMBER = re.compile(r"[0-9]{20}", re.ASCII)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_DIGEST8 = re.compile(r"[0-9a-f]{8}", re.ASCII)
_TARGET = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_TEMPORARY = re.compile(r"[A-Za-z0-9._-]+\.[0-9]+\.tmp", re.ASCII)

Key = TypeVar("Key")


class CheckpointName(NamedTuple):
    """What the name of a checkpoint says: the size it signs, 8 hex digits of its file's SHA-256."""

    size: int
    digest8: str


class QuarantineName(NamedTuple):
    """What the name of a quarantined tail says. `noted`: a "recovered" note names it."""

    segno: int
    offset: int
    digest8: str
    noted: bool


@dataclass(frozen=True, slots=True)
class Listing(Generic[Key]):
    """The names of one folder: `found`, ascending; `temporary` and `foreign` as they are."""

    found: tuple[Key, ...]
    temporary: tuple[str, ...]
    foreign: tuple[str, ...]


class Paths:
    """The names under one ledger directory. Makes nothing and opens nothing but folders to list."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.active_folder = root / "active"
        self.sealed_folder = root / "sealed"
        self.checkpoint_folder = root / "checkpoints"
        self.quarantine_folder = root / "quarantine"
        self.ship_folder = root / "ship"
        self.ledger = root / "LEDGER"
        self.lock = root / "lock"
        self.head = root / "HEAD"
        self.index_key = root / "index-key"

    # ---- names ----------------------------------------------------------------------------------

    def active(self, segno: int) -> Path:
        """The active file of a segment."""
        return self.active_folder / f"{_number(segno)}.act"

    def sealed(self, segno: int) -> Path:
        """The sealed file of a segment."""
        return self.sealed_folder / f"{_number(segno)}.seg"

    def index(self, segno: int) -> Path:
        """The search index beside a sealed file."""
        return self.sealed_folder / f"{_number(segno)}.idx"

    def stub(self, segno: int) -> Path:
        """What stays of an evicted segment."""
        return self.sealed_folder / f"{_number(segno)}.stub"

    def manifest(self, generation: int) -> Path:
        """The manifest of a generation."""
        return self.root / f"MANIFEST-{_number(generation)}"

    def checkpoint(self, size: int, digest8: str) -> Path:
        """The signed note for `size` entries; `digest8`: 8 hex digits of the file's SHA-256."""
        return self.checkpoint_folder / f"{_number(size)}.{_digest(digest8)}"

    def quarantine(self, segno: int, offset: int, digest8: str, *, noted: bool = False) -> Path:
        """Bytes set aside from `offset` of a segment's active file; `digest8` of their SHA-256."""
        place = f"{int(_number(segno))}-{int(_number(offset))}"
        return self.quarantine_folder / f"{place}-{_digest(digest8)}.{'noted' if noted else 'bin'}"

    def ship_log(self, target: str) -> Path:
        """What was shipped to the target of that name: lower-case letters, digits and "-"."""
        if not _TARGET.fullmatch(target):
            raise ValueError(f"{target!r} is no name of a target: a-z, 0-9 and -, at most 64")
        return self.ship_folder / f"{target}.log"

    def ship_pending(self, target: str) -> Path:
        """The signed manifest that is on its way to that target."""
        return self.ship_log(target).with_suffix(".pending")

    @staticmethod
    def temporary(target: Path) -> Path:
        """Where this process builds `target` before it links it to its name, in the same folder."""
        return target.with_name(f"{target.name}.{os.getpid()}.tmp")

    # ---- listings -------------------------------------------------------------------------------

    def list_active(self) -> Listing[int]:
        """The segment numbers that have an active file. A missing folder holds nothing."""
        return _list(self.active_folder, lambda name: _parse_number(name, "", ".act"))

    def list_sealed(self) -> Listing[int]:
        """The segment numbers that have a sealed file."""
        return _list(
            self.sealed_folder,
            lambda name: _parse_number(name, "", ".seg"),
            lambda name: any(_parse_number(name, "", suffix) is not None for suffix in (".idx", ".stub")),
        )

    def list_stubs(self) -> Listing[int]:
        """The segment numbers of evicted segments."""
        return _list(
            self.sealed_folder,
            lambda name: _parse_number(name, "", ".stub"),
            lambda name: any(_parse_number(name, "", suffix) is not None for suffix in (".idx", ".seg")),
        )

    def list_manifests(self) -> Listing[int]:
        """The generations of the manifest. `foreign`: what else should not be in the ledger."""
        own = {
            *(self.ledger.name, self.lock.name, self.head.name, self.index_key.name),
            *(self.active_folder.name, self.sealed_folder.name),
            *(self.checkpoint_folder.name, self.quarantine_folder.name, self.ship_folder.name),
        }
        return _list(self.root, lambda name: _parse_number(name, "MANIFEST-", ""), own.__contains__)

    def list_checkpoints(self) -> Listing[CheckpointName]:
        """The checkpoints by size. Cosignatures and timestamps beside them are not foreign."""
        return _list(
            self.checkpoint_folder,
            _parse_checkpoint,
            lambda name: name.endswith((".cosig", ".tsr")) and _parse_checkpoint(name.rsplit(".", 1)[0]) is not None,
        )

    def list_ship_logs(self) -> Listing[str]:
        """The names of the targets that something was shipped to."""
        return _list(
            self.ship_folder,
            _parse_ship_log,
            lambda name: _parse_ship_log(name.removesuffix(".pending") + ".log") is not None,
        )

    def list_quarantine(self) -> Listing[QuarantineName]:
        """What recovery has set aside."""
        return _list(self.quarantine_folder, _parse_quarantine)


def _list(
    folder: Path,
    parse: Callable[[str], Key | None],
    known: Callable[[str], bool] = lambda name: False,
) -> Listing[Key]:
    """Sort the names of `folder`: what `parse` reads, temporary ones, the rest not `known`."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        names = []
    parsed = [(name, parse(name)) for name in names]
    rest = [name for name, key in parsed if key is None]
    temporary = tuple(name for name in rest if _TEMPORARY.fullmatch(name))
    foreign = tuple(name for name in rest if name not in temporary and not known(name))
    found = tuple(sorted(key for _, key in parsed if key is not None))  # type: ignore[type-var]
    return Listing(found, temporary, foreign)


def _number(value: int) -> str:
    if not 0 <= value < _U64_END:
        raise ValueError(f"{value} is not an unsigned 64-bit number")
    return f"{value:020}"


def _digest(digest8: str) -> str:
    if not _DIGEST8.fullmatch(digest8):
        raise ValueError(f"{digest8!r} is not 8 lower-case hex digits")
    return digest8


def _parse_number(name: str, prefix: str, suffix: str) -> int | None:
    if not (name.startswith(prefix) and name.endswith(suffix)):
        return None
    digits = name[len(prefix) : len(name) - len(suffix)]
    if not _NUMBER.fullmatch(digits) or int(digits) >= _U64_END:
        return None
    return int(digits)


def _parse_checkpoint(name: str) -> CheckpointName | None:
    size = _parse_number(name[:20], "", "")
    if size is None or name[20:21] != "." or not _DIGEST8.fullmatch(name[21:]):
        return None
    return CheckpointName(size, name[21:])


def _parse_ship_log(name: str) -> str | None:
    target = name.removesuffix(".log")
    return target if target != name and _TARGET.fullmatch(target) else None


def _parse_quarantine(name: str) -> QuarantineName | None:
    stem, _, suffix = name.rpartition(".")
    parts = stem.split("-")
    if suffix not in ("bin", "noted") or len(parts) != 3 or not _DIGEST8.fullmatch(parts[2]):
        return None
    if not all(_DECIMAL.fullmatch(part) and int(part) < _U64_END for part in parts[:2]):
        return None
    return QuarantineName(int(parts[0]), int(parts[1]), parts[2], suffix == "noted")
