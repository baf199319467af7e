"""Statements: signed text of other kinds than a checkpoint (exports, results, archive manifests), by a key of its own.

    sealedger/<kind>/v1 <origin>        first line, so that no kind is taken for another and no ledger for another
    <the lines of the body>
                                        a blank line
    — <origin>/statements <signature>   C2SP signed note

The key is named `<origin>/statements`, kept like the checkpoint key (`ledger.proofs.keys`), and named by a "key" note
of the ledger before it signs. Checkpoint keys sign no statements; its own checkpoints count for nothing [SIGN-2]."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ledger.errors import UsageError, VerificationError
from ledger.note import sign_note, verify_note
from ledger.verify import ED25519, parse_vkey

__all__ = ["key_name", "open_statement", "sign"]

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


def key_name(origin: str) -> str:
    """The name of the key that signs the statements of the ledger `origin`."""
    return f"{origin}/statements"


def _first_line(kind: str, origin: str) -> str:
    if not _KIND.fullmatch(kind):
        raise UsageError(f"a kind of statement is 1 to 32 of a-z, 0-9 and '-', a letter first: {kind[:80]!r}")
    return f"sealedger/{kind}/v1 {origin}\n"


def sign(kind: str, origin: str, body: bytes, signer: Any) -> bytes:
    """The statement of that kind over `body`: UTF-8 lines, each ended by a newline, without other control
    characters; none is a body too. Signed, it has at most 1 MiB.

    Raises `UsageError`, before the signer is asked, for a body that is not so, or a signer whose key is not
    named `<origin>/statements`."""
    if signer.key.name != key_name(origin):
        raise UsageError(f"statements of {origin} are signed by {key_name(origin)}, not by {signer.key.name}")
    try:
        lines = body.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the body of a statement is UTF-8 text: {error}") from None
    if lines and not lines.endswith("\n"):
        raise UsageError("the last line of a statement's body ends with a newline too")
    return sign_note(_first_line(kind, origin) + lines, [signer]).encode()


def open_statement(data: bytes, kind: str, origin: str, vkeys: Iterable[str]) -> bytes:
    """The body of a statement, verified by those of the brought keys that are named `<origin>/statements`.

    Raises `VerificationError` when none of them signed it, it is malformed, or it is a statement of another kind or
    ledger; `MismatchError` for a bad signature under such a key."""
    brought = [key for key in map(parse_vkey, vkeys) if key.name == key_name(origin) and key.type == ED25519]
    if not brought:
        raise VerificationError(f"none of the keys that were brought is {key_name(origin)}: nothing was verified")
    text, _ = verify_note(data, brought)
    first, _, body = text.partition("\n")
    if first + "\n" != _first_line(kind, origin):
        raise VerificationError(f"this statement says that it is {first[:200]!r}, not a {kind} of {origin}")
    return body.encode()
