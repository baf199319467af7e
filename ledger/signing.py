"""The signing half of `Ledger`: checkpoints, statements, keys and their rotation, proofs, verification."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.encoding import event as events
from ledger.encoding.identity import Identity
from ledger.errors import NoKeyError, UsageError
from ledger.reading import Reading
from ledger.storage.paths import Paths
from ledger.storage.writer import LOCK_SIGN, Writer
from ledger.types import Receipt

if TYPE_CHECKING:
    from ledger.proofs.verification import VerifyReport

__all__ = ["Signing"]


class Signing(Reading):
    """What one open ledger signs and proves. Any thread, any process: one signs at a time (byte 3 of `lock`).

    A key of the key folder is read anew for each signature, so that a rotation by another process counts at once."""

    path: Path
    paths: Paths
    identity: Identity
    readonly: bool
    _signer: Any  # given at opening; None: the key of the origin in the key folder

    @abstractmethod
    def _open_writer(self) -> Writer:
        """The writer; raises `ClosedError`, or `UsageError` when open for reading only."""

    @abstractmethod
    def append_note(self, note: dict[str, Any]) -> Receipt:
        """Append a note of the ledger; durable when it returns."""

    @property
    def origin(self) -> str:
        """The name under which checkpoints are signed: `<name>/<16 hex>`."""
        return self.identity.origin

    @property
    def fingerprint(self) -> bytes:
        """F, 32 bytes: pinning it pins id, origin and first keys."""
        return self.identity.fingerprint

    # ---- signatures ---------------------------------------------------------------------------------

    def checkpoint(self) -> str:
        """Sign the acknowledged size and root: a C2SP checkpoint, stored in checkpoints/ and durable.

        Refused (`MismatchError`) when it would not extend the newest checkpoint, on disk or in the signer's
        state. `NoKeyError` says how to make a key. One process signs at a time."""
        with self._open_writer().locked(LOCK_SIGN):
            return self._publish(self.signer())

    def _publish(self, signer: Any, successor: Any = None) -> str:
        from ledger.proofs import checkpoints

        return checkpoints.publish(self.paths, self.origin, self.size, self._open_store().node, signer, successor)

    def signer(self) -> Any:
        """The signer given at opening, or the key of this origin in the key folder."""
        from ledger.proofs import keys

        found = self._signer or keys.load(self.origin, self.path)
        if found is None:
            raise NoKeyError(
                f"there is no signing key for {self.origin}: `sealedger init {self.path}` makes one. "
                "Appends work without; nothing was changed"
            )
        return found

    def rotate_key(self, successor: Any = None) -> str:
        """Replace the checkpoint key, and return the checkpoint that both keys signed. Durable when it returns.

        `successor` is the signer that follows one given at opening; a key of the key folder is followed by one made
        there, and stays beside it as `retired`. Verifiers bring the new key's vkey themselves, from here: that a
        note names it proves nothing to them. A rotation cut off anywhere is finished by the next.

        Steps [SIGN-3]: the successor made · a "key" note that names it · a checkpoint with both signatures · the keys
        swapped. Raises as `checkpoint`; `UsageError` when the successor is missing, not asked for, or no other key."""
        from ledger.proofs import keys

        with self._open_writer().locked(LOCK_SIGN):
            old = self.signer()
            if (self._signer is None) != (successor is None):
                raise UsageError("give a successor if and only if the ledger was opened with a signer")
            new = successor or keys.successor(self.origin, self.path)
            if new.key.name != old.key.name or new.vkey == old.vkey:
                raise UsageError(f"the successor of {old.vkey} is another key of the same name, not {new.vkey}")
            self.append_note({"note": "key", "use": "checkpoints", "vkey": new.vkey, "replaces": old.vkey})
            checkpoint = self._publish(old, new)
            if successor is None:
                keys.promote(self.origin, self.path)
            else:
                self._signer = successor
            return checkpoint

    def statement(self, kind: str, body: bytes) -> bytes:
        """Sign `body` as a statement of that kind (`ledger.proofs.statements`), with the key `<origin>/statements`.

        The first one makes that key and commits it in a "key" note. Open for reading only, `NoKeyError` when there
        is none yet. `UsageError` for a body that is not lines of UTF-8 text."""
        from ledger.proofs import statements

        return statements.sign(kind, self.origin, body, self.statement_signer())

    def statement_signer(self) -> Any:
        """The statements key of this ledger, named by a note; made and committed when there is none."""
        from ledger.proofs import keys
        from ledger.proofs.statements import key_name

        name = key_name(self.origin)
        if (found := self._named(name)) is not None:
            return found
        if self.readonly:
            raise NoKeyError(f"no statements key of {self.origin} is named by a note yet: open it for writing once")
        with self._open_writer().locked(LOCK_SIGN):
            if (found := self._named(name)) is not None:
                return found  # another process was first
            made = keys.load(name, self.path) or keys.create(name, self.path)
            receipt = self.append_note({"note": "key", "use": "statements", "vkey": made.vkey})
            keys.write_noted(name, self.path, receipt.index)
            return made

    def _named(self, name: str) -> Any:
        """The key `name`, if the note that should name it does: a crash, or an older backup, may have lost it."""
        from ledger.proofs import keys

        signer, index = keys.load(name, self.path), keys.read_noted(name, self.path)
        if signer is None or index is None or not 0 < index < self.size:
            return None
        if self.entry(index)[1] != 1:
            return None  # an event that looks like a note
        note = events.unpack(self.payload(index))
        return signer if note.get("note") == "key" and note.get("vkey") == signer.vkey else None

    # ---- proofs -------------------------------------------------------------------------------------

    def prove(self, what: Receipt | int, *, at: str | None = None) -> str:
        """A `.tlog-proof` of one entry against the checkpoint `at` (default: the newest that covers it, else a
        new one). Its `extra` line is base64(entry ‖ salt). O(log n)."""
        from ledger.proofs import prover

        index = self._index(what) if isinstance(what, int) else what.index
        return prover.prove(self._open_store(), self.paths, index, at, self.checkpoint)

    def export_tiles(self, folder: Path) -> dict[str, int]:
        """Write the tree of a new checkpoint to `folder` in C2SP's layout (`ledger.proofs.tile_export`)."""
        from ledger.proofs import tile_export

        return tile_export.export(self._open_store(), folder, self.checkpoint())

    def verify(self, level: str = "full", **options: Any) -> VerifyReport:
        """Verify this ledger; see `ledger.proofs.verification.verify` for options and grades."""
        from ledger.proofs.verification import verify

        return verify(self.path, level=level, **options)
