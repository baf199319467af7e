"""Write a journal anew from what is on the target, after it was lost [SHIP-1].

The signed manifests say what was shipped, and each version is asked for once. What has no place in a manifest yet
is found when it is sent again: the shipper then looks before it puts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from ledger.archive import keys
from ledger.archive.archive_manifest import Open, Row
from ledger.archive.chain import Found, list_manifests
from ledger.archive.compare import same_bytes
from ledger.archive.journal import Intent, Journal, Put, Verified
from ledger.archive.source import Source
from ledger.archive.target import Target
from ledger.errors import ForkDetectedError, ObjectMissingError
from ledger.verify import parse_checkpoint, parse_note

__all__ = ["reconcile"]


def reconcile(
    journal: Journal,
    target: Target,
    source: Source,
    root_at: Callable[[int], bytes | None],
    open_statement: Open,
    now: Callable[[], float],
) -> int:
    """Record every listed object that is there as it must be; returns how many. An object that is not as the
    manifest says is left out, so it is shipped again. Cost: a read for each manifest, a stat for each object.

    `ForkDetectedError`, nothing recorded, when a signed manifest lists another segment than is here, or one that is
    not sealed here yet, or when the newest has a checkpoint that `root_at` (None: fewer entries) does not give: then
    another copy of this ledger ships there, or this one was put back to an older state."""
    ledger_id = source.ledger_id
    found = list(list_manifests(target, ledger_id).descending(target, open_statement))
    _refuse_fork(target, source, root_at, found)
    count, known = 0, set[str]()
    for entry in reversed(found):
        names = []
        for row in entry.manifest.rows:
            key = keys.parse(row.key)
            if key is None or key.ledger_id != ledger_id:
                continue
            name = str(keys.Key(ledger_id, key.kind, key.number))
            if name not in known and _record(journal, target, name, row, now):
                known.add(name)
                names.append(name)
                count += 1
        count += _record_manifest(journal, target, entry, names, ledger_id, now)
    if found:
        _record_checkpoint(journal, target, ledger_id, found[0].manifest.checkpoint, now)
    return count


def _refuse_fork(
    target: Target, source: Source, root_at: Callable[[int], bytes | None], found: Sequence[Found]
) -> None:
    if found and found[0].manifest.checkpoint:
        signed = parse_checkpoint(parse_note(found[0].manifest.checkpoint)[0])
        if root_at(signed.size) != signed.root:
            raise _fork(target, found[0], f"has a checkpoint of {signed.size} entries that this ledger does not extend")
    for entry in found:
        for row in entry.manifest.rows:
            if row.seal_hash and source.differs(row.segno, row.seal_hash):
                raise _fork(target, entry, f"lists another segment {row.segno} ({row.key}) than this ledger has")


def _fork(target: Target, entry: Found, what: str) -> ForkDetectedError:
    return ForkDetectedError(
        f"archive manifest {entry.manifest.n} on {target.url} {what}. Shipping there has stopped, and both are safe. "
        "Was this ledger restored from a backup or copied? Find out which is true before anything is signed or shipped"
    )


def _record(journal: Journal, target: Target, name: str, row: Row, now: Callable[[], float]) -> bool:
    sha256 = bytes.fromhex(row.sha256)
    try:
        at = target.stat(row.key, row.version)
    except ObjectMissingError:
        return False
    if not same_bytes(target, at, sha256, row.length):
        return False
    lock = at.lock
    if row.mode is not None and (lock is None or lock.until < row.until):
        return False
    mode, until = (None, 0) if lock is None else (lock.mode, lock.until)
    facts = [row.base, row.count, row.root, row.seal_hash] if row.seal_hash else []
    journal.intend(name, Intent(sha256, row.length, row.mode, row.until, [], facts))
    journal.record_put(name, Put(row.key, row.version))
    journal.record_verified(name, Verified(row.key, row.version, mode, until, sha256, int(now())))
    return True


def _record_checkpoint(journal: Journal, target: Target, ledger_id: bytes, note: str, now: Callable[[], float]) -> None:
    """The checkpoint that the newest manifest carries: those it covers need not be sent again."""
    if not note:
        return
    data = note.encode()
    digest, size = hashlib.sha256(data).digest(), parse_checkpoint(parse_note(note)[0]).size
    key = keys.checkpoint(ledger_id, size, digest)
    for at in target.versions(str(key)):
        found = None if at.marker else target.stat(at.key, at.version)
        if found is not None and found.lock is not None and same_bytes(target, found, digest, len(data)):
            lock, name = found.lock, str(key)
            journal.intend(name, Intent(digest, len(data), lock.mode, lock.until))
            journal.record_put(name, Put(at.key, at.version))
            receipt = Verified(at.key, at.version, lock.mode, lock.until, digest, int(now()))
            journal.record_verified(name, receipt)
            return


def _record_manifest(
    journal: Journal, target: Target, found: Found, names: list[str], ledger_id: bytes, now: Callable[[], float]
) -> bool:
    name = str(keys.manifest(ledger_id, found.manifest.n))
    at = target.stat(found.at.key, found.at.version)
    mode, until = (None, 0) if at.lock is None else (at.lock.mode, at.lock.until)
    sha256 = bytes.fromhex(found.link.sha256)
    journal.intend(name, Intent(sha256, at.length, mode, until, names))
    journal.record_put(name, Put(at.key, at.version))
    journal.record_verified(name, Verified(at.key, at.version, mode, until, sha256, found.manifest.time))
    journal.record_noted(name)
    return True
