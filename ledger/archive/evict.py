"""Drop the blocks of sealed segments here, and read them back from the archive when they are asked for.

A segment goes only when `min_copies` different targets each have it **now**: the newest manifest that opens lists
it, with the SHA-256 of the local file, which is read once more; and the listed version is there, with these bytes
and a lock that is not about to end [EVICT-1]. What the host remembers of shipping counts for nothing.

Steps, under lock byte 1, and what a crash after each leaves:
(1) the stub, synced                       stub and sealed file: the sealed file serves
(2) MANIFEST says evicted                  as above; the next eviction goes on
(3) the sealed file unlinked, synced       done; readers that have it open go on reading"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger.archive import keys
from ledger.archive.archive_manifest import Open, Row
from ledger.archive.chain import all_rows, list_manifests
from ledger.archive.compare import same_bytes
from ledger.archive.readable import Readable
from ledger.archive.source import file_digest
from ledger.encoding.manifest import EVICTED, ManifestRow
from ledger.errors import ArchiveError, CorruptionError, EvictedError, UsageError
from ledger.storage import manifests
from ledger.storage.files import publish_file, sync_folder, translated
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment
from ledger.storage.store import Store
from ledger.storage.stub import EvictedSegment, encode_stub

__all__ = ["Copies", "EvictReport", "Recall", "evict"]

_DAY_S = 86_400


@dataclass
class EvictReport:
    """`evicted`: segment numbers; `kept`: why others stay; `freed_bytes` on the disk, less the stubs."""

    evicted: list[int] = field(default_factory=list)
    kept: dict[int, str] = field(default_factory=dict)
    freed_bytes: int = 0


class Copies:
    """What one target has of a ledger, by its newest signed manifest, asked for once."""

    def __init__(self, target: Readable, ledger_id: bytes, open_statement: Open) -> None:
        """Raises what the target raises. Nothing counts when no manifest opens."""
        self.target = target
        self.rows: dict[int, Row] = {}
        newest = list_manifests(target, ledger_id).newest(target, open_statement)
        for row in () if newest is None else all_rows(target, newest.manifest, open_statement):
            key = keys.parse(row.key)
            if key is not None and key.ledger_id == ledger_id and key.kind == "seg":
                self.rows[key.number] = row

    def missing(self, segno: int, sha256: bytes, length: int, until_min: int) -> str | None:
        """Why this copy of a segment does not count now, or None when it does. One stat."""
        row = self.rows.get(segno)
        if row is None or row.sha256 != sha256.hex() or row.length != length:
            return "the newest manifest does not list these bytes"
        try:
            found = self.target.stat(row.key, row.version)
        except ArchiveError as error:
            return f"the listed version cannot be asked for: {error}"
        if not same_bytes(self.target, found, sha256, length):
            return "the listed version has other bytes"
        if found.lock is None or found.lock.until < until_min:
            return f"it is not locked for long enough ({found.lock})"
        return None


def evict(
    store: Store, segnos: Sequence[int], copies: Sequence[Copies], *, min_copies: int, now: int, days_min: int = 30
) -> EvictReport:
    """Evict those of the sealed segments that have `min_copies` copies, each locked for `days_min` days from `now`
    (UTC seconds) on. The caller holds lock byte 1. Durable when it returns; a segment that does not qualify stays
    as it is and is in the report.

    `UsageError` when `copies` are fewer than `min_copies`, that is below 1, or two are of one target."""
    if not 1 <= min_copies <= len(copies) or len({copy.target.url for copy in copies}) != len(copies):
        raise UsageError(
            f"{min_copies} copies are asked for and {len(copies)} targets given, which must be different ones; nothing "
            "was evicted"
        )
    report = EvictReport()
    sealed = {s.segno: s for s in store.segments() if isinstance(s, SealedSegment)}
    for segno in segnos:
        segment = sealed.get(segno)
        if segment is None or isinstance(segment, EvictedSegment):
            report.kept[segno] = "evicted already" if segment is not None else "not sealed"
            continue
        refused = _refused(segment, copies, min_copies, now + days_min * _DAY_S)
        if refused is not None:
            report.kept[segno] = refused
            continue
        with translated(f"evicting segment {segno}; it is in the archive, and here as long as the file is"):
            _evict(store, segment, report)
    return report


def _refused(segment: SealedSegment, copies: Sequence[Copies], min_copies: int, until_min: int) -> str | None:
    sha256, length = file_digest(segment.path)
    reasons = {copy.target.url: copy.missing(segment.segno, sha256, length, until_min) for copy in copies}
    good = sum(reason is None for reason in reasons.values())
    if good >= min_copies:
        return None
    told = "; ".join(f"{url}: {reason}" for url, reason in reasons.items() if reason is not None)
    return f"{good} of {min_copies} verified copies ({told})"


def _evict(store: Store, segment: SealedSegment, report: EvictReport) -> None:
    paths, segno = store.paths, segment.segno
    opened = _stub(store, segment)

    def mark(row: ManifestRow) -> ManifestRow:
        return replace(row, state=EVICTED) if row.segno == segno else row

    manifests.change(paths, mark)
    paths.sealed(segno).unlink()
    sync_folder(paths.sealed_folder)
    store.replace_sealed(opened)
    report.evicted.append(segno)
    report.freed_bytes += segment.file_bytes - opened.path.stat().st_size


def _stub(store: Store, segment: SealedSegment) -> EvictedSegment:
    """The stub, written and opened. One that an eviction left which was cut short serves, unless it is damaged."""
    path = store.paths.stub(segment.segno)
    sizes = [found.size for found in store.paths.list_checkpoints().found]
    if not publish_file(path, encode_stub(segment, sizes)):
        try:
            return _open(store, segment, path)
        except CorruptionError:
            path.unlink()
            publish_file(path, encode_stub(segment, sizes))
    return _open(store, segment, path)


def _open(store: Store, segment: SealedSegment, path: Path) -> EvictedSegment:
    known = {"fingerprint": store.identity.fingerprint, "seal_hash": segment.seal_hash}
    return EvictedSegment(path, segment.segno, **known, fetch=store.fetch)


class Recall:
    """The `fetch` of a store: reads ranges of evicted segments from the copies that MANIFEST names."""

    def __init__(self, paths: Paths, targets: Mapping[str, Readable]) -> None:
        """`targets` by the url that the receipts name."""
        self._paths, self._targets = paths, targets
        self._places: dict[int, list[tuple[Readable, str, str]]] = {}

    def __call__(self, segno: int, offset: int, length: int) -> bytes:
        """The bytes from the first copy that answers. Raises the last one's error, or `EvictedError` when no target
        of a receipt was given."""
        failed: ArchiveError | None = None
        for target, key, version in self._find(segno):
            try:
                return target.read(key, version, offset, length)
            except ArchiveError as error:
                failed = error
        if failed is not None:
            raise failed
        raise EvictedError(
            f"segment {segno} is evicted, and none of the archives that MANIFEST names for it was given; nothing is "
            "lost: open the ledger with one of them",
            segment=segno,
        )

    def _find(self, segno: int) -> list[tuple[Readable, str, str]]:
        if segno not in self._places:
            newest = manifests.newest(self._paths)
            rows = () if newest is None else newest.rows
            self._places[segno] = [
                (self._targets[receipt["url"]], receipt["key"], receipt["version"])
                for row in rows
                if row.segno == segno
                for receipt in row.receipts
                if receipt["url"] in self._targets
            ]
        return self._places[segno]
