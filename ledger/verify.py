"""Check an event's proof offline. One file, standard library only, to be copied to an auditor:

    python verify.py PROOF --payload FILE --key VKEY [--origin ORIGIN] [--fingerprint HEX]

    tree          verify_inclusion, verify_consistency          RFC 9162 §2.1.3.2, §2.1.4.2
    signatures    verify_ed25519                                RFC 8032 §5.1.7
    notes         parse_vkey, parse_note, verify_note           C2SP signed-note, tlog-cosignature
    logs          parse_checkpoint, parse_proof                 C2SP tlog-checkpoint, tlog-proof
    events        verify_event_proof                            docs/format.md "Entry", "Proof file"

Keys, origin and fingerprint come from the caller, never from what is checked. All functions but
`main` are pure. They raise VerificationError when nothing was decided (malformed, unknown), and its
kind MismatchError when the answer is no. `main` exits with 0 good, 1 mismatch, 2 usage, 3 a file
cannot be read, 4 not proved."""

from __future__ import annotations

import base64
import re
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "MismatchError", "VerificationError", "VerifiedEvent", "parse_checkpoint", "parse_note",
    "parse_proof", "parse_vkey", "verify_consistency", "verify_ed25519", "verify_event_proof",
    "verify_inclusion", "verify_note",
]  # fmt: skip

ED25519, COSIGNATURE = 0x01, 0x04  # the key types checked here; keys of other types are unknown
NOTE_BYTES_MAX, SIGNATURES_MAX, SIZE_END = 1 << 20, 100, 1 << 63
EMPTY_ROOT = sha256(b"").digest()
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
EXTRA = struct.Struct("<4sI16sQQ32s32s16s")  # an entry (docs/format.md "Entry") and its salt
Hashes = Sequence[bytes]


class VerificationError(Exception):
    """Nothing was decided: malformed, of an unknown kind, or something is missing."""


class MismatchError(VerificationError):
    """Decided: no. `expected` is the hash that the trusted side names, `found` what the rest comes
    to; both empty where no two hashes were compared (a signature, an index)."""

    def __init__(self, message: str, expected: bytes = b"", found: bytes = b"") -> None:
        super().__init__(message)
        self.expected, self.found = expected, found


def _expect(expected: bytes, found: bytes, what: str) -> None:
    if expected != found:
        raise MismatchError(f"{what}: {found.hex()}, not {expected.hex()}", expected, found)


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf (RFC 6962 §2.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


def _check_proof(proof: Hashes, length: int, *others: bytes) -> None:
    if len(proof) != length:
        raise VerificationError(f"the proof has {len(proof)} hashes where {length} belong")
    if any(not isinstance(h, bytes) or len(h) != 32 for h in (*proof, *others)):
        raise VerificationError("a hash is not 32 bytes long")


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Hashes, root: bytes) -> None:
    """Check that the leaf is at `index` of the tree of `size` leaves (RFC 9162 §2.1.3.2).

    `proof` runs from the leaf upward. Take `size` and `root` from one verified checkpoint: the same
    hashes can fit other pairs. MismatchError when they lead to another root. O(log size)."""
    if not 0 <= index < size < SIZE_END:
        raise VerificationError(f"index {index} is not in a tree of {size} leaves")
    inner = (index ^ (size - 1)).bit_length()  # below this level a sibling may be on either side,
    _check_proof(proof, inner + (index >> inner).bit_count(), leaf_hash, root)  # above on the left
    found = leaf_hash
    for level, sibling in enumerate(proof):
        left = level >= inner or index >> level & 1
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    _expect(root, found, f"inclusion of leaf {index} at size {size}")


def verify_consistency(old: int, new: int, old_root: bytes, proof: Hashes, new_root: bytes) -> None:
    """Check that the tree of `old` leaves is a prefix of the tree of `new` (RFC 9162 §2.1.4.2).

    Refuses old = 0, which would prove nothing. MismatchError when the hashes lead to other roots,
    or when the tree shrank. O(log new)."""
    if not (0 < old < SIZE_END and 0 <= new < SIZE_END):
        raise VerificationError(f"no consistency proof from {old} to {new} leaves")
    if old > new:
        raise MismatchError(f"rollback: from {old} to {new} leaves", old_root, new_root)
    if old == new:
        _check_proof(proof, 0, old_root, new_root)
        return _expect(old_root, new_root, f"two roots at size {old}")
    level = (old & -old).bit_length() - 1  # the old tree ends in a perfect subtree of 2^level,
    whole = old == 1 << level  # or is that subtree: then the proof does not repeat its root
    inner = ((old - 1) ^ (new - 1)).bit_length()
    border = ((old - 1) >> inner).bit_count()
    _check_proof(proof, inner - level + border + (not whole), old_root, new_root)
    found_old = found_new = old_root if whole else proof[0]
    for sibling in proof if whole else proof[1:]:
        if level >= inner or (old - 1) >> level & 1:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
        else:
            found_new = node_hash(found_new, sibling)
        level += 1
    _expect(old_root, found_old, f"consistency of {old} with {new}, old root")
    return _expect(new_root, found_new, f"consistency of {old} with {new}, new root")


# The curve of RFC 8032 §5.1, points as (x, y, z, t). For public data: time depends on the input.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    """The sum of any two points, equal ones too (RFC 8032 §5.1.4)."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % _P
    f = (a[1] + a[0]) * (b[1] + b[0]) % _P
    g = 2 * _D * a[3] * b[3] % _P
    h = 2 * a[2] * b[2] % _P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % _P, y * z % _P, x * y % _P, w * z % _P


def _decode_point(data: bytes) -> _Point | None:
    """The point, or None unless `data` is the canonical form of one (RFC 8032 §5.1.3)."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _SQRT_MINUS_1 % _P
    if len(data) != 32 or y >= _P or x * x % _P != square or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else _P - x
    return x, y, 1, x * y % _P


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is good (RFC 8032 §5.1.7): no cofactor, S and points canonical. Takes
    some milliseconds."""
    base, point = _decode_point(bytes([0x58] + [0x66] * 31)), _decode_point(public_key)
    s = int.from_bytes(signature[32:], "little")
    if base is None or point is None or len(signature) != 64 or s >= _L:
        return False
    k = int.from_bytes(sha512(signature[:32] + public_key + message).digest(), "little") % _L
    zero, minus = (0, 1, 1, 0), (_P - point[0], point[1], 1, _P - point[3])
    steps, r = (zero, base, minus, _add(base, minus)), zero
    for bit in range(252, -1, -1):  # r = s·B − k·A, both scalars in one pass
        r = _add(_add(r, r), steps[(s >> bit & 1) | (k >> bit & 1) << 1])
    inverse = pow(r[2], -1, _P)
    encoded = r[1] * inverse % _P | (r[0] * inverse % _P & 1) << 255
    return encoded.to_bytes(32, "little") == signature[:32]


class VerifierKey(NamedTuple):
    """A public key by name; `key_id` has 4 bytes, `type` is the algorithm byte of signed-note."""

    name: str
    key_id: bytes
    type: int
    public_key: bytes


Signature = tuple[str, bytes, bytes]  # a line: the signer's name, 4 bytes of key id, the rest
Signed = tuple[VerifierKey, int | None]  # who signed; the time a cosigner claims, s since 1970


def _clean(data: str | bytes) -> str:
    """The text, which is valid UTF-8 of at most 1 MiB, no control character but newline in it."""
    try:
        raw = data.encode() if isinstance(data, str) else data
        text = raw.decode()
    except UnicodeError as error:
        raise VerificationError(f"not UTF-8: {error}") from None
    if len(raw) > NOTE_BYTES_MAX or re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise VerificationError("more than 1 MiB, or a control character")
    return text


def parse_base64(text: str) -> bytes:
    """Standard base64 with padding in its one canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text:
        raise VerificationError(f"not canonical base64: {text[:80]!r}")
    return data


def parse_decimal(text: str) -> int:
    """ASCII digits without sign or leading zero, below 2^63."""
    if not re.fullmatch("0|[1-9][0-9]{0,18}", text) or int(text) >= SIZE_END:
        raise VerificationError(f"not a decimal number below 2^63: {text[:80]!r}")
    return int(text)


def make_key(name: str, type: int, public_key: bytes) -> VerifierKey:
    """A key with its id (C2SP signed-note). The id of an ECDSA key (type 2) is made otherwise."""
    if not re.fullmatch(r"[^\s+]+", _clean(name)):
        raise VerificationError(f"not the name of a key: {name[:80]!r}")
    if type in (ED25519, COSIGNATURE) and len(public_key) != 32:
        raise VerificationError(f"the key of {name} has {len(public_key)} bytes, not 32")
    key_id = sha256(name.encode() + b"\n" + bytes([type]) + public_key).digest()[:4]
    return VerifierKey(name, key_id, type, public_key)


def parse_vkey(vkey: str) -> VerifierKey:
    """Read `name+hex+base64`; refuses a key id that does not belong to the name and key."""
    name, _, rest = _clean(vkey).partition("+")
    key_id, _, encoded = rest.partition("+")
    data = parse_base64(encoded)
    key = make_key(name, data[0] if data else 0, data[1:])
    if not data or key.key_id.hex() != key_id:
        raise VerificationError(f"not a verifier key, or its id is another's: {vkey[:80]!r}")
    return key


def parse_note(note: str | bytes) -> tuple[str, list[Signature]]:
    """Split a note (C2SP signed-note) into its text, with the last newline, and signature lines;
    verifies nothing. One malformed line refuses the whole; at most 1 MiB and 100 lines."""
    text, blank, block = _clean(note).rpartition("\n\n")
    lines = block.split("\n")
    if not blank or lines.pop() != "" or not 0 < len(lines) <= SIGNATURES_MAX:
        raise VerificationError("no signature lines after a blank line, or more than 100")
    signatures = []
    for line in lines:
        match = re.fullmatch(r"\u2014 ([^\s+]+) (\S+)", line)
        data = parse_base64(match[2]) if match else b""
        if match is None or len(data) < 5:
            raise VerificationError(f"not a signature line: {line[:80]!r}")
        signatures.append((match[1], data[:4], data[4:]))
    return text + "\n", signatures


def cosigned_message(text: str, time: int) -> bytes:
    """What a cosignature of type 0x04 signs (C2SP tlog-cosignature)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def verify_note(
    note: str | bytes,
    keys: Iterable[VerifierKey],
    ed25519: Callable[[bytes, bytes, bytes], bool] = verify_ed25519,
) -> tuple[str, list[Signed]]:
    """The text of a note and who signed it, judged by the keys that the caller brought.

    Lines of other keys are ignored, whatever they hold; each line of a known key must be good, else
    MismatchError. VerificationError if no known key signed. `ed25519` may be a faster verifier of
    (public_key, signature, message); it is called once for each line of a known key."""
    (text, lines), known = parse_note(note), dict[tuple[str, bytes], VerifierKey]()
    for key in keys:
        if key.type in (ED25519, COSIGNATURE) and known.setdefault(key[:2], key) != key:
            raise VerificationError(f"two keys are called {key.name}+{key.key_id.hex()}")
    signed: list[Signed] = []
    for name, key_id, signature in dict.fromkeys(lines):  # a repeated line counts once
        if (by := known.get((name, key_id))) is None:
            continue
        time, message = None, text.encode()
        if by.type == COSIGNATURE:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = cosigned_message(text, time)
        if (time or 0) >= SIZE_END or not ed25519(by.public_key, signature, message):
            raise MismatchError(f"{name}+{key_id.hex()} did not sign this text")
        signed.append((by, time))
    if not signed:
        raise VerificationError("no signature by a key that was brought")
    return text, signed


class Checkpoint(NamedTuple):
    """What a log signs: the root of its first `size` entries. Extension lines prove nothing."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint (C2SP tlog-checkpoint)."""
    lines = _clean(text).split("\n")
    if len(lines) < 4 or lines.pop() != "" or "" in lines:
        raise VerificationError("a checkpoint has three or more lines, none empty")
    origin, size, root, *rest = lines
    checkpoint = Checkpoint(origin, parse_decimal(size), parse_base64(root), tuple(rest))
    if len(checkpoint.root) != 32 or (checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT):
        raise VerificationError("the root is not 32 bytes, or not that of the empty tree")
    return checkpoint


def parse_proof(proof: str | bytes) -> tuple[int, list[bytes], str, bytes]:
    """Index, inclusion hashes, signed checkpoint and extra bytes of a proof file (C2SP tlog-proof);
    verifies nothing."""
    head, _, checkpoint = _clean(proof).partition("\n\n")
    header, *lines = head.split("\n")
    extra = parse_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
    if header != PROOF_HEADER or not lines or not lines[0].startswith("index "):
        raise VerificationError(f"not a proof file: the lines {PROOF_HEADER!r}, index are missing")
    return parse_decimal(lines[0][6:]), list(map(parse_base64, lines[1:])), checkpoint, extra


@dataclass(frozen=True)
class VerifiedEvent:
    """What was proved: the tree, who signed it, the event's place in it. `kind` 1 is a note of the
    ledger itself; `time` its own clock, ns since 1970."""

    checkpoint: Checkpoint
    signed: list[Signed]
    index: int
    kind: int
    time: int
    ledger_id: bytes


def verify_event_proof(
    proof: str | bytes,
    payload: bytes,
    vkeys: Iterable[str],
    origin: str | None = None,
    fingerprint: bytes | None = None,
) -> VerifiedEvent:
    """Prove that `payload` is an event of the log that a key of `vkeys` signed (docs/format.md).

    The log's key bears the name of the log, unless `origin` says which one to accept; `fingerprint`
    (32 bytes) pins the ledger. MismatchError for a no, VerificationError when undecided."""
    index, hashes, note, extra = parse_proof(proof)
    text, signed = verify_note(note, [parse_vkey(vkey) for vkey in vkeys])
    checkpoint = parse_checkpoint(text)
    logs = {key.name for key, _ in signed if key.type == ED25519}
    if not logs or checkpoint.origin not in ([origin] if origin else logs):
        raise VerificationError(f"no key of the log signed, or {checkpoint.origin} is another log")
    if len(extra) != EXTRA.size or len(fingerprint or bytes(32)) != 32:
        raise VerificationError("no entry and salt in the proof, or a fingerprint not of 32 bytes")
    form, size, ledger, place, time, commitment, link, salt = EXTRA.unpack(extra)
    verify_inclusion(index, checkpoint.size, leaf_hash(extra[:-16]), hashes, checkpoint.root)
    if form[0] != 1 or form[1] > 1 or form[2] != 1 or form[3] > 1:
        raise VerificationError(f"version, kind, scheme or flags unknown: {form.hex()}")
    if fingerprint is not None:
        _expect(fingerprint[:16], ledger, "ledger id")
    if index == 0:  # its link is the fingerprint, and the id a part of that
        _expect(fingerprint or ledger + link[16:], link, "link of entry 0")
    _expect(commitment, sha256(b"\x02" + salt + payload).digest(), "commitment of the payload")
    if (place, size) != (index, len(payload)):
        raise MismatchError(f"entry {index}, payload {len(payload)}: it says {place} and {size}")
    return VerifiedEvent(checkpoint, signed, index, form[1], time, ledger)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    import argparse  # a quarter of the time to load this file, and a library does not need it

    parser = argparse.ArgumentParser(description="Check the proof of an event, offline.")
    parser.add_argument("proof", type=Path, help="the .tlog-proof file")
    parser.add_argument("--payload", type=Path, required=True, help="file: the packed event")
    parser.add_argument("--key", action="append", required=True, help="a verifier key you trust")
    parser.add_argument("--origin", help="the log to accept, if its key has another name")
    parser.add_argument("--fingerprint", type=bytes.fromhex, help="64 hex digits: the ledger's")
    args = parser.parse_args(arguments)
    try:
        list(map(parse_vkey, args.key))
    except VerificationError as error:
        parser.error(str(error))
    try:
        proof, payload = args.proof.read_bytes(), args.payload.read_bytes()
        event = verify_event_proof(proof, payload, args.key, args.origin, args.fingerprint)
    except (OSError, VerificationError) as error:
        print(f"not proved: {error}", file=sys.stderr)
        return 3 if isinstance(error, OSError) else 1 if isinstance(error, MismatchError) else 4
    kind = ("event", "note")[event.kind]
    print(f"proved: the payload is {kind} {event.index} of the ledger {event.ledger_id.hex()},")
    print("  in the log {} of {} entries, signed by".format(*event.checkpoint))
    for key, time in event.signed:
        claim = "" if time is None else f", a cosigner who claims that its time was {time}"
        print(f"  {key.name}+{key.key_id.hex()}{claim}")
    print("not proved: that the keys signed no other history (compare with memory from outside);")
    print(f"  when it happened ({event.time} ns is the ledger's own clock)")
    if args.fingerprint is None:
        print("  that this is the ledger you mean (no fingerprint was given)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
