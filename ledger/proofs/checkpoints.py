"""Checkpoints: signed statements of size and root, kept in checkpoints/, never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger.errors import MismatchError, VerificationError
from ledger.merkle import tree
from ledger.note import checkpoint_text, sign_note, verify_note
from ledger.proofs import keys
from ledger.proofs.statements import key_name
from ledger.storage.files import publish_file, read_file, translated
from ledger.storage.paths import Paths
from ledger.verify import Checkpoint, VerifierKey, parse_checkpoint, parse_note, parse_vkey

__all__ = ["Stored", "publish", "stored", "verified"]

Node = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint file: the signed note, and what its text says. Nothing about it is verified."""

    note: str
    checkpoint: Checkpoint


def stored(paths: Paths) -> tuple[list[Stored], list[str]]:
    """The checkpoints on disk by size, and what is wrong with files that are none."""
    found, problems = [], []
    for name in paths.list_checkpoints().found:
        path = paths.checkpoint(name.size, name.digest8)
        data = read_file(path)
        try:
            if hashlib.sha256(data).hexdigest()[:8] != name.digest8:
                raise VerificationError("its bytes do not match its name")
            note = data.decode()
            checkpoint = parse_checkpoint(parse_note(note)[0])
            if checkpoint.size != name.size:
                raise VerificationError("its size does not match its name")
        except (VerificationError, UnicodeDecodeError) as error:
            problems.append(f"{path}: {error}")
            continue
        found.append(Stored(note, checkpoint))
    return found, problems


def verified(item: Stored, brought: list[VerifierKey], origin: str) -> bool:
    """Whether a key that the verifier brought signed this checkpoint of this origin; a statements key does not count.

    `MismatchError` when such a key's signature is bad."""
    if item.checkpoint.origin != origin:
        return False
    try:
        verify_note(item.note, [key for key in brought if key.name != key_name(origin)])
    except MismatchError:
        raise
    except VerificationError:
        return False
    return True


def publish(paths: Paths, origin: str, size: int, node: Node, signer: Any, successor: Any = None) -> str:
    """Sign (size, root): after the newest checkpoint was found to be a prefix, and the state file says so.

    The caller holds the signing lock and has made `size` durable. Durable when it returns. `MismatchError`,
    nothing signed, when the tree does not extend what was signed before. A checkpoint of this size that this
    signer has signed is given again; one by any other key is not taken for it. A `successor` signs beside. [SIGN-1]"""
    root = tree.root(size, node)
    existing = [item for item in stored(paths)[0] if item.checkpoint.origin == origin]
    if existing:
        newest = existing[-1].checkpoint
        if newest.size > size or tree.root(newest.size, node) != newest.root:
            raise MismatchError(
                f"the ledger at size {size} does not extend the checkpoint of {newest.size} entries; nothing was "
                "signed. `sealedger verify` says more",
                newest.root,
                root,
            )
        own = [parse_vkey(signer.vkey)]
        for item in existing:
            if item.checkpoint == Checkpoint(origin, size, root) and successor is None and verified(item, own, origin):
                return item.note
    keys.write_state(origin, paths.root, size, lambda at: tree.root(at, node))
    signers = [signer] if successor is None else [signer, successor]
    note = sign_note(checkpoint_text(Checkpoint(origin, size, root)), signers)
    data = note.encode()
    with translated(f"storing the checkpoint of {size} entries; the ledger is safe, sign again"):
        publish_file(paths.checkpoint(size, hashlib.sha256(data).hexdigest()[:8]), data)
    return note
