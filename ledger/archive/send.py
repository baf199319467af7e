"""One attempt to bring one object to one target, through the journal.

(1) INTENT     sha256, length and lock are decided, once, and synced       a crash: the same again
(2) PUT        one request, never over what is there, lock headers         a crash or a lost answer: the name is
               taken by our own bytes, which are found and adopted
(3) PUT record key and version                                             a crash: that version is re-read
(4) VERIFY     by version: bytes, length, lock mode and date               not locked: set the lock, look again
(5) VERIFIED   the receipt, synced                                         the only thing that counts  [SHIP-1..3]

Of several versions with our bytes the oldest is adopted. Other bytes under our key are a fork, which stops the
target, or a stranger's, which moves us to a longer name (`keys`, `compare`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ledger.archive import compare
from ledger.archive.archive_manifest import Open
from ledger.archive.journal import Intent, Journal, Put, Verified
from ledger.archive.source import Item
from ledger.archive.target import Lock, Target, Version
from ledger.errors import (
    AccessRefusedError,
    CorruptionError,
    ForkDetectedError,
    LockNotAppliedError,
    ObjectExistsError,
    ObjectMissingError,
    RetentionError,
    UnavailableError,
)

__all__ = ["Alarm", "Sender", "covers"]

LOCK_WAITS_S = (1, 2, 4, 8, 16, 32, 60)  # some servers show a lock only after a while
_STRENGTH = {None: 0, "GOVERNANCE": 1, "COMPLIANCE": 2}


@dataclass(frozen=True, slots=True)
class Alarm:
    """What somebody should look at although shipping goes on. `kind`: "squatted", "changed", "damaged"."""

    kind: str
    key: str
    message: str


def covers(found: Lock | None, mode: str | None, until: int) -> bool:
    """Whether a lock is at least as strong and as long as one of `mode` until `until`."""
    if mode is None:
        return True
    return found is not None and _STRENGTH[found.mode] >= _STRENGTH[mode] and found.until >= until


class Sender:
    """Sends items to `target`. Threads may send different items at once."""

    def __init__(
        self,
        target: Target,
        journal: Journal,
        open_statement: Open,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        alarm: Callable[[Alarm], None],
        conditional: bool,
    ) -> None:
        """`sleep` may raise to give up. `conditional`: the target keeps "only if absent"; where it does not, each key
        is looked at before and after the put, and the oldest version with our bytes is adopted."""
        self._target, self._journal, self._open = target, journal, open_statement
        self._clock, self._sleep, self._alarm, self._conditional = clock, sleep, alarm, conditional
        self.there: set[str] = set()  # keys that were taken when the journal was begun: looked at before a put

    def send(self, item: Item, lock: Lock | None, lists: list[str] | None = None) -> Verified:
        """Bring it there and return its receipt. `lock` (and `lists`) count only the first time that the item is
        seen. Raises `ArchiveError`s, of which those with `retryable` say to come again; the item is then in the
        queue as before. `ForkDetectedError` says that this target must not be written to."""
        known = self._journal.progress.get(item.name)
        if known is not None and known.verified is not None:
            return known.verified
        put = None if known is None else known.put
        if known is None:
            intent = self._intend(item, lock, lists)
        else:
            intent = known.intent if put is not None else self._intended(item, known.intent)
        if put is None:
            put = self._place(item, intent)
            self._journal.record_put(item.name, put)
        receipt = self._verify(item, intent, put)
        self._journal.record_verified(item.name, receipt)
        return receipt

    def _intend(self, item: Item, lock: Lock | None, lists: list[str] | None) -> Intent:
        sha256, length = item.digest()
        mode, until = (None, 0) if lock is None else (lock.mode, lock.until)
        intent = Intent(sha256, length, mode, until, lists or [], item.facts)
        self._journal.intend(item.name, intent)
        return intent

    def _intended(self, item: Item, intent: Intent) -> Intent:
        """What an earlier run decided, if the local bytes still are those. An index may have been rebuilt."""
        sha256, length = item.digest()
        if (sha256, length) == (intent.sha256, intent.length):
            return intent
        if item.key.kind != "idx":
            raise CorruptionError(
                f"{item.name}: the local bytes have changed since they were queued; nothing was sent. Verify the ledger"
            )
        changed = replace(intent, sha256=sha256, length=length)
        self._journal.intend(item.name, changed)
        return changed

    def find(self, name: str) -> bytes | None:
        """The bytes of an object that was intended, from the target, wherever they went; None when they never
        arrived."""
        intent = self._journal.progress[name].intent
        for found in self._target.versions(name):
            if compare.same_bytes(self._target, found, intent.sha256, intent.length):
                return self._target.read(found.key, found.version)
        return None

    def extend(self, name: str, until: int) -> None:
        """Lengthen the retention of an object that has its receipt; the new receipt is durable when it returns."""
        progress = self._journal.progress[name]
        old = progress.verified
        assert old is not None
        if old.mode is None:
            return
        self._target.extend(old.key, old.version, Lock(old.mode, until))
        found = self._target.stat(old.key, old.version).lock
        if not covers(found, old.mode, until):
            raise LockNotAppliedError(
                f"the retention of {old.key} on {self._target.url} was not lengthened to {until} (found {found}); what "
                "was there holds"
            )
        self._journal.record_verified(name, replace(old, until=until, checked_at=int(self._clock())))

    # ---- PUT ------------------------------------------------------------------------------------

    def _place(self, item: Item, intent: Intent) -> Put:
        """Put it under the first name that no stranger holds, or find it there."""
        key, rounds = item.key, 0
        digest = item.footer.seal_hash if item.footer is not None else intent.sha256
        lock = None if intent.mode is None else Lock(intent.mode, intent.until)
        while True:
            put = self._try(str(key), item, intent, lock)
            if put is not None:
                return put
            taken = self._versions(str(key))
            own = self._own(taken, intent)
            if own is not None:
                return Put(str(key), own.version)
            self._judge(item, taken)
            rounds += 1
            key = item.key.squatted(digest, rounds)

    def _try(self, key: str, item: Item, intent: Intent, lock: Lock | None) -> Put | None:
        """One request, unless something is there already; None when something is, or was a moment ago."""
        looks = not self._conditional or key in self.there
        if looks and any(not found.marker for found in self._versions(key)):
            return None
        try:
            receipt = self._target.put(key, item.data, intent.sha256, lock, if_absent=True)
        except ObjectExistsError:
            return None
        return Put(key, receipt.version) if self._conditional else None

    def _versions(self, key: str) -> list[Version]:
        """All versions under exactly this key, oldest first."""
        return [found for found in self._target.versions(key) if found.key == key]

    def _own(self, taken: list[Version], intent: Intent) -> Version | None:
        """The oldest version with our bytes."""
        same = (v for v in taken if compare.same_bytes(self._target, v, intent.sha256, intent.length))
        return next(same, None)

    def _judge(self, item: Item, taken: list[Version]) -> None:
        """None of these is ours: raise for a fork, alarm for a stranger."""
        foreign = [found for found in taken if not found.marker]
        if not foreign:
            raise UnavailableError(
                f"{item.name} on {self._target.url} was there for the put and not for the listing; nothing is lost, "
                "it is tried again"
            )
        for found in foreign:
            if compare.is_fork(self._target, found, item, self._open):
                raise ForkDetectedError(
                    f"{found.key} on {self._target.url}, version {found.version}, is another history of this ledger: "
                    "it follows the same predecessor and has other entries. Shipping there has stopped, and both "
                    "are safe. Was this ledger restored from a backup or copied? Find out which one is true before "
                    "anything is signed or shipped"
                )
        if item.key.kind != "idx":
            versions = ", ".join(found.version for found in foreign)
            self._alarm(Alarm("squatted", foreign[0].key, f"foreign bytes on {self._target.url} (versions {versions})"))

    # ---- VERIFY ---------------------------------------------------------------------------------

    def _verify(self, item: Item, intent: Intent, put: Put) -> Verified:
        """The version as the target has it now. Sets a lock that is missing or too weak, and looks again."""
        found = self._stat(item, intent, put)
        waits = iter(LOCK_WAITS_S)
        while not covers(found.lock, intent.mode, intent.until):
            refused = self._set_lock(intent, put)
            wait = next(waits, None)
            if wait is None or refused is not None:
                raise LockNotAppliedError(
                    f"{put.key} on {self._target.url}, version {put.version}, is not locked as intended "
                    f"({intent.mode} until {intent.until}; found {found.lock}){refused or ''}. It does not count as "
                    "shipped and nothing local is dropped; run the doctor on this target"
                )
            found = self._stat(item, intent, put)
            if not covers(found.lock, intent.mode, intent.until):
                self._sleep(wait)
                found = self._stat(item, intent, put)
        lock = found.lock
        mode, until = (None, 0) if lock is None else (lock.mode, lock.until)
        return Verified(put.key, put.version, mode, until, intent.sha256, int(self._clock()))

    def _set_lock(self, intent: Intent, put: Put) -> str | None:
        """Ask for the lock; why that was refused, or None."""
        assert intent.mode is not None
        try:
            self._target.extend(put.key, put.version, Lock(intent.mode, intent.until))
        except (AccessRefusedError, RetentionError) as error:
            return f": {error}"
        return None

    def _stat(self, item: Item, intent: Intent, put: Put) -> Version:
        """The version, which must have our bytes: else it is forgotten, and the item starts again from PUT."""
        try:
            found = self._target.stat(put.key, put.version)
        except ObjectMissingError as error:
            self._journal.intend(item.name, intent)
            raise UnavailableError(f"{error}. It was put there and is gone: it is put again") from error
        if not compare.same_bytes(self._target, found, intent.sha256, intent.length):
            self._journal.intend(item.name, intent)
            self._alarm(Alarm("damaged", put.key, f"version {put.version} does not hold what was put"))
            raise UnavailableError(
                f"{put.key} on {self._target.url}, version {put.version}, does not hold the bytes that were put; it "
                "does not count, and they are put again"
            )
        return replace(found, key=put.key)
