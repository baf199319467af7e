"""The reading half of `Ledger`: what any open ledger answers, and what needs no writer."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from ledger.encoding import event as events
from ledger.encoding.identity import as_map
from ledger.merkle import tree
from ledger.storage.sealed import SealedSegment
from ledger.storage.store import Item, Store

if TYPE_CHECKING:
    from ledger.query.regex import Residual
    from ledger.query.search import Search

__all__ = ["Reading"]


class Reading(ABC):
    """Reads of one open ledger. Any thread; each sees what is acknowledged when it begins, by any process."""

    _search: Search | None = None

    @abstractmethod
    def _open_store(self) -> Store:
        """The store; raises `ClosedError`."""

    # ---- state --------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Entries acknowledged, events and notes, by any process."""
        return self._open_store().refresh()

    @property
    def root(self) -> bytes:
        """RFC 6962 root over all acknowledged entries. Cost: O(log n) node hashes."""
        return self.root_at(self.size)

    def root_at(self, size: int) -> bytes:
        """RFC 6962 root of the first `size` entries."""
        return tree.root(size, self._open_store().node)

    @property
    def segments(self) -> list[dict[str, Any]]:
        """Number, base, end and state ("active" or "sealed") of each segment."""
        return self._open_store().describe()

    def __len__(self) -> int:
        """Events (kind 0). Cost: O(unsealed entries)."""
        return self._open_store().count_events()

    def prove_consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The hashes that show the tree of `old` entries to be a prefix of that of `new` (RFC 9162 §2.1.4.1)."""
        return tree.consistency_proof(old, self.size if new is None else new, self._open_store().node)

    def sealed_segments(self) -> list[SealedSegment]:
        """The sealed segments that are open, oldest first."""
        self._open_store().refresh()
        return [segment for segment in self._open_store().segments() if isinstance(segment, SealedSegment)]

    # ---- read ---------------------------------------------------------------------------------------

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The event or note at `index` (negative: from the end). `IndexError` outside."""
        index = self._index(index)
        payload = self._open_store().payload(index)
        return events.unpack(payload) if index else as_map(payload)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The events (kind 0) acknowledged by now, in order."""
        return chain.from_iterable(map(events.unpack_list, self._open_store().payloads(0, self.size)))

    def payloads(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The stored bytes of the events (kind 0) among entries [begin, end), in order: the quickest way through."""
        return chain.from_iterable(
            self._open_store().payloads(begin, self.size if end is None else min(end, self.size))
        )

    def entries(self, begin: int = 0, end: int | None = None) -> Iterator[Item]:
        """Entries [begin, end) with index, kind, time and payload bytes; `end` defaults to the size now."""
        return self._open_store().items(begin, self.size if end is None else min(end, self.size))

    def payload(self, index: int) -> bytes:
        """The stored bytes at `index`."""
        return self._open_store().payload(self._index(index))

    def entry(self, index: int) -> bytes:
        """The 104 hashed bytes at `index`, rebuilt from what is stored."""
        return self._open_store().entry(self._index(index))[0]

    def salt(self, index: int) -> bytes:
        """The 16 bytes that salt the commitment at `index`: give them only to who may see the event."""
        return self._open_store().entry(self._index(index))[1]

    def _index(self, index: int) -> int:
        return index + self.size if index < 0 else index

    def tail(
        self, after: int | None = None, *, follow: bool = False, where: Any = None, poll_s: float = 0.05
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """(index, event) of events after index `after` (default: from now on); with `follow`, for ever. Sees each
        event of any process once, through roll and seal. `where`: a filter, as of `query`, that C evaluates."""
        at = self.size if after is None else after + 1
        residual = self._residual(where)
        while True:
            end = self.size
            for block in self._open_store().blocks(at, end):
                for position in residual.matching(block):
                    if at <= block.base + position < end:
                        yield block.base + position, events.unpack(block.payload(position))
            at = max(at, end)
            if not follow:
                return
            time.sleep(poll_s)

    def _residual(self, where: Any) -> Residual:
        from ledger.query.ast import And, Kind
        from ledger.query.normal import normalize
        from ledger.query.regex import Residual
        from ledger.query.text import parse

        node = parse(where) if isinstance(where, str) else where
        return Residual(normalize(And((Kind(False),) if node is None else (node, Kind(False)))))

    def query(self, filter: Any = None, **options: Any) -> Iterator[dict[str, Any]]:
        """The events that match, newest first: `log.query('actor_id:u1 -action:read time:>=now-7d', limit=50)`.
        See `search` for filters, options and all else."""
        return self.search.events(filter, **options)

    @property
    def search(self) -> Search:
        """Search by filters: rows, counts, facets, histograms, pages (`ledger.query.search.Search`)."""
        store = self._open_store()
        if self._search is None:
            from ledger.query.search import Search

            self._search = Search.of(store)
        return self._search
