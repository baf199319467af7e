"""Compare what lies on a target with what the signed manifests say, and name every difference.

The whole folder of the ledger is listed, markers and old versions included. For each listed object the oldest
version with the listed SHA-256 is the truth: hiding and shadowing it are findings, no outage, since reads name
versions. Nothing here is taken from the host that ships. The only repair is to remove delete markers, which hold
no data (`remove_markers`); data is never deleted.

| state | what is there |
| --- | --- |
| HIDDEN | a delete marker is the latest version |
| SHADOWED | a later version with other bytes |
| DUPLICATE | a later version with the same bytes: costs space |
| FOREIGN | a key or an older version that no manifest accounts for |
| UNLISTED | of this ledger, shipped after the newest manifest |
| MISSING | no version has the listed bytes, or the listed version is gone and another has them |
| CHECKSUM | the listed version is there with other bytes |
| UNLOCKED, WRONG_MODE, SHORTENED | no lock, a weaker mode, an earlier date than listed |
| EXPIRING | the retention ends soon, or has ended |
| FORK | two signed statements or segments that exclude each other: evidence, keep both |

Storage classes are not looked at: the protocol of targets does not tell them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from ledger.archive import keys
from ledger.archive.archive_manifest import Link, Open, Row
from ledger.archive.chain import Found, all_rows, read_manifest
from ledger.archive.checkpoints import NOTE_BYTES_MAX, Pinned, read_checkpoint
from ledger.archive.compare import same_bytes
from ledger.archive.foreign import explain
from ledger.archive.readable import Readable
from ledger.archive.restore import read_object
from ledger.archive.send import covers
from ledger.archive.target import Target, Version
from ledger.errors import CorruptionError, ObjectMissingError, VerificationError
from ledger.verify import VerifierKey

__all__ = ["STATES", "AuditReport", "Finding", "audit", "remove_markers"]

STATES = (
    *("HIDDEN", "SHADOWED", "DUPLICATE", "FOREIGN", "UNLISTED", "MISSING", "CHECKSUM"),
    *("UNLOCKED", "WRONG_MODE", "SHORTENED", "EXPIRING", "FORK"),
)
_HARMLESS = ("DUPLICATE", "UNLISTED")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: a state, the key and version where it is, and what is to be said about it."""

    state: str
    key: str
    version: str
    detail: str = ""


@dataclass
class AuditReport:
    """`manifest`: the number that was followed. `objects`: listed ones; `good`: those without a finding;
    `reread`: those whose bytes were read and hashed."""

    manifest: int = -1
    time: int = 0
    objects: int = 0
    good: int = 0
    reread: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing but what is harmless."""
        return all(finding.state in _HARMLESS for finding in self.findings)


def audit(
    target: Readable,
    ledger_id: bytes,
    origin: str,
    open_statement: Open,
    brought: Sequence[VerifierKey],
    *,
    now: int,
    expiring_days: int = 30,
    sample: int | None = 0,
    random: Random | None = None,
) -> AuditReport:
    """Audit the ledger of that id. `open_statement` and `brought` use keys from outside the archive; checkpoints
    count under `brought`. `now`: UTC seconds. `sample`: how many objects to read in full, None for all of them.

    Raises `VerificationError` when no manifest counts. Cost: a listing; a read for each manifest and checkpoint; a
    stat for each listed object."""
    return _Audit(target, ledger_id, origin, open_statement, brought, now, expiring_days).run(
        sample, random or Random()
    )


def remove_markers(target: Target, report: AuditReport) -> list[str]:
    """Remove the delete markers that the audit found; returns their keys. Data is not touched."""
    removed = []
    for finding in report.findings:
        if finding.state == "HIDDEN":
            target.delete_marker(finding.key, finding.version)
            removed.append(finding.key)
    return removed


class _Audit:
    """One audit: the listing and what is known so far."""

    def __init__(
        self,
        target: Readable,
        ledger_id: bytes,
        origin: str,
        open_statement: Open,
        brought: Sequence[VerifierKey],
        now: int,
        expiring_days: int,
    ) -> None:
        self.target, self.ledger_id, self.origin = target, ledger_id, origin
        self.open, self.brought, self.now = open_statement, brought, now
        self.soon = now + expiring_days * _DAY_S
        self.report = AuditReport()
        self.there: dict[str, list[Version]] = {}
        for at in target.versions(keys.folder(ledger_id)):
            self.there.setdefault(at.key, []).append(at)
        self.heads: list[Pinned] = []

    def find(self, state: str, at: Version | Row | Link, detail: str) -> None:
        self.report.findings.append(Finding(state, at.key, at.version, detail))

    def run(self, sample: int | None, random: Random) -> AuditReport:
        newest, rows = self._manifests()
        self.report.manifest, self.report.time = newest.manifest.n, newest.manifest.time
        expected = {row.key: row for row in rows}
        self.report.objects = len(expected)
        for row in expected.values():
            before = len(self.report.findings)
            self._listed(row)
            self.report.good += len(self.report.findings) == before
        for key, versions in self.there.items():
            if key not in expected:
                self._unexpected(key, versions, expected)
        self._equivocation()
        self._reread(list(expected.values()), sample, random)
        return self.report

    # ---- manifests ------------------------------------------------------------------------------

    def _candidates(self) -> Iterator[tuple[int, Found]]:
        """(number, each manifest that opens), highest number first, the oldest of a number first."""
        found: list[tuple[int, str]] = []
        for name in self.there:
            key = keys.parse(name)
            if key is not None and key.kind == "man":
                found.append((key.number, name))
        for number, name in sorted(found, key=lambda pair: (-pair[0], len(pair[1]), pair[1])):
            for at in self.there[name]:
                opened = None if at.marker else read_manifest(self.target, at, number, self.open)
                if opened is not None:
                    yield number, opened

    def _manifests(self) -> tuple[Found, list[Row]]:
        """The newest, and the rows of everything listed, the manifests themselves included."""
        counted: dict[int, Found] = {}
        for number, opened in self._candidates():
            first = counted.setdefault(number, opened)
            if first.link.sha256 != opened.link.sha256:
                self.find("FORK", opened.at, f"a second signed manifest {number}; the other is {first.link.version}")
        if not counted:
            raise VerificationError(
                f"no archive manifest under {self.target.url} for ledger {self.ledger_id.hex()} opens under the keys "
                "that were brought; nothing can be said about the objects"
            )
        newest = counted[max(counted)]
        rows = all_rows(self.target, newest.manifest, self.open)
        for number in range(newest.manifest.n, -1, -1):
            link = counted[number + 1].manifest.previous if number + 1 in counted else None
            own = counted.get(number)
            if link is not None and (own is None or own.link.sha256 != link.sha256):
                self.find("MISSING", link, f"manifest {number}, which manifest {number + 1} names, is not there")
            if own is not None:
                lock = self.target.stat(own.at.key, own.at.version).lock
                mode, until = (None, 0) if lock is None else (lock.mode, lock.until)
                if mode is None:
                    self.find("UNLOCKED", own.at, "a manifest")
                rows.append(Row(own.at.key, own.at.version, own.link.sha256, own.at.length, mode, until))
        return newest, rows

    # ---- one object -----------------------------------------------------------------------------

    def _listed(self, row: Row) -> None:
        sha256 = bytes.fromhex(row.sha256)
        versions = self.there.get(row.key, [])
        truth = None
        for at in versions:
            if at.marker:
                continue
            known = at if at.sha256 is not None or at.length != row.length else self._stat(at)
            same = known is not None and same_bytes(self.target, known, sha256, row.length)
            if same and truth is None:
                truth = at
            elif same:
                self.find("DUPLICATE", at, f"the same bytes as version {row.version}")
            elif at.version == row.version:
                self.find("CHECKSUM", at, "the listed version has other bytes than listed")
            elif truth is not None:
                self.find("SHADOWED", at, f"other bytes over version {truth.version}, since {at.modified}")
            else:
                explain(self, row.key, at, row)
        if versions and versions[-1].marker:
            self.find("HIDDEN", versions[-1], f"a delete marker, since {versions[-1].modified}")
        if truth is None:
            self.find("MISSING", row, "no version has the listed bytes")
            return
        if all(at.version != row.version for at in versions):
            self.find("MISSING", row, f"the listed version is gone; version {truth.version} has its bytes")
        self._lock(row, truth)

    def _stat(self, at: Version) -> Version | None:
        try:
            return self.target.stat(at.key, at.version)
        except ObjectMissingError:
            return None

    def _lock(self, row: Row, truth: Version) -> None:
        found = self._stat(truth)
        lock = None if found is None else found.lock
        if row.mode is None:
            return
        if lock is None:
            self.find("UNLOCKED", truth, f"listed as {row.mode} until {row.until}")
        elif not covers(lock, row.mode, 0):
            self.find("WRONG_MODE", truth, f"{lock.mode}, listed as {row.mode}")
        elif lock.until < row.until:
            self.find("SHORTENED", truth, f"until {lock.until}, listed until {row.until}")
        elif lock.until < self.soon:
            self.find("EXPIRING", truth, f"until {lock.until}")

    # ---- what no manifest lists -------------------------------------------------------------------

    def _unexpected(self, name: str, versions: Sequence[Version], expected: dict[str, Row]) -> None:
        key = keys.parse(name)
        markers = [at for at in versions if at.marker]
        for at in markers:
            self.find("HIDDEN" if at.latest else "FOREIGN", at, f"a delete marker, since {at.modified}")
        data = [at for at in versions if not at.marker]
        if key is not None and key.kind == "ckpt":
            self._checkpoints(data)
            return
        own = None if key is None else next((row for row in expected.values() if _same_object(key, row)), None)
        for at in data:
            explain(self, name, at, own)

    def _checkpoints(self, versions: Sequence[Version]) -> None:
        """The versions under one checkpoint's name. A checkpoint is its own evidence; the oldest counts."""
        truth: Pinned | None = None
        for at in versions:
            found = self._checkpoint(at)
            if truth is not None:
                same = found is not None and found.note == truth.note
                self.find("DUPLICATE" if same else "SHADOWED", at, "over a checkpoint")
            elif found is None:
                self.find("FOREIGN", at, "not a checkpoint under a key that was brought")
            else:
                truth = found
                self.heads.append(found)
                state = self._stat(at)
                if state is None or state.lock is None:
                    self.find("UNLOCKED", at, "a checkpoint")

    def _checkpoint(self, at: Version) -> Pinned | None:
        if at.length > NOTE_BYTES_MAX:
            return None
        try:
            data = self.target.read(at.key, at.version)
        except ObjectMissingError:
            return None
        return read_checkpoint(at.key, data, self.origin, self.brought)

    def _equivocation(self) -> None:
        roots: dict[int, Pinned] = {}
        for head in self.heads:
            first = roots.setdefault(head.checkpoint.size, head)
            if first.checkpoint.root != head.checkpoint.root:
                self.report.findings.append(
                    Finding("FORK", head.key, "", f"another root at {head.checkpoint.size} entries than {first.key}")
                )

    def _reread(self, rows: list[Row], sample: int | None, random: Random) -> None:
        chosen = rows if sample is None else random.sample(rows, min(sample, len(rows)))
        for row in chosen:
            self.report.reread += 1
            try:
                for _ in read_object(self.target, row):
                    continue
            except CorruptionError:
                self.find("CHECKSUM", row, "its bytes were read and have another SHA-256")
            except ObjectMissingError:
                self.find("MISSING", row, "the listed version cannot be read")


def _same_object(key: keys.Key, row: Row) -> bool:
    own = keys.parse(row.key)
    return own is not None and (own.kind, own.number) == (key.kind, key.number)
