"""Every exception that sealedger raises.

    LedgerError
    ├── UsageError (a ValueError)      the call is wrong; nothing happened
    │   ├── EventError                 an event cannot be stored; names its path or line
    │   └── QuerySyntaxError           a query cannot be read; names the position
    ├── ClosedError                    the ledger is closed
    │   └── ForkedHandleError          a future from before a fork
    ├── LockedError                    another process held the lock for too long
    ├── EnvironmentFailure             the system refused: permissions, file system, missing file
    │   └── DiskFullError              no space; the batch failed whole, nothing was lost
    ├── PoisonedError                  an earlier sync failed: this handle refuses work, reopen
    ├── DurabilityUnknownError         written, but whether it survives power loss is not known
    ├── CorruptionError                bytes on disk break the rules of docs/format.md
    ├── EvictedError                   the entries are in the archive only, and nothing reads from there
    ├── IndexUnusableError             a search index is missing or damaged; the entries are not affected
    ├── CopiedLedgerError              this directory is a copy: adopt it, or fork it
    ├── ArchiveError                   a target refused or could not; nothing local was changed
    │   ├── ObjectExistsError, ObjectMissingError, AccessRefusedError, RetentionError, LockNotAppliedError,
    │   │   BucketMissingError, CredentialsError, ClockSkewError, WrongRegionError, NeedsRestoreError
    │   ├── ThrottledError, UnavailableError     may pass by themselves
    │   └── ForkDetectedError, SquattedError     somebody else's object is under our key
    ├── NoKeyError                     a signature is asked for and there is no key
    └── VerificationError              not decided: malformed, unknown, missing
        └── MismatchError              decided, and the answer is no; carries both hashes

Each message says what happened, where, what is still safe, and what to do."""

from __future__ import annotations

from ledger.verify import MismatchError, VerificationError

__all__ = [
    "AccessRefusedError",
    "ArchiveError",
    "BucketMissingError",
    "ClockSkewError",
    "ClosedError",
    "CopiedLedgerError",
    "CorruptionError",
    "CredentialsError",
    "DiskFullError",
    "DurabilityUnknownError",
    "EnvironmentFailure",
    "EventError",
    "EvictedError",
    "ForkDetectedError",
    "ForkedHandleError",
    "IndexUnusableError",
    "LedgerError",
    "LockNotAppliedError",
    "LockedError",
    "MismatchError",
    "NeedsRestoreError",
    "NoKeyError",
    "ObjectExistsError",
    "ObjectMissingError",
    "PoisonedError",
    "QuerySyntaxError",
    "RetentionError",
    "SquattedError",
    "ThrottledError",
    "UnavailableError",
    "UsageError",
    "VerificationError",
    "WrongRegionError",
]


class LedgerError(Exception):
    """The root of what sealedger raises (`VerificationError` stands beside it, in `ledger.verify`)."""


class UsageError(LedgerError, ValueError):
    """The call is wrong; nothing happened."""


class EventError(UsageError):
    """An event cannot be stored. `path` is where in the event (`$.user.tags[3]`), `position` which of a
    batch, or the line of a file; nothing of the call was stored."""

    def __init__(self, message: str, *, path: str | None = None, position: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.position = position


class QuerySyntaxError(UsageError):
    """A query cannot be read. `position` counts characters from 0; the message shows the text with a caret under it."""

    def __init__(self, what: str, text: str, position: int) -> None:
        begin = max(0, position - 60)
        line = text[begin : position + 60].replace("\n", " ").replace("\t", " ")
        super().__init__(f"{what}, at position {position}\n  {line}\n  {' ' * (position - begin)}^")
        self.text = text
        self.position = position


class ClosedError(LedgerError):
    """The ledger is closed."""


class ForkedHandleError(ClosedError):
    """The future was made before this process was forked; its parent knows the outcome."""


class LockedError(LedgerError):
    """The lock was not free in time; nothing was written."""


class EnvironmentFailure(LedgerError):
    """The system refused: permissions, file system, a missing file."""


class DiskFullError(EnvironmentFailure):
    """No space left. The batch failed whole; earlier events are safe; goes on when there is space."""


class PoisonedError(LedgerError):
    """An earlier sync failed. This handle refuses work; open the ledger anew to recover."""


class DurabilityUnknownError(LedgerError):
    """The events were written, but the sync failed: whether they survive power loss is not known
    until the ledger is opened anew."""


class CorruptionError(LedgerError):
    """Bytes on disk break the rules. Nothing was changed. `segment` and `offset` say where, `index` is the
    first index that may be lost, `evidence` what proves that this is no torn tail."""

    def __init__(
        self,
        message: str,
        *,
        segment: int | None = None,
        offset: int | None = None,
        index: int | None = None,
        evidence: str | None = None,
    ) -> None:
        super().__init__(message)
        self.segment = segment
        self.offset = offset
        self.index = index
        self.evidence = evidence


class EvictedError(LedgerError):
    """The entries of `segment` were dropped here after their copies were verified; they are in the archive. Open
    the ledger with its archive to read them; hashes and proofs of checkpoints are still here."""

    def __init__(self, message: str, *, segment: int) -> None:
        super().__init__(message)
        self.segment = segment


class IndexUnusableError(LedgerError):
    """A search index cannot be used: missing, of a newer version, or damaged. It is derived: the entries are not
    affected, they can be read without it, and it can be built anew from them."""


class CopiedLedgerError(LedgerError):
    """This directory is a copy of a ledger. Use `adopt` if the original is gone, else `fork`."""


class NoKeyError(LedgerError):
    """A signature is asked for and there is no signing key."""


class ArchiveError(LedgerError):
    """A target refused, or could not do it; nothing local was changed. `retryable`: it may pass by itself."""

    retryable = False


class ObjectExistsError(ArchiveError):
    """Something is under the key already; it was left as it is."""


class ObjectMissingError(ArchiveError):
    """There is no such key or version, or it is a delete marker."""


class AccessRefusedError(ArchiveError):
    """The credentials are good and do not allow this."""


class RetentionError(ArchiveError):
    """The target refused a lock: in the past, shorter than the one that is there, or weaker."""


class LockNotAppliedError(ArchiveError):
    """An object is there without the lock that it must have. It does not count as shipped."""


class BucketMissingError(ArchiveError):
    """There is no such bucket or folder."""


class CredentialsError(ArchiveError):
    """No credentials, wrong ones, or expired ones."""


class ClockSkewError(ArchiveError):
    """The clocks here and there differ: retention would be wrong by as much."""


class WrongRegionError(ArchiveError):
    """The bucket is in another region."""


class ThrottledError(ArchiveError):
    """Too many requests for the target."""

    retryable = True


class UnavailableError(ArchiveError):
    """No answer, a broken one, or a server's own error: whether it was done is not known."""

    retryable = True


class NeedsRestoreError(ArchiveError):
    """The object is in cold storage and must be asked back first."""


class ForkDetectedError(ArchiveError):
    """The archive holds another history of this ledger. Nothing more is written there; both are evidence."""


class SquattedError(ArchiveError):
    """A stranger's object is under a key of ours."""
