"""Ship a ledger to one target: identity, sealed segments, their indexes, checkpoints, then the signed manifest.

The queue is what is sealed minus what has a receipt, so nothing is lost with the queue. One object goes as
`send` says; here is the order, the retention of each, when to try again (`pace`), and what the ledger itself is
told. An append never waits for any of this, and no error of a target reaches one.

A manifest is due when something new has a receipt (`run_once`: at once; `follow`: after `manifest_age_s`), and
after `manifest_age_s` also when nothing happened, with a heartbeat note and a new checkpoint before it: so silence
shows. Its bytes lie in `ship/<target>.pending` from before its INTENT, since a second signing would be another
manifest. What a crash after each step leaves is finished by the next run [SHIP-4]."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ledger.archive import keys
from ledger.archive.archive_manifest import KIND, Open, Sign
from ledger.archive.catalog import Catalog
from ledger.archive.journal import Journal, Verified
from ledger.archive.pace import BLOCKED, STOPPED, Pace
from ledger.archive.pending import read_pending, write_pending
from ledger.archive.policy import DAY_S, Owner, Policy, ShipReport
from ledger.archive.reconcile import reconcile
from ledger.archive.send import Sender
from ledger.archive.source import Item, Source
from ledger.archive.target import Lock, Target
from ledger.errors import (
    ArchiveError,
    ClockSkewError,
    CorruptionError,
    EnvironmentFailure,
    LedgerError,
    VerificationError,
)

__all__ = ["Shipper"]

_SKEW_S = 300
_OLD_CHECKPOINTS_MAX = 1000
_SLACK_S = 30 * DAY_S  # what stands for the whole ledger is extended about once in this time


class _Stopped(Exception):
    """`stop` was called."""


class Shipper:
    """Ships one ledger to one target; holds the lock of that target's journal until `close`."""

    def __init__(
        self,
        source: Source,
        target: Target,
        name: str,
        policy: Policy,
        owner: Owner,
        sign: Sign,
        open_statement: Open,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None] | None = None,
        random: Callable[[], float],
        conditional: bool = True,
    ) -> None:
        """`name`: of the target in file names. `conditional`: the target keeps "only if absent", as the doctor found.
        `sleep` defaults to a wait that `stop` ends. Raises `LockedError` when another process ships there,
        `CorruptionError` for a damaged journal."""
        self._source, self._target, self._name, self._policy = source, target, name, policy
        self._owner, self._sign, self._open, self._clock = owner, sign, open_statement, clock
        self._stop = threading.Event()
        self._sleep = sleep or self._wait
        self._conditional = conditional
        self.pace = Pace(random)
        self.report = ShipReport()
        self._counting = threading.Lock()
        self._manifest_at = self._clock_checked_at = -math.inf
        self._open_journal()

    def _open_journal(self) -> None:
        paths = self._source.paths
        self._journal = Journal(paths.ship_log(self._name), self._source.identity.fingerprint, self._target.url)
        self._catalog = Catalog(self._journal)
        self._sender = Sender(
            self._target,
            self._journal,
            self._open,
            clock=self._clock,
            sleep=self._sleep,
            alarm=self.report.alarms.append,
            conditional=self._conditional,
        )

    # ---- running --------------------------------------------------------------------------------

    def run_once(self) -> ShipReport:
        """Ship all that is sealed now, a manifest that lists it last. Tries again for as long as errors may pass;
        returns when all is done, or blocked, or stopped. Never raises for what a target does."""
        try:
            while not self._attempt(flush=True):
                if self.pace.state in (BLOCKED, STOPPED):
                    break
        except _Stopped:
            self.report.reason = self.report.reason or "stopped"
        return self._finish()

    def follow(self, poll_s: float = 1.0) -> ShipReport:
        """Ship for ever, until `stop` or a fork."""
        try:
            while self.pace.state != STOPPED:
                if self._attempt(flush=False):
                    self._wait(poll_s)
        except _Stopped:
            self.report.reason = self.report.reason or "stopped"
        return self._finish()

    def stop(self) -> None:
        """From any thread: end the run after the request that is under way."""
        self._stop.set()

    def close(self) -> None:
        """Give up the journal and its lock."""
        self._journal.close()

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _attempt(self, *, flush: bool) -> bool:
        """One pass over the queue; False after a failure that was waited for."""
        self.report.problems.clear()
        if not self._journal.is_open:
            self._open_journal()
        try:
            self._pass(flush=flush)
        except ArchiveError as error:
            wait = self.pace.failed(error)
            self.report.state, self.report.reason = self.pace.state, self.pace.reason
            if wait and not (flush and self.pace.state == BLOCKED):
                self._sleep(wait)
            return False
        except (LedgerError, VerificationError) as error:
            self.report.problems.append(str(error))
        self.pace.succeeded()
        self.report.reason = ""
        return True

    def _finish(self) -> ShipReport:
        self.report.state = self.pace.state
        done = self._journal.progress
        self.report.lag_segments = sum(
            (known := done.get(str(key))) is None or known.verified is None for key in self._source.segment_keys()
        )
        self.report.manifest = self._catalog.number - 1
        return self.report

    # ---- one pass -------------------------------------------------------------------------------

    def _pass(self, *, flush: bool) -> None:
        self._check_clock()
        if not self._journal.reconciled:
            reconcile(self._journal, self._target, self._source, self._owner.root_at, self._open, self._clock)
            self._journal.record_reconciled()
            self._catalog = Catalog(self._journal)
            self._sender.there = {at.key for at in self._target.versions(keys.folder(self._source.ledger_id))}
        for item in self._source.standing():
            self._ship(item)
        self._ship_segments()
        self._ship_checkpoints()
        self._ship_manifest(flush=flush)

    def _check_clock(self) -> None:
        """Now and then: a wrong clock here would be a wrong retention there."""
        now = self._clock()
        if now - self._clock_checked_at < self._policy.manifest_age_s:
            return
        skew = self._target.server_time() - now
        if abs(skew) > _SKEW_S:
            raise ClockSkewError(
                f"the clock here and that of {self._target.url} differ by {skew:+.0f} s: retention would be wrong by "
                "as much. Nothing was shipped, nothing was lost: set the clock"
            )
        self._clock_checked_at = now

    def _done(self, name: str) -> Verified | None:
        progress = self._journal.progress.get(name)
        return None if progress is None else progress.verified

    def _ship(self, item: Item, lists: list[str] | None = None) -> None:
        """Send one item unless it has its receipt."""
        if self._stop.is_set():
            raise _Stopped
        if self._done(item.name) is not None:
            return
        until = max(item.time, int(self._clock()) + DAY_S - self._policy.retention_s) + self._policy.retention_s
        if item.key.kind not in ("seg", "idx"):
            until = max(until, math.ceil(self._clock()) + self._policy.retention_s, self._catalog.until())
        self._sender.send(item, Lock(self._policy.mode, until) if item.locked else None, lists)
        progress = self._journal.progress[item.name]
        with self._counting:
            self.pace.succeeded()
            self._catalog.note(item.name, progress)
            self.report.shipped += 1
            self.report.bytes += progress.intent.length
        if self._policy.bytes_per_second:
            self._sleep(progress.intent.length / self._policy.bytes_per_second)

    def _ship_segments(self) -> None:
        """The segments, then their indexes."""
        self._ship_many(self._source.segment_keys(), self._source.segment)
        self._ship_many(self._source.index_keys(), self._source.index)

    def _ship_many(self, wanted: list[keys.Key], read: Callable[[int], Item]) -> None:
        """Some at once. What is wrong with one local file holds up no other; what the target says ends the pass."""
        due = [key.number for key in wanted if self._done(str(key)) is None]
        failed: list[BaseException] = []

        def one(number: int) -> None:
            if failed:
                return
            try:
                self._ship(read(number))
            except (CorruptionError, EnvironmentFailure) as error:  # this one only, while the journal works
                self.report.problems.append(str(error))
                if not self._journal.is_open:
                    failed.append(error)
            except (ArchiveError, _Stopped) as error:
                failed.append(error)

        if self._policy.concurrency == 1 or len(due) < 2:
            for number in due:
                one(number)
        else:
            with ThreadPoolExecutor(self._policy.concurrency, "sealedger-ship") as pool:
                list(pool.map(one, due))
        if failed:
            raise failed[0]

    def _ship_checkpoints(self) -> None:
        newest = self._catalog.checkpoint_size  # smaller ones are part of what it signs
        for found in self._source.checkpoint_names():
            if found.size >= newest and self._done(str(self._source.checkpoint_key(found))) is None:
                try:
                    item = self._source.checkpoint(found)
                except CorruptionError as error:
                    self.report.problems.append(str(error))
                else:
                    self._ship(item)

    # ---- manifests ------------------------------------------------------------------------------

    def _ship_manifest(self, *, flush: bool) -> None:
        if self._catalog.pending is not None:
            self._send_pending()
        self._note_manifest()
        aged = self._clock() - self._manifest_at >= self._policy.manifest_age_s
        new = self._catalog.unlisted()
        if not aged and not (new and flush):
            return
        if not new and self._catalog.number:
            self._owner.append_note({"note": "heartbeat", "target": self._name})
        self._owner.checkpoint()
        self._ship_checkpoints()
        self._extend_standing()
        new = self._catalog.unlisted()
        body = self._catalog.build(int(self._clock()), self._checkpoint_note(), new).body()
        data = self._sign(KIND, body)
        write_pending(self._source.paths, self._name, data)
        self._ship(self._manifest_item(data), new)
        self._note_manifest()
        self._drop_old_checkpoints()

    def _drop_old_checkpoints(self) -> None:
        """One comes a minute, and the journal needs the newest: forget the others when they are many."""
        newest = self._catalog.checkpoint_size

        def keep(name: str) -> bool:
            key = keys.parse(name)
            return key is None or key.kind != "ckpt" or key.number >= newest

        if sum(not keep(name) for name in self._journal.progress) >= _OLD_CHECKPOINTS_MAX:
            self._journal.rewrite(keep)

    def _manifest_item(self, data: bytes) -> Item:
        key = keys.manifest(self._source.ledger_id, self._catalog.number)
        return Item(key, data, True, int(self._clock()))

    def _send_pending(self) -> None:
        """Finish the manifest that was begun. Where its bytes are lost, they are on the target or nowhere, and
        then it is as if it had not been begun."""
        name = self._catalog.pending
        assert name is not None
        wanted = self._journal.progress[name].intent.sha256
        data = read_pending(self._source.paths, self._name)
        if data is None or hashlib.sha256(data).digest() != wanted:
            data = self._sender.find(name)
        if data is None:
            self._journal.forget(name)
            self._catalog.pending = None
            return
        self._ship(self._manifest_item(data))

    def _note_manifest(self) -> None:
        """Tell the ledger, and MANIFEST, of the newest manifest, once."""
        n = self._catalog.number - 1
        link = self._catalog.links.get(n)
        if link is None:
            return
        self._manifest_at = max(self._manifest_at, self._last_checked(n))
        name = str(keys.manifest(self._source.ledger_id, n))
        progress = self._journal.progress[name]
        if progress.noted:
            return
        listed = [self._catalog.rows[item] for item in progress.intent.lists]
        place = {"target": self._name, "url": self._target.url, "manifest": n}
        copies = {
            row.segno: {**place, "key": row.key, "version": row.version, "mode": row.mode, "until": row.until}
            for row in listed
            if row.seal_hash
        }
        if copies:
            self._owner.mark_shipped(copies)
            digest = bytes.fromhex(link.sha256)
            self._owner.append_note({"note": "shipped", **place, "sha256": digest, "segments": sorted(copies)})
        self._journal.record_noted(name)

    def _last_checked(self, n: int) -> float:
        receipt = self._done(str(keys.manifest(self._source.ledger_id, n)))
        return -math.inf if receipt is None else receipt.checked_at

    def _checkpoint_note(self) -> str:
        """The newest checkpoint that was shipped, "" for none or when it is gone from here since."""
        wanted = self._catalog.checkpoint_name
        for found in reversed(self._source.checkpoint_names()):
            if str(self._source.checkpoint_key(found)) == wanted:
                data = self._source.checkpoint(found).data
                assert isinstance(data, bytes)
                return data.decode()
        return ""

    def _extend_standing(self) -> None:
        """The identity must outlive every segment: lengthen its retention when theirs has outgrown it."""
        wanted = self._catalog.until()
        for item in self._source.standing():
            receipt = self._done(item.name)
            if receipt is not None and receipt.until < wanted:
                self._sender.extend(item.name, wanted + _SLACK_S)
                self._catalog.note(item.name, self._journal.progress[item.name])
