"""Which indexed paths a path of a query means, and whether all of it is indexed.

A query's path is keys; arrays on the way are invisible. An indexed path has nil where an array's element stands. In
a capped granule some steps are open: what hangs below another key, in an array, or right there is not indexed.
Pure. See docs/format.md "Search index"; csrc/index_paths.c."""

from __future__ import annotations

from collections.abc import Sequence

from ledger._native import lib
from ledger.index.container import GranuleTable

__all__ = ["PathTable"]

Keys = tuple[str, ...]
Elements = tuple[str | None, ...]


class PathTable:
    """The paths of one granule by their keys. Immutable."""

    def __init__(self, table: GranuleTable) -> None:
        self._by_keys: dict[Keys, list[int]] = {}
        for number, (path, *_) in enumerate(table.paths):
            self._by_keys.setdefault(_keys(path), []).append(number)
        self._open = () if table.complete else table.open
        self._known: set[Elements] = set()  # every step that was listed
        if self._open:
            for step in [path for path, *_ in table.paths] + [step for step, _ in self._open]:
                self._known.update(step[:end] for end in range(len(step) + 1))

    def at(self, path: Sequence[str]) -> list[int]:
        """The numbers of the indexed paths that a query's path means."""
        return self._by_keys.get(tuple(path), [])

    def below(self, path: Sequence[str]) -> list[int]:
        """As `at`, and of all paths that go on from there."""
        wanted = tuple(path)
        return [n for keys, found in self._by_keys.items() if keys[: len(wanted)] == wanted for n in found]

    def is_known(self, path: Sequence[str]) -> bool:
        """Is every leaf that a query's path means indexed?"""
        wanted = tuple(path)
        return self._open is not None and not any(self._hides(step, bits, wanted) for step, bits in self._open)

    def is_known_below(self, path: Sequence[str]) -> bool:
        """Is every leaf at or below a query's path indexed?"""
        wanted = tuple(path)
        if not self.is_known(wanted) or self._open is None:
            return False
        return not any(_keys(step)[: len(wanted)] == wanted for step, _ in self._open)

    def _hides(self, step: Elements, bits: int, wanted: Keys) -> bool:
        """May a leaf of the wanted path hang, not indexed, at an open step?"""
        keys = _keys(step)
        if wanted[: len(keys)] != keys:
            return False
        if bits & lib.LEDGER_INDEX_OPEN_NIL:
            return True
        if len(wanted) == len(keys):
            return bool(bits & lib.LEDGER_INDEX_OPEN_LEAF)
        return bool(bits & lib.LEDGER_INDEX_OPEN_KEYS) and (*step, wanted[len(keys)]) not in self._known


def _keys(path: Elements) -> Keys:
    return tuple(key for key in path if key is not None)
