"""Join a ledger and its archive: what the shipper asks of `Ledger`, and eviction under the ledger's locks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ledger.archive.archive_manifest import Open, Sign
from ledger.archive.evict import Copies, EvictReport, Recall, evict
from ledger.archive.policy import Policy
from ledger.archive.readable import Readable
from ledger.archive.shipper import Shipper
from ledger.archive.source import Source
from ledger.archive.target import Target
from ledger.encoding.manifest import EVICTED, SHIPPED, ManifestRow
from ledger.engine import Ledger
from ledger.errors import NoKeyError
from ledger.storage import manifests
from ledger.storage.writer import LOCK_SEAL

__all__ = ["LedgerOwner", "evict_segments", "read_evicted", "shipper"]


class LedgerOwner:
    """The shipper's view of an open ledger; any thread."""

    def __init__(self, log: Ledger) -> None:
        self._log = log

    def append_note(self, note: dict[str, Any]) -> None:
        """Durable when it returns."""
        self._log.append_note(note)

    def checkpoint(self) -> None:
        """Sign what is acknowledged now; without a key the archive goes without."""
        try:
            self._log.checkpoint()
        except NoKeyError:
            return

    def root_at(self, size: int) -> bytes | None:
        """The root of the first `size` entries; None when there are fewer."""
        return self._log.root_at(size) if size <= self._log.size else None

    def mark_shipped(self, receipts: dict[int, dict[str, Any]]) -> None:
        """Write the copies to MANIFEST, beside those of other targets."""

        def mark(row: ManifestRow) -> ManifestRow:
            receipt = receipts.get(row.segno)
            if receipt is None:
                return row
            others = [old for old in row.receipts if old["url"] != receipt["url"]]
            state = EVICTED if row.state == EVICTED else SHIPPED
            return replace(row, state=state, receipts=[*others, receipt])

        with self._log._open_writer().locked(LOCK_SEAL):
            manifests.change(self._log.paths, mark)


def shipper(
    log: Ledger,
    target: Target,
    name: str,
    policy: Policy,
    sign: Sign,
    open_statement: Open,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] | None = None,
) -> Shipper:
    """A shipper of `log` to `target`, called `name` in file names. Close it; one at a time for each target."""
    return Shipper(
        *(Source(log.paths), target, name, policy, LedgerOwner(log), sign, open_statement),
        clock=clock,
        sleep=sleep,
        random=random.random,
    )


def read_evicted(log: Ledger, targets: Sequence[Readable]) -> None:
    """Read evicted segments of this handle from these archives from now on, a block or two at a time."""
    log._open_store().attach(Recall(log.paths, {target.url: target for target in targets}))


def evict_segments(
    log: Ledger, segnos: Sequence[int], targets: Sequence[tuple[Readable, Open]], *, min_copies: int, days_min: int = 30
) -> EvictReport:
    """Evict sealed segments that have `min_copies` verified, listed, locked copies; see `ledger.archive.evict`."""
    copies = [Copies(target, log.identity.ledger_id, opened) for target, opened in targets]
    store = log._open_store()
    with log._open_writer().locked(LOCK_SEAL):
        store.refresh()
        now = int(time.time())
        return evict(store, segnos, copies, min_copies=min_copies, now=now, days_min=days_min)
