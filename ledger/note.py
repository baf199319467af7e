"""Signed notes, checkpoints and proof files: the writing side, and keys.

What reads and verifies them is `ledger.verify`, which needs no other file; here it is only lent the
faster Ed25519 of `cryptography`, which is loaded when first used. Formats: C2SP signed-note,
tlog-checkpoint, tlog-cosignature, tlog-proof."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, Self

from ledger import verify
from ledger.errors import UsageError
from ledger.verify import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    Signed,
    VerificationError,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_vkey,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "Checkpoint",
    "Cosigner",
    "NoteSigner",
    "Signed",
    "Signer",
    "VerifierKey",
    "checkpoint_text",
    "format_proof",
    "format_vkey",
    "parse_checkpoint",
    "parse_note",
    "parse_proof",
    "parse_vkey",
    "sign_note",
    "verify_note",
]

SEED_BYTES = 32
SKEY_PREFIX = "PRIVATE+KEY+"
TIME_END = 1 << 63


class Signer(Protocol):
    """Who signs notes: a key in memory, or a device or another host, which refuses by raising."""

    @property
    def key(self) -> VerifierKey:
        """The public half; its id stands in the signature line."""

    def sign(self, text: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over `text`."""


class NoteSigner:
    """A key of type 0x01 in memory. Any thread may sign. Its `repr` keeps the secret."""

    _type = ED25519

    def __init__(self, name: str, private_key: bytes | Ed25519PrivateKey) -> None:
        """`private_key` is a 32-byte seed or a key of `cryptography`; `name` has no white space and
        no plus sign, and is the log's origin where it signs checkpoints. Raises UsageError."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if isinstance(private_key, bytes):
            if len(private_key) != SEED_BYTES:
                raise UsageError(f"the seed of a key has {SEED_BYTES} bytes, not {len(private_key)}")
            private_key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._private_key = private_key
        public_key = private_key.public_key().public_bytes_raw()
        try:
            self.key = verify.make_key(name, self._type, public_key)
        except VerificationError as error:
            raise UsageError(f"cannot make a key: {error}") from None

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key from the system's random source."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_skey(cls, skey: str) -> Self:
        """Read the secret key string; UsageError, without the secret in it, when it is not one."""
        name, _, rest = skey.removeprefix(SKEY_PREFIX).partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            data = verify.parse_base64(encoded)
        except VerificationError:
            data = b""
        if not skey.startswith(SKEY_PREFIX) or len(data) != 1 + SEED_BYTES or data[0] != cls._type:
            raise UsageError(f"not a secret key of type {cls._type}")
        signer = cls(name, data[1:])
        if signer.key.key_id.hex() != key_id:
            raise UsageError(f"the id of the secret key of {name} does not belong to it")
        return signer

    def skey(self) -> str:
        """The secret key string of Go's note tools. Write it with mode 0600, never to a log."""
        data = bytes([self._type]) + self._private_key.private_bytes_raw()
        return f"{SKEY_PREFIX}{self.key.name}+{self.key.key_id.hex()}+{b64encode(data).decode()}"

    @property
    def vkey(self) -> str:
        """The verifier key string, to be kept where the ledger's host cannot change it."""
        return format_vkey(self.key)

    def sign(self, text: bytes) -> bytes:
        """Sign; 64 bytes."""
        return self._private_key.sign(text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vkey})"


class Cosigner(NoteSigner):
    """A witness's key, of type 0x04. It serves one cosigner only: the name is not signed."""

    _type = COSIGNATURE

    def cosign(self, note: str, time: int) -> str:
        """The checkpoint with a cosignature line more, of `time` in seconds since 1970.

        Asserts that the checkpoint is consistent with every other that this key cosigned for its
        origin: before, the caller has verified the log's signature and the consistency, and stored
        the new size durably. VerificationError when `note` is not a checkpoint."""
        text, _ = parse_note(note)
        parse_checkpoint(text)
        if not 0 <= time < TIME_END:
            raise UsageError(f"the time {time} is not one of a cosignature")
        signature = self.sign(verify.cosigned_message(text, time))
        return note + _signature_line(self.key, time.to_bytes(8, "big") + signature)


def format_vkey(key: VerifierKey) -> str:
    """The verifier key string `name+hex+base64`; `parse_vkey` reads it."""
    encoded = b64encode(bytes([key.type]) + key.public_key).decode()
    return f"{key.name}+{key.key_id.hex()}+{encoded}"


def _signature_line(key: VerifierKey, signature: bytes) -> str:
    return f"\u2014 {key.name} {b64encode(key.key_id + signature).decode()}\n"


def sign_note(text: str, signers: Sequence[Signer]) -> str:
    """The signed note over `text`, which ends with a newline: one line for each signer, in order.

    UsageError, before anyone is asked to sign, when the text cannot be that of a note. What comes
    back was verified: a signer that answers with another signature is a MismatchError."""
    keys = [signer.key for signer in signers]
    blank = "".join(_signature_line(key, bytes(64)) for key in keys)
    try:  # would it read back, once there are signatures where the zeros are?
        found, lines = parse_note(f"{text}\n{blank}")
    except VerificationError as error:
        raise UsageError(f"this text cannot be signed: {error}") from None
    if found != text or len(set(lines)) != len(keys):
        raise UsageError("this text cannot be signed: no newline at its end, or a key twice")
    signed = (_signature_line(signer.key, signer.sign(text.encode())) for signer in signers)
    note = f"{text}\n{''.join(signed)}"
    verify_note(note, keys)
    return note


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """The text of the note that a log signs (C2SP tlog-checkpoint); `parse_checkpoint` reads it.
    UsageError when it would not read back as the same checkpoint."""
    root = b64encode(checkpoint.root).decode()
    lines = [checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions]
    text = "".join(f"{line}\n" for line in lines)
    try:
        same = parse_checkpoint(text) == checkpoint
    except VerificationError as error:
        raise UsageError(f"not a checkpoint: {error}") from None
    if not same:
        raise UsageError(f"the origin or an extension line of a checkpoint holds a newline: {text!r}")
    return text


def format_proof(index: int, hashes: Iterable[bytes], checkpoint: str, extra: bytes = b"") -> str:
    """The text of a .tlog-proof file (C2SP tlog-proof); `parse_proof` reads it.

    `hashes` are those of `inclusion_proof`, `checkpoint` the signed note verbatim, `extra` what a
    verifier needs beside it, not authenticated by the file: for an event of a ledger entry ‖ salt,
    120 bytes (docs/format.md "Proof file")."""
    lines = [verify.PROOF_HEADER, *([f"extra {b64encode(extra).decode()}"] if extra else [])]
    lines += [f"index {index}", *(b64encode(node).decode() for node in hashes)]
    return "\n".join([*lines, "", checkpoint])


def verify_note(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[str, list[Signed]]:
    """As `ledger.verify.verify_note`, by the Ed25519 of `cryptography`: 0.1 ms a signature."""
    return verify.verify_note(note, keys, _verify_ed25519)


def _verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
