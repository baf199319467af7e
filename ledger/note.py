"""Write signed notes, checkpoints, keys and proof files; reading them is `ledger.verify`'s.

    note       = text ‖ "\\n" ‖ one line a signature: "— name base64(key id ‖ signature)\\n"
    checkpoint = a note whose text is origin, size, root, a line each
    vkey       = name+key id+base64(type ‖ public key)
    skey       = PRIVATE+KEY+name+key id+base64(type ‖ seed)   a secret: mode 0600, never logged

There is one parser, in `ledger.verify`, and what is written here is read back through it before it
leaves. Bytes as C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof have them.
`cryptography` is imported when something is first signed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from ledger.verify import (
    COSIGNATURE,
    ED25519,
    PROOF_HEADER,
    SIZE_END,
    Checkpoint,
    Signed,
    VerificationError,
    VerifierKey,
    cosigned_message,
    make_key,
    parse_base64,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_vkey,
    verify_note,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "Checkpoint",
    "Cosigner",
    "NoteSigner",
    "Signer",
    "Signed",
    "VerifierKey",
    "add_signatures",
    "format_checkpoint",
    "format_proof",
    "format_vkey",
    "make_key",
    "parse_checkpoint",
    "parse_note",
    "parse_proof",
    "parse_vkey",
    "sign_note",
    "open_checkpoint",
    "verify_note",
]

_SKEY_PREFIX = "PRIVATE+KEY+"


class Signer(Protocol):
    """What can put its line under a note; the private key may live on another host."""

    @property
    def key(self) -> VerifierKey:
        """The public half: name, key id, type, public key."""

    def sign(self, text: str) -> bytes:
        """Return the signature bytes of `text`, all that follows the key id in the line."""


class NoteSigner:
    """Signs with an Ed25519 key in this process; type 0x01. Its `repr` shows no secret."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self._key = make_key(name, ED25519, _public_bytes(private_key))

    @classmethod
    def generate(cls, name: str) -> NoteSigner:
        """Make a new key from the system's randomness. Nothing is stored: keep its `skey()`."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_skey(cls, skey: str) -> NoteSigner:
        """Read a secret key string. VerificationError, without the secret in it, when malformed."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        name, _, rest = skey.strip().removeprefix(_SKEY_PREFIX).partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            secret = parse_base64(encoded)
        except VerificationError:
            secret = b""  # the message of this error would quote the secret
        if not skey.startswith(_SKEY_PREFIX) or len(secret) != 33 or secret[0] != ED25519:
            raise VerificationError("not a secret key string of an Ed25519 key")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(secret[1:]))
        if signer.key.key_id.hex() != key_id:
            raise VerificationError(f"the key id of this key of {name!r} is another")
        return signer

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        return self._key

    def skey(self) -> str:
        """Return the secret key string. Write it with mode 0600, never log it."""
        key = self._key
        secret = bytes([key.type]) + self._private_key.private_bytes_raw()
        return f"{_SKEY_PREFIX}{key.name}+{key.key_id.hex()}+{_encode(secret)}"

    def sign(self, text: str) -> bytes:
        """Return the 64-byte Ed25519 signature of `text`, its last newline included."""
        return self._private_key.sign(text.encode())

    def __repr__(self) -> str:
        return f"NoteSigner({format_vkey(self._key)!r})"


class Cosigner:
    """Signs checkpoints as a witness does: with the time, type 0x04. One key, one cosigner: the
    name is not part of what is signed."""

    def __init__(
        self, name: str, private_key: Ed25519PrivateKey, clock_s: Callable[[], int]
    ) -> None:
        """`clock_s` gives the time in whole seconds since 1970."""
        self._private_key = private_key
        self._clock_s = clock_s
        self._key = make_key(name, COSIGNATURE, _public_bytes(private_key))

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        return self._key

    def sign(self, text: str) -> bytes:
        """Return the time (8 bytes, big-endian) and the signature over it and `text`.

        ValueError for a time outside [0, 2**63)."""
        time_s = self._clock_s()
        if not 0 <= time_s < SIZE_END:
            raise ValueError(f"a cosignature cannot state the time {time_s}")
        signature = self._private_key.sign(cosigned_message(text, time_s))
        return time_s.to_bytes(8, "big") + signature


def open_checkpoint(
    note: str | bytes, keys: Iterable[VerifierKey], origin: str | None = None
) -> tuple[Checkpoint, list[Signed]]:
    """Return the checkpoint in `note` and the signatures on it by `keys`, which the caller brought.

    One of them must be an Ed25519 key that bears the checkpoint's origin as its name: neither a
    cosignature nor another key (statements, another log) is a log's signature. VerificationError
    when that is missing or `origin` is another, MismatchError when a signature fails."""
    text, signed = verify_note(note, keys)
    checkpoint = parse_checkpoint(text)
    if origin is not None and checkpoint.origin != origin:
        raise VerificationError(f"a checkpoint of {checkpoint.origin!r}, not of {origin!r}")
    if (ED25519, checkpoint.origin) not in [(key.type, key.name) for key, _ in signed]:
        raise VerificationError(f"no key of the log {checkpoint.origin!r} signed")
    return checkpoint, signed


def format_vkey(key: VerifierKey) -> str:
    """Return the verifier key string of `key`, one line without a newline."""
    return f"{key.name}+{key.key_id.hex()}+{_encode(bytes([key.type]) + key.public_key)}"


def sign_note(text: str, signers: Iterable[Signer]) -> str:
    """Return the note of `text` with one line a signer.

    VerificationError, and nothing to publish, when the text is no note's text (it ends in a newline
    and has no other control characters) or a signature is not good under its signer's own key."""
    return _with_signatures(text, text + "\n", signers)


def add_signatures(note: str, signers: Iterable[Signer]) -> str:
    """Return `note` with further lines after those it has; raises as `sign_note`."""
    return _with_signatures(parse_note(note)[0], note, signers)


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the note text of `checkpoint`; VerificationError when it would not read back equal."""
    lines = (checkpoint.origin, str(checkpoint.size), _encode(checkpoint.root))
    text = "".join(line + "\n" for line in (*lines, *checkpoint.extensions))
    if parse_checkpoint(text) != checkpoint:
        raise VerificationError("an origin or an extension holds a newline")
    return text


def format_proof(index: int, hashes: Sequence[bytes], checkpoint: str, extra: bytes = b"") -> str:
    """Return the .tlog-proof file of leaf `index`: inclusion `hashes` up to the root in the signed
    note `checkpoint`; `extra` (for an event: entry ‖ salt, 120 bytes) is authenticated by nothing.

    VerificationError when it would not read back equal. Verifies nothing."""
    lines = [PROOF_HEADER, f"index {index}", *map(_encode, hashes)]
    if extra:
        lines.insert(1, f"extra {_encode(extra)}")
    text = "\n".join(lines) + "\n\n" + checkpoint
    if parse_proof(text) != (index, list(hashes), checkpoint, extra):
        raise VerificationError("not the parts of a proof file")
    return text


def _with_signatures(text: str, begin: str, signers: Iterable[Signer]) -> str:
    signers = list(signers)
    lines = [f"— {one.key.name} {_encode(one.key.key_id + one.sign(text))}\n" for one in signers]
    note = begin + "".join(lines)
    if parse_note(note)[0] != text:
        raise VerificationError("the text of a note ends in a newline")
    if signers:
        verify_note(note, [one.key for one in signers])
    return note


def _public_bytes(private_key: Ed25519PrivateKey) -> bytes:
    return private_key.public_key().public_bytes_raw()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
