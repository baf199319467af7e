"""Bring a ledger back from its archive into an empty folder.

The newest signed manifest that counts says which bytes are true; each object is taken from the version it names, or
from the oldest with that SHA-256, whatever lies above, beside or instead of it. Every segment is rebuilt from its
payloads, from the fingerprint on, before it gets its name, and the tree must agree with every signed checkpoint in
the archive.

(1) folders, segments, indexes, checkpoints    a crash: no ledger; remove the folder and begin again
(2) MANIFEST, the empty active file, HEAD      as above
(3) LEDGER, linked last                        a ledger, and it says that it is a copy: nobody appends to it before
                                               it is adopted

Nothing found in the archive is trusted by itself: the caller brings the fingerprint or the keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ledger.archive import keys
from ledger.archive.archive_manifest import ArchiveManifest, Open, Row
from ledger.archive.chain import all_rows, list_manifests
from ledger.archive.checkpoints import Pinned, pinned
from ledger.archive.readable import Readable
from ledger.archive.sealed_tree import SealedTree
from ledger.encoding import identity as identities
from ledger.encoding.identity import Identity
from ledger.encoding.manifest import SHIPPED, Manifest, ManifestRow
from ledger.errors import CorruptionError, MismatchError, ObjectMissingError, UsageError, VerificationError
from ledger.storage.files import publish_file, sync_folder, translated
from ledger.storage.paths import Paths
from ledger.storage.restart import begin_after, border_root
from ledger.storage.sealed import Border, SealedSegment
from ledger.verify import parse_vkey

__all__ = ["RestoreReport", "read_object", "restore"]

_CHUNK_BYTES = 8 << 20
_LOCK_BYTES = 8192
_AHEAD = 8  # segments fetched before they are verified, half of them at once


@dataclass
class RestoreReport:
    """What came back. `lost_tail`: entries that a signed checkpoint proves to have been and that were in no
    shipped segment. `missing`: listed objects of which no version has the right bytes, and what follows from it.
    `problems`: disagreement between signed statements: evidence to keep. `manifest`: the number that was followed."""

    origin: str = ""
    fingerprint: str = ""
    manifest: int = -1
    segments: int = 0
    size: int = 0
    root: str = ""
    checkpoint: int = 0
    lost_tail: int = 0
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """All that the manifest lists is back, and nothing disagrees."""
        return not (self.missing or self.problems)


def restore(
    target: Readable,
    to: Path,
    ledger_id: bytes,
    open_statement: Open,
    *,
    fingerprint: bytes | None = None,
    vkeys: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> RestoreReport:
    """Restore the ledger of that id to `to`, which must be empty or not there. Durable when it returns.

    `open_statement` opens statements under keys that the caller brought; `fingerprint`: F, also brought, makes the
    keys in LEDGER count for checkpoints, beside `vkeys`. `progress(done, total)` in segments.

    Raises `UsageError`, `VerificationError` when no manifest counts, `CorruptionError` when the identity is not there
    in the bytes that must be, `MismatchError` when a checkpoint under a brought key names another root: then there
    are two histories, nothing got the name LEDGER, and both are evidence."""
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"{to} is not empty; nothing was restored. Choose an empty folder")
    newest = list_manifests(target, ledger_id).newest(target, open_statement)
    if newest is None:
        raise VerificationError(
            f"no archive manifest under {target.url} for ledger {ledger_id.hex()} opens under the keys that were "
            "brought; nothing was restored. Is the key that of <origin>/statements?"
        )
    return _Restore(target, to, ledger_id, open_statement, newest.manifest, fingerprint, vkeys).run(progress)


def read_object(target: Readable, row: Row) -> Iterator[bytes]:
    """The bytes of a listed object in chunks, from the version that is named, else from the oldest version under
    its key with its SHA-256. What was given before `CorruptionError` must be thrown away: the hash is only known
    at the end. `ObjectMissingError` when no version has the length."""
    digest = hashlib.sha256()
    for at in range(0, row.length, _CHUNK_BYTES):
        chunk = target.read(row.key, row.version, at, min(_CHUNK_BYTES, row.length - at))
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != row.sha256:
        raise CorruptionError(f"{row.key} on {target.url}, version {row.version}: its bytes are not those listed")


def candidates(target: Readable, row: Row) -> Iterator[str]:
    """The versions to try, the named one first, then all under the key that have the length, oldest first."""
    yield row.version
    for at in target.versions(row.key):
        if at.key == row.key and not at.marker and at.length == row.length and at.version != row.version:
            yield at.version


class _Restore:
    """One run: the state between the steps."""

    def __init__(
        self,
        target: Readable,
        to: Path,
        ledger_id: bytes,
        open_statement: Open,
        manifest: ArchiveManifest,
        fingerprint: bytes | None,
        vkeys: tuple[str, ...],
    ) -> None:
        self.target, self.manifest, self.vkeys = target, manifest, vkeys
        self.paths, self.ledger_id = Paths(to.absolute()), ledger_id
        self.report = RestoreReport(manifest=manifest.n)
        self.rows: dict[tuple[str, int], Row] = {}
        for row in all_rows(target, manifest, open_statement):
            key = keys.parse(row.key)
            if key is not None and key.ledger_id == ledger_id:
                self.rows[key.kind, key.number] = row
        self.identity = self._identity(fingerprint)
        self.brought = [parse_vkey(key) for key in vkeys]
        if fingerprint is not None:
            self.brought += [parse_vkey(key) for key in self.identity.keys]

    def _identity(self, fingerprint: bytes | None) -> Identity:
        row = self.rows.get(("genesis", 0))
        data = None if row is None else self._bytes(row)
        if data is None:
            raise CorruptionError(
                f"the identity of ledger {self.ledger_id.hex()} is not on {self.target.url} in the bytes that the "
                "manifest lists; nothing was restored"
            )
        found = identities.decode(data)
        if found.ledger_id != self.ledger_id or fingerprint not in (None, found.fingerprint):
            raise CorruptionError(f"the archive is of ledger {found.fingerprint.hex()}; nothing was restored")
        self.report.origin, self.report.fingerprint = found.origin, found.fingerprint.hex()
        return found

    def _bytes(self, row: Row) -> bytes | None:
        """A small object, or None when no version has its bytes."""
        for version in candidates(self.target, row):
            try:
                return b"".join(read_object(self.target, replace(row, version=version)))
            except (ObjectMissingError, CorruptionError):
                continue
        return None

    # ---- steps ----------------------------------------------------------------------------------

    def run(self, progress: Callable[[int, int], None] | None) -> RestoreReport:
        with translated(f"restoring to {self.paths.root}; the archive is not touched"):
            self._make_folders()
            border, rows = self._segments(progress)
            self._checkpoints(border, len(rows))
            if rows:
                publish_file(self.paths.manifest(1), Manifest(1, bytes(32), tuple(rows)).encode())
            begin_after(self.paths, self.identity, len(rows), border)
            publish_file(self.paths.ledger, self.identity.data)
            sync_folder(self.paths.root)
            sync_folder(self.paths.root.parent)
        self.report.segments, self.report.size = len(rows), border.size
        self.report.root = border_root(border).hex()
        return self.report

    def _make_folders(self) -> None:
        paths = self.paths
        paths.root.mkdir(parents=True, exist_ok=True)
        for folder in (paths.active_folder, paths.sealed_folder, paths.checkpoint_folder, paths.quarantine_folder):
            folder.mkdir()
        publish_file(paths.lock, bytes(_LOCK_BYTES))  # no digest of this lock: a copy, until it is adopted
        row = self.rows.get(("index-key", 0))
        index_key = None if row is None else self._bytes(row)
        if index_key is None or hashlib.sha256(index_key).digest() != self.identity.index_key_hash:
            self.report.missing.append("index-key: search indexes cannot be used or built")
        else:
            publish_file(paths.index_key, index_key, 0o600)

    def _segments(self, progress: Callable[[int, int], None] | None) -> tuple[Border, list[ManifestRow]]:
        """Fetch some ahead, verify in order, up to the first that is not to be had."""
        border, done = Border.start(self.identity.fingerprint), list[ManifestRow]()
        listed = sorted(number for kind, number in self.rows if kind == "seg")
        with self._fetched(listed) as fetched:
            for segno in listed:
                row, temporary = self.rows["seg", segno], fetched(segno)
                if temporary is None:
                    last = row.base + row.count
                    what = f"segment {segno}, entries [{row.base}, {last}): no version has the listed bytes"
                    self.report.missing.append(what)
                elif segno != len(done):
                    self.report.missing.append(f"segment {segno}: it is there, but not what comes before it")
                else:
                    border = self._take(segno, row, temporary, border)
                    done.append(self._manifest_row(row, border.seal_hash))
                    if progress is not None:
                        progress(len(done), len(listed))
        return border, done

    @contextmanager
    def _fetched(self, listed: list[int]) -> Iterator[Callable[[int], Path | None]]:
        """Give each segment's file, to be asked for in order; downloads run ahead, and what is left is removed."""
        waiting: dict[int, Future[Path | None]] = {}
        left = iter(listed)
        pool = ThreadPoolExecutor(_AHEAD // 2, "sealedger-restore")

        def start(count: int) -> None:
            for segno in islice(left, count):
                waiting[segno] = pool.submit(self._fetch, self.paths.sealed(segno), self.rows["seg", segno])

        def fetched(segno: int) -> Path | None:
            found = waiting[segno].result()
            start(1)
            return found

        try:
            start(_AHEAD)
            yield fetched
        finally:
            pool.shutdown(cancel_futures=True)
            for segno in waiting:
                self.paths.temporary(self.paths.sealed(segno)).unlink(missing_ok=True)

    def _take(self, segno: int, row: Row, temporary: Path, border: Border) -> Border:
        """Rebuild a fetched segment from its payloads, then give it its name. Returns the border after it."""
        seal_hash = bytes.fromhex(row.seal_hash)
        with SealedSegment(temporary, segno, fingerprint=self.identity.fingerprint, seal_hash=seal_hash) as segment:
            after = segment.verify(border).after
        os.link(temporary, self.paths.sealed(segno))
        temporary.unlink()
        index = self.rows.get(("idx", segno))
        if index is not None and (found := self._fetch(self.paths.index(segno), index)) is not None:
            os.rename(found, self.paths.index(segno))
        elif index is not None:
            self.report.missing.append(f"index of segment {segno}: it can be built again")
        sync_folder(self.paths.sealed_folder)
        return after

    def _manifest_row(self, row: Row, seal_hash: bytes) -> ManifestRow:
        place: dict[str, Any] = {"target": "restored", "url": self.target.url, "key": row.key, "version": row.version}
        receipt = {**place, "mode": row.mode, "until": row.until, "manifest": self.manifest.n}
        root = bytes.fromhex(row.root)
        return ManifestRow(row.segno, row.base, row.count, row.length, seal_hash, root, SHIPPED, [receipt])

    def _fetch(self, path: Path, row: Row) -> Path | None:
        """The listed bytes in a temporary file beside `path`, or None when no version has them."""
        for version in candidates(self.target, row):
            found = self._download(path, replace(row, version=version))
            if found is not None:
                return found
        return None

    def _download(self, path: Path, row: Row) -> Path | None:
        """The object in a synced temporary file beside `path`, or None when it is not what is listed."""
        temporary = self.paths.temporary(path)
        try:
            with temporary.open("xb") as out:
                for chunk in read_object(self.target, row):
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
        except (ObjectMissingError, CorruptionError):
            temporary.unlink()
            return None
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _checkpoints(self, border: Border, segments: int) -> None:
        """Every pinned checkpoint must lie on the tree that came back; those beyond it show what was lost."""
        found = pinned(self.target, self.ledger_id, self.identity.origin, self.brought, self.manifest.checkpoint)
        with SealedTree(self.paths, self.identity.fingerprint, segments) as own:
            for item in found:
                size, root = item.checkpoint.size, item.checkpoint.root
                if size > border.size:
                    self.report.lost_tail = max(self.report.lost_tail, size - border.size)
                elif own.root_at(size) != root:
                    raise MismatchError(
                        f"the checkpoint {item.key} of {size} entries is signed under a key that was brought, and "
                        "names another root than the segments give: two histories. LEDGER was not written; keep both",
                        root,
                        own.root_at(size),
                    )
                else:
                    self._keep(item)
                    self.report.checkpoint = max(self.report.checkpoint, size)

    def _keep(self, item: Pinned) -> None:
        data = item.note.encode()
        digest8 = hashlib.sha256(data).hexdigest()[:8]
        publish_file(self.paths.checkpoint(item.checkpoint.size, digest8), data)
