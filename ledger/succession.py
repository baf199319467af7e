"""What becomes of a copied ledger: it is adopted, where the original is gone, or a new ledger follows it.

A copy has the identity of the original. Writing on in both would make two histories of one name, so a copy opens for
reading only, until its owner says which of the two it is (docs/operations.md "Backup and restore")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger.encoding.identity import Identity
from ledger.engine import Ledger
from ledger.errors import CopiedLedgerError, CorruptionError, EnvironmentFailure, UsageError
from ledger.proofs import keys
from ledger.proofs.verification import verify
from ledger.storage.create import create, is_copy, write_lock_digest
from ledger.storage.identity_file import read_identity
from ledger.storage.paths import Paths
from ledger.storage.place import check_place

__all__ = ["adopt", "begin_after", "fork"]


def adopt(path: str | Path) -> int:
    """Make the copy at `path` the ledger itself: the original is gone, or is never written to again. Durable when it
    returns; gives the index of the "copied" note that says so.

    Nothing here can know what became of the original: where both go on, there are two histories of one name, and the
    signer's state on one host, or anyone with checkpoints of both, finds out. `UsageError` when it is no copy."""
    paths = Paths(Path(path).absolute())
    identity = _identity(paths)
    if not is_copy(paths):
        raise UsageError(f"{path} is no copy of a ledger, it was made here; nothing was changed")
    check_place(paths.root)
    write_lock_digest(paths)
    with Ledger(path, create=False) as log:
        return int(log.append_note({"note": "copied", "fingerprint": identity.fingerprint}).index)


def fork(source: str | Path, target: str | Path, *, name: str | None = None) -> Ledger:
    """Begin a new ledger at `target` that follows the one at `source`, with a key of its own; returns it, open.

    No entry is carried over: they are hashed under the identity of the old ledger, whose folder stays evidence and is
    not changed. LEDGER of the new one names its predecessor: fingerprint, origin, size and root, so that pinning the
    new fingerprint pins the old history too. `name`: the first part of the origin, by default that of the old.

    The source is verified in full first: `CorruptionError` when it is not self-consistent (`repair` is for that).
    `UsageError` when something is at `target` already. Cost: a verification of the source."""
    report = verify(source, require="L1")
    if not report.ok:
        raise CorruptionError(
            f"{source} is damaged, nothing was made: {report.problems}. `sealedger repair` is for that"
        )
    known = _identity(Paths(Path(source).absolute()))
    predecessor = {"reason": "fork", "size": report.size, "root": bytes.fromhex(report.root)}
    return begin_after(known, Path(source), Path(target), predecessor, name)


def begin_after(known: Identity, source: Path, target: Path, facts: dict[str, Any], name: str | None) -> Ledger:
    """A new ledger at `target`, which names `known` as its predecessor, with `facts`; and its key."""
    paths = Paths(target.absolute())
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise UsageError(f"{target} and {source} lie in each other; choose another folder. Nothing was made")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty; nothing was made")
    made = create(
        paths,
        name=name or known.origin.rpartition("/")[0],
        limits=known.limits,
        keys=keys.for_new_ledger(target, None, new_key=True),
        predecessor={"fingerprint": known.fingerprint, "origin": known.origin, **facts},
    )
    if made.predecessor is None or made.predecessor["fingerprint"] != known.fingerprint:
        raise CopiedLedgerError(f"another ledger was made at {target} meanwhile; it was not changed")
    return Ledger(target, create=False)


def _identity(paths: Paths) -> Identity:
    try:
        return read_identity(paths)
    except FileNotFoundError:
        raise EnvironmentFailure(f"there is no ledger at {paths.root}; nothing was made") from None
