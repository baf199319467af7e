"""`sealedger repair`: a new ledger from what can be read of a damaged one, which is not changed [REPAIR-1].

What is carried over are the events, in order, as new entries of the new ledger: old hashes, indexes and receipts stay
with the old folder, which is evidence and must be kept. Each batch carries a "repaired" note with the old indexes and
times of its events. At the end stands a "recovered" note with a signed statement of what is missing; a target without
it was not finished: remove it and repair again.

The old ledger's own notes are not carried over: they are acts of another ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ledger._native import event_fault, ffi, lib
from ledger.encoding.identity import Identity
from ledger.engine import Ledger
from ledger.errors import EnvironmentFailure, MismatchError
from ledger.proofs import checkpoints
from ledger.storage.files import read_file
from ledger.storage.identity_file import read_identity
from ledger.storage.paths import Paths
from ledger.storage.salvage import Item, Piece, pieces
from ledger.succession import begin_after
from ledger.verify import Checkpoint, parse_vkey

__all__ = ["Repair", "repair"]

_BATCH, _BATCH_BYTES = 1000, 8 << 20
_LINES_MAX = 2000
_NOTE_BYTES_MAX = 1 << 20  # notes of a repair must fit, whatever the limit for events was
_PROVES = "that these events could be read in this order in the source when it was repaired, and what was not readable"
_NOT_PROVEN = (
    "that nobody changed the source before; receipts and proofs of the source hold for its own folder alone: keep it"
)


@dataclass
class Repair:
    """What a repair did. Indexes and ranges [begin, end) are those of the source."""

    source: str
    target: str
    predecessor: Identity
    events: int = 0  # carried over
    notes: int = 0  # of the source, left behind
    lost: list[tuple[int, int]] = field(default_factory=list)  # not readable
    checksum_only: list[tuple[int, int]] = field(default_factory=list)  # carried over, with no hash to judge them by
    breaks: list[int] = field(default_factory=list)  # this entry does not follow the one before it, and both are there
    prefix: int = 0  # the first n entries follow each other from the fingerprint on, without a gap
    checkpoint: int = 0  # the greatest checkpoint under a brought key that agrees with that prefix
    contradicted: list[int] = field(default_factory=list)  # checkpoints under a brought key that do not
    faults: list[str] = field(default_factory=list)
    statement: bytes = b""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, and all of it follows from the fingerprint on, as far as this can be seen."""
        return not (self.lost or self.checksum_only or self.breaks or self.contradicted)

    def lines(self) -> Iterator[str]:
        """The body of the statement."""
        yield f"predecessor {self.predecessor.fingerprint.hex()} {self.predecessor.origin}"
        yield f"events {self.events}"
        yield f"notes-left {self.notes}"
        yield f"prefix {self.prefix}"
        yield f"checkpoint {self.checkpoint}"
        listed = [f"contradicted {size}" for size in self.contradicted]
        listed += [f"break {index}" for index in self.breaks]
        for word, ranges in (("lost", self.lost), ("checksum-only", self.checksum_only)):
            listed += [f"{word} {begin} {end}" for begin, end in ranges]
        yield from listed[:_LINES_MAX]
        if len(listed) > _LINES_MAX:
            yield f"more {len(listed) - _LINES_MAX}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with what the new ledger proves and what it does not."""
        result = {k: v for k, v in self.__dict__.items() if k not in ("predecessor", "statement")}
        known = {"fingerprint": self.predecessor.fingerprint.hex(), "origin": self.predecessor.origin}
        return {**result, "predecessor": known, "proves": _PROVES, "not_proven": _NOT_PROVEN}


def repair(
    source: str | Path, target: str | Path, *, keys: Iterable[str] = (), name: str | None = None
) -> tuple[Ledger, Repair]:
    """Write a new ledger at `target` from what is readable at `source`; returns it, open, with what was done.

    `keys`: verifier keys that the caller brought: checkpoints of the source under them are compared with what is
    carried over. `name`: the first part of the new origin, by default that of the old. The new ledger has a key of
    its own and names its predecessor in LEDGER; it ends with a checkpoint. Durable when it returns.

    Raises `EnvironmentFailure` when there is no ledger at `source`, `CorruptionError` when neither LEDGER nor entry 0
    says which it is, `UsageError` when something is at `target`. No byte of the source is written. The source must be
    at rest: what is appended meanwhile is carried over in part. Cost: O(n); memory: one segment."""
    paths = Paths(Path(source).absolute())
    try:
        known = read_identity(paths)
    except FileNotFoundError:
        raise EnvironmentFailure(f"there is no ledger at {source}; nothing was made") from None
    brought = [parse_vkey(key) for key in keys]
    stored, problems = checkpoints.stored(paths)
    done = Repair(str(source), str(target), known, faults=problems)
    signed = []
    for item in stored:
        try:
            if checkpoints.verified(item, brought, known.origin):
                signed.append(item.checkpoint)
        except MismatchError as error:
            done.faults.append(f"the checkpoint of {item.checkpoint.size} entries: {error}")
    limits = replace(known.limits, event_bytes_max=max(known.limits.event_bytes_max, _NOTE_BYTES_MAX))
    wanted = replace(known, limits=limits)
    log = begin_after(wanted, Path(source), Path(target), {"reason": "repair"}, name)
    try:
        _Carry(log, done, signed).run(paths)
        done.statement = log.statement("repair", "".join(f"{line}\n" for line in done.lines()).encode())
        note = {"note": "recovered", "predecessor": known.fingerprint, "statement": done.statement.decode()}
        log.append_note(note)
        log.checkpoint()
    except BaseException:
        log.close()
        raise
    return log, done


class _Carry:
    """A repair in progress: pieces in, batches out, and the account of both."""

    def __init__(self, log: Ledger, done: Repair, signed: list[Checkpoint]) -> None:
        self._log, self._done = log, done
        self._signed = sorted(signed, key=lambda checkpoint: checkpoint.size)
        self._at, self._last, self._whole = 0, done.predecessor.fingerprint, True
        self._range = ffi.new("ledger_range *")
        self._batch: list[Item] = []
        self._bytes = 0

    def run(self, paths: Paths) -> None:
        """Carry over all pieces, in order, then name what should be behind them."""
        for _, found, faults in pieces(paths, self._done.predecessor.fingerprint):
            self._done.faults += faults
            for piece in found:
                self._take(piece)
        self._flush()
        self._lose(self._at, _size_claimed(paths, self._signed))
        for checkpoint in self._signed:
            if checkpoint.size <= self._done.prefix and checkpoint.size not in self._done.contradicted:
                self._done.checkpoint = checkpoint.size

    def _lose(self, begin: int, end: int) -> None:
        lost = self._done.lost
        if begin < end:
            if lost and lost[-1][1] == begin:
                begin = lost.pop()[0]
            lost.append((begin, end))

    def _take(self, piece: Piece) -> None:
        done = self._done
        if piece.begin < self._at:
            done.faults.append(
                f"entries [{piece.begin}, {piece.end}) stand at indexes that were there before: left out"
            )
            return
        if piece.begin > self._at:
            self._lose(self._at, piece.begin)
        elif piece.link is not None and piece.link != self._last:
            done.breaks.append(piece.begin)
        follows = piece.begin == self._at and piece.link == self._last and bool(piece.leaves)
        self._whole = self._whole and follows
        if self._whole:
            self._grow(piece)
        if not piece.leaves:
            done.checksum_only.append((piece.begin, piece.end))
        for item in piece.items:
            self._carry(item)
        self._at, self._last = piece.end, piece.last

    def _grow(self, piece: Piece) -> None:
        """The prefix grows by this piece; roots at the sizes of checkpoints in it are compared."""
        at = piece.begin
        for checkpoint in self._signed:
            if piece.begin < checkpoint.size <= piece.end:
                self._push(piece, at, checkpoint.size)
                at = checkpoint.size
                if self._root() != checkpoint.root:
                    self._done.contradicted.append(checkpoint.size)
        self._push(piece, at, piece.end)
        self._done.prefix = piece.end

    def _push(self, piece: Piece, begin: int, end: int) -> None:
        leaves = piece.leaves[(begin - piece.begin) * 32 : (end - piece.begin) * 32]
        lib.ledger_range_push(self._range, leaves, end - begin)

    def _root(self) -> bytes:
        root = ffi.new("uint8_t[32]")
        lib.ledger_range_root(self._range, root)
        return bytes(root)

    def _carry(self, item: Item) -> None:
        index, kind, _, payload = item
        if kind != 0:
            self._done.notes += index > 0
            return
        if event_fault(payload) is not None:
            self._done.faults.append(f"entry {index} is no event, though its hashes hold: left out")
            self._lose(index, index + 1)
            return
        full = len(self._batch) == _BATCH or self._bytes + len(payload) > _BATCH_BYTES
        if self._batch and (full or self._batch[-1][0] + 1 != index):
            self._flush()
        self._batch.append(item)
        self._bytes += len(payload)

    def _flush(self) -> None:
        """One batch: events of the source with indexes in a row, and the note that says which they were."""
        if not self._batch:
            return
        begin, end = self._batch[0][0], self._batch[-1][0] + 1
        times = [[at, len(list(same))] for at, same in groupby(item[2] for item in self._batch)]
        note = {"note": "repaired", "begin": begin, "end": end, "times": times}
        self._log.append_imported([item[3] for item in self._batch], note)
        self._done.events += len(self._batch)
        self._batch, self._bytes = [], 0


def _size_claimed(paths: Paths, signed: list[Checkpoint]) -> int:
    """How many entries there were at least, by HEAD and by the checkpoints under brought keys."""
    head, size = ffi.new("ledger_head *"), max((checkpoint.size for checkpoint in signed), default=0)
    try:
        data = read_file(paths.head)
    except FileNotFoundError:
        return size
    good = len(data) == 8192 and lib.ledger_head_parse(data, head) == lib.LEDGER_OK
    return max(size, int(head.synced_size)) if good else size
