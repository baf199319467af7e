"""Verify a ledger: an answer per prefix, in grades, never a bare yes.

L0 readable · L1 self-consistent: payloads, commitments, chain from F, indexes, tree, seals, no unaccounted byte
· L2(n) L1, and the root at n equals a checkpoint of this origin signed by a key *the verifier brought* · L3(n)
L2, and agreement with memory from outside the host. Opens its own descriptors, reads every byte, rebuilds with
csrc/block_check.c and csrc/scan.c; takes nothing from a writer's cache. See docs/guarantees.md "Grades"."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger._native import as_bytes, event_fault
from ledger.encoding.identity import Identity
from ledger.errors import (
    CorruptionError,
    EnvironmentFailure,
    MismatchError,
    UsageError,
)
from ledger.merkle import tree
from ledger.proofs import checkpoints
from ledger.proofs.notes import named_keys, parsed, wrong_seals
from ledger.storage.active import ActiveSegment
from ledger.storage.identity_file import read_identity
from ledger.storage.inventory import manifest_faults, unacknowledged_bytes
from ledger.storage.paths import Paths
from ledger.storage.reindex import check_index
from ledger.storage.restart import border_root
from ledger.storage.sealed import SealedSegment
from ledger.storage.sealed_check import Border
from ledger.storage.store import Store
from ledger.storage.stub import EvictedSegment
from ledger.types import Receipt
from ledger.verify import VerifierKey, parse_vkey

__all__ = ["GRADES", "Line", "VerifyReport", "verify"]

GRADES = ("L0", "L1", "L2", "L3")


@dataclass(frozen=True, slots=True)
class Line:
    """One answer: the first `size` entries reach `grade`, because of `evidence`; what that does not prove."""

    grade: str
    size: int
    evidence: str
    not_proven: str = ""


@dataclass
class VerifyReport:
    """What a verification found. `ok`: the whole requested range reached `require` with full coverage and no
    problem. Not a bool on purpose: use `.ok`, and read the lines."""

    path: str
    origin: str
    fingerprint: str
    size: int = 0
    require: str = "L2"
    level: str = "full"
    lines: list[Line] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    coverage: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    root: str = ""
    named_keys: list[dict[str, Any]] = field(default_factory=list)  # by notes of the ledger: printed, not trusted

    def __bool__(self) -> bool:
        raise TypeError("a verification has grades: use report.ok, and read report.lines")

    def grade_of(self, index: int) -> str:
        """The highest grade of a line that covers `index`."""
        return max((line.grade for line in self.lines if line.size > index), default="L0")

    @property
    def ok(self) -> bool:
        reached = [line.size for line in self.lines if line.grade >= self.require]
        covered = self.coverage.get("checked", 0) == self.size
        return not self.problems and covered and self.level == "full" and max(reached, default=-1) >= self.size

    @property
    def exit_code(self) -> int:
        """0 good, 1 tampered or corrupt, 4 incomplete or not proven."""
        return 0 if self.ok else 1 if self.problems else 4

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        result = {k: v for k, v in self.__dict__.items() if k != "lines"}
        result["lines"] = [
            {"grade": x.grade, "size": x.size, "evidence": x.evidence, "not_proven": x.not_proven} for x in self.lines
        ]
        return {**result, "ok": self.ok}


def verify(
    path: str | Path,
    *,
    level: str = "full",
    require: str = "L2",
    keys: Sequence[str] = (),
    fingerprint: bytes | None = None,
    memory: str | Path | None = None,
    receipt: Receipt | None = None,
    since: int = 0,
    until: str = "end",
    index: bool = False,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Verify the ledger at `path`, as far as it is acknowledged now, while writers go on.

    `keys`: verifier keys the caller brought; keys in LEDGER count as brought only when `fingerprint` (32 bytes,
    also brought) is LEDGER's. `memory`: a file of an earlier `VerifyReport.as_dict()` (JSON with `size`, `root`).
    `receipt`: one kept elsewhere. `level="quick"` checks headers and footers only and never reaches L1.
    `since`: sealed segments that end at or below it are not re-read, so nothing above L0 is claimed.
    `until="checkpoint"` asks only for the prefix that the newest verified checkpoint covers.
    `index=True` also rebuilds the search index of each sealed segment: is it what index_root commits to, and are the
    files of the index the same? Without it nothing is said of searches. Cost: some 4 us an event more.
    `progress(done, total)` in this thread; what it raises ends the verification.

    Damage is reported in `problems`, not raised; `UsageError` and `EnvironmentFailure` are raised. Reads every
    byte once; O(n)."""
    if level not in ("full", "quick") or require not in GRADES or until not in ("end", "checkpoint"):
        raise UsageError("level is 'full' or 'quick', require one of L0..L3, until 'end' or 'checkpoint'")
    begun = time.monotonic()
    paths = Paths(Path(path).absolute())
    try:
        identity = read_identity(paths)
    except FileNotFoundError:
        raise EnvironmentFailure(f"there is no ledger at {path}") from None
    except CorruptionError as error:
        return VerifyReport(str(path), "", "", problems=[str(error)], require=require, level=level)
    report = VerifyReport(str(path), identity.origin, identity.fingerprint.hex(), require=require, level=level)
    brought = [parse_vkey(key) for key in keys]
    if fingerprint is not None:
        if fingerprint != identity.fingerprint:
            report.problems.append(
                f"this is ledger {identity.fingerprint.hex()}, not {fingerprint.hex()}: the identity was replaced"
            )
        else:
            brought += [parse_vkey(key) for key in identity.keys]
    try:
        _check(paths, identity, report, brought, memory, receipt, since, until, index, threads, progress)
    except (CorruptionError, MismatchError) as error:
        report.problems.append(str(error))
    report.seconds = time.monotonic() - begun
    return report


def _check(
    paths: Paths,
    identity: Identity,
    report: VerifyReport,
    brought: list[VerifierKey],
    memory: str | Path | None,
    receipt: Receipt | None,
    since: int,
    until: str,
    index: bool,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    store = Store(paths, identity, None)
    try:
        size = store.size
        report.size = size
        report.lines.append(Line("L0", size, "the acknowledged entries can be read"))
        notes: list[tuple[int, bytes]] = []
        border, checked = _check_segments(store, report, notes, since, index, threads, progress)
        _check_inventory(store, report)
        report.coverage = {"checked": checked, "size": size}
        if report.level == "quick" or checked < size:
            return
        if size == 0 or store.payload(0) != identity.data:
            report.problems.append("entry 0 does not hold the bytes of LEDGER: the identity was replaced")
            return
        report.root = tree.root(size, store.node).hex()
        expected = border_root(border)
        if report.root != expected.hex():
            report.problems.append("the stored tree nodes give another root than the entries")
            return
        _check_notes(store, report, notes)
        report.lines.append(
            Line("L1", size, "payloads, chain, tree and seals agree with each other", "that nobody rewrote all of them")
        )
        anchored = _anchor(paths, identity, report, store, brought)
        _remember(report, store, memory, receipt, anchored)
        if until == "checkpoint":
            report.size = report.coverage["checked"] = anchored
            report.root = tree.root(anchored, store.node).hex()
    finally:
        store.close()


def _check_segments(
    store: Store,
    report: VerifyReport,
    notes: list[tuple[int, bytes]],
    since: int,
    index: bool,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Border, int]:
    border, checked = Border.start(store.identity.fingerprint), 0
    for segment in store.segments():
        if report.level == "quick":
            continue
        if isinstance(segment, EvictedSegment):
            report.degraded.append(
                f"segment {segment.segno} is evicted: entries [{segment.base}, {segment.end}) were not read"
            )
            border = _claimed_border(store, segment)
        elif isinstance(segment, SealedSegment):
            if segment.end <= since:
                border = _claimed_border(store, segment)
                continue
            base = segment.base

            def step(done: int, base: int = base) -> None:
                if progress is not None:
                    progress(base + done, store.size)

            facts = segment.verify(border, step, threads)
            border, notes[len(notes) :] = facts.after, facts.notes
            if index:
                problems, degraded = check_index(store.paths, store.identity, segment)
                report.problems += problems
                report.degraded += degraded
            checked += segment.end - segment.base
        else:
            border = _check_active(segment, border)
            rows = range(segment.base, segment.size)
            notes += [(i, segment.payload(i)) for i in rows if segment.row(i).kind == 1]
            checked += segment.size - segment.base
            if progress is not None:
                progress(segment.size, store.size)
    return border, checked


def _claimed_border(store: Store, segment: SealedSegment) -> Border:
    """What a segment that is not read again says of its end: no evidence, only what the next is compared with."""
    peaks = b"".join(store.node(level, i) for level, i in tree.peaks(0, segment.end))
    return Border(segment.end, segment.footer.link_after, segment.time_last(), peaks, segment.seal_hash)


def _check_active(segment: ActiveSegment, border: Border) -> Border:
    """The header against the border; the entries were rebuilt when this store read them with its own scan."""
    header = segment.header
    peaks = bytes(header.peaks)[: int(header.peak_count) * 32]
    claimed = (segment.base, bytes(header.link), int(header.time_before), peaks)
    if claimed != (border.size, border.link, border.time, border.peaks):
        raise CorruptionError(
            f"{segment.path} does not follow the segment before it: its header names other entries, hashes or times",
            segment=segment.segno,
            index=segment.base,
        )
    for index in range(segment.base, segment.size):
        if index and (fault := event_fault(segment.payload(index))) is not None:
            raise CorruptionError(f"{segment.path}: entry {index} is no event: {fault}", index=index)
    state = segment.state
    count = int(state.range.count)
    return Border(
        segment.size,
        bytes(state.chain.link),
        int(state.chain.time),
        as_bytes(state.range.peaks, count * 32),
        border.seal_hash,
    )


def _check_inventory(store: Store, report: VerifyReport) -> None:
    """The manifest against the segments that are open, and what lies after the last batch."""
    sealed = [segment for segment in store.segments() if isinstance(segment, SealedSegment)]
    problems, degraded = manifest_faults(store.paths, sealed)
    report.problems += problems
    report.degraded += [*store.degraded, *degraded]
    if after := unacknowledged_bytes(store.paths, store.identity.fingerprint):
        report.degraded.append(after)


def _check_notes(store: Store, report: VerifyReport, payloads: list[tuple[int, bytes]]) -> None:
    notes, problems = parsed(payloads)
    seals = {s.segno: s.seal_hash for s in store.segments() if isinstance(s, SealedSegment)}
    report.problems += problems + wrong_seals(notes, seals)
    report.named_keys = named_keys(notes)


def _anchor(paths: Paths, identity: Identity, report: VerifyReport, store: Store, brought: list[VerifierKey]) -> int:
    """L2: every checkpoint under a brought key must lie on this tree; the largest gives the grade."""
    found, problems = checkpoints.stored(paths)
    report.degraded += problems
    anchored = 0
    for item in found:
        if not checkpoints.verified(item, brought, identity.origin):
            continue
        size, root = item.checkpoint.size, item.checkpoint.root
        if size > store.size:
            report.problems.append(f"a checkpoint of {size} entries was signed, the ledger has {store.size}: cut off")
        elif tree.root(size, store.node) != root:
            report.problems.append(f"the checkpoint of {size} entries names another root: the history was rewritten")
        else:
            anchored = max(anchored, size)
    if anchored:
        report.lines.append(
            Line(
                "L2",
                anchored,
                f"a checkpoint of {anchored} entries is signed by a key that was brought",
                "that whoever controls the host of the key did not write it anew",
            )
        )
    return anchored


def _remember(
    report: VerifyReport, store: Store, memory: str | Path | None, receipt: Receipt | None, anchored: int
) -> None:
    """L3: agreement with what the verifier kept outside the host."""
    if memory is not None:
        try:
            kept = json.loads(Path(memory).read_text())
            size, root = int(kept["size"]), bytes.fromhex(kept["root"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{memory} is not the JSON of an earlier verify: {error!r}") from None
        if kept.get("fingerprint", report.fingerprint) != report.fingerprint:
            report.problems.append("the memory is of another ledger")
        elif size > store.size:
            report.problems.append(f"the memory holds {size} entries, the ledger {store.size}: cut off")
        elif tree.root(size, store.node) != root:
            report.problems.append(f"the memory names another root at {size} entries: the history was rewritten")
        elif size <= anchored:
            report.lines.append(Line("L3", size, f"agrees with the verifier's memory of {size} entries"))
    if receipt is not None:
        if receipt.index >= store.size or store.leaf_hash(receipt.index) != receipt.leaf_hash:
            report.problems.append(f"the receipt of entry {receipt.index} does not fit: the history was rewritten")
        elif receipt.index < anchored:
            report.lines.append(Line("L3", receipt.index + 1, f"agrees with the receipt of entry {receipt.index}"))
