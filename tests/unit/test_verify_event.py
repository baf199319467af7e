"""The proof of an event: what binds payload, entry, ledger, checkpoint and key, one change each."""

from __future__ import annotations

import hashlib
import struct
from base64 import b64encode
from dataclasses import dataclass, replace

import pytest

from ledger.merkle.tree import inclusion_proof, memory_nodes, root
from ledger.note import Checkpoint, NoteSigner, checkpoint_text, format_proof, sign_note
from ledger.verify import MismatchError, VerificationError, leaf_hash, verify_event_proof

ORIGIN = "log.example/unit"
LOG = NoteSigner(ORIGIN, bytes(range(32)))
OTHER = NoteSigner("other.example", bytes(32))
FINGERPRINT = hashlib.sha256(b"a ledger").digest()
PAYLOAD = b"\x81\xa1a\x01"


@dataclass(frozen=True)
class Case:
    """The parts of one proof; `proof` puts them together, consistent or not."""

    version: int = 1
    kind: int = 0
    scheme: int = 1
    flags: int = 0
    payload: bytes = PAYLOAD
    payload_bytes: int = len(PAYLOAD)
    ledger_id: bytes = FINGERPRINT[:16]
    entry_index: int = 5
    index: int = 5
    size: int = 9
    link: bytes = bytes(32)
    salt: bytes = b"s" * 16
    origin: str = ORIGIN
    signer: NoteSigner = LOG

    def extra(self) -> bytes:
        commitment = hashlib.sha256(b"\x02" + self.salt + self.payload).digest()
        head = bytes([self.version, self.kind, self.scheme, self.flags])
        entry = head + struct.pack("<I16sQQ", self.payload_bytes, self.ledger_id, self.entry_index, 1_700_000_000)
        return entry + commitment + self.link + self.salt

    def proof(self) -> str:
        leaves = [bytes([i]) * 32 for i in range(self.size)]
        leaves[self.index] = leaf_hash(self.extra()[:104])
        node = memory_nodes(leaves)
        text = checkpoint_text(Checkpoint(self.origin, self.size, root(self.size, node)))
        signed = sign_note(text, [self.signer])
        return format_proof(self.index, inclusion_proof(self.index, self.size, node), signed, self.extra())


GOOD = Case()
FIRST = Case(index=0, entry_index=0, kind=1, link=FINGERPRINT)


def test_event_is_proved() -> None:
    """A whole proof says which entry of which ledger and log, under whose signature."""
    proved = verify_event_proof(GOOD.proof(), PAYLOAD, [LOG.vkey], ORIGIN, FINGERPRINT)
    assert (proved.index, proved.kind, proved.ledger_id) == (5, 0, FINGERPRINT[:16])
    assert (proved.checkpoint.origin, proved.checkpoint.size) == (ORIGIN, 9)
    assert [key for key, _ in proved.signed] == [LOG.key]


def test_first_entry_is_proved_with_and_without_a_pin() -> None:
    """Entry 0 links to the fingerprint, of which the ledger id is a part."""
    for pin in (None, FINGERPRINT):
        proved = verify_event_proof(FIRST.proof(), PAYLOAD, [LOG.vkey], fingerprint=pin)
        assert (proved.index, proved.kind) == (0, 1)


@pytest.mark.parametrize(
    "case",
    [
        replace(GOOD, entry_index=6),
        replace(GOOD, payload_bytes=len(PAYLOAD) + 1),
        replace(GOOD, payload=b"\x81\xa1a\x02"),
        replace(GOOD, ledger_id=bytes(16)),
        replace(FIRST, link=bytes(32)),
        replace(FIRST, link=FINGERPRINT[:16] + bytes(16)),
    ],
    ids=["index", "length", "payload", "ledger", "first link", "half of the first link"],
)
def test_signed_entry_that_contradicts_itself_is_a_mismatch(case: Case) -> None:
    """A log's signature does not make an entry good that says something else than its place."""
    with pytest.raises(MismatchError):
        verify_event_proof(case.proof(), PAYLOAD, [LOG.vkey], ORIGIN, FINGERPRINT)


@pytest.mark.parametrize(
    "case",
    [
        replace(GOOD, version=2),
        replace(GOOD, version=0),
        replace(GOOD, kind=2),
        replace(GOOD, scheme=0),
        replace(GOOD, scheme=2),
        replace(GOOD, flags=2),
        replace(GOOD, origin="statements/v1 x", signer=LOG),
        replace(GOOD, signer=OTHER),
    ],
    ids=["version 2", "version 0", "kind", "scheme 0", "scheme 2", "flags", "origin", "key"],
)
def test_unknown_form_log_or_key_is_undecided(case: Case) -> None:
    """What this verifier does not know it neither confirms nor denies."""
    with pytest.raises(VerificationError) as caught:
        verify_event_proof(case.proof(), PAYLOAD, [LOG.vkey], fingerprint=FINGERPRINT)
    assert not isinstance(caught.value, MismatchError)


def test_every_bit_of_entry_and_salt_counts() -> None:
    """Changing any bit of the extra line, which nothing signs by itself, is refused."""
    extra, proof = GOOD.extra(), GOOD.proof()
    for bit in range(0, 8 * len(extra), 3):
        changed = bytearray(extra)
        changed[bit // 8] ^= 1 << bit % 8
        text = proof.replace(b64encode(extra).decode(), b64encode(changed).decode())
        with pytest.raises(VerificationError):
            verify_event_proof(text, PAYLOAD, [LOG.vkey])


@pytest.mark.parametrize("payload", [b"", PAYLOAD[:-1], PAYLOAD + b"\0", b"\x81\xa1a\x02"])
def test_another_payload_is_a_mismatch_with_both_hashes(payload: bytes) -> None:
    """A payload that was changed is denied, with the commitment and what was found instead."""
    with pytest.raises(MismatchError) as caught:
        verify_event_proof(GOOD.proof(), payload, [LOG.vkey])
    assert caught.value.expected == GOOD.extra()[40:72] != caught.value.found


def test_keys_are_those_of_the_caller() -> None:
    """Without a key of the log nothing is proved, however good the proof is."""
    for vkeys in ([], [OTHER.vkey]):
        with pytest.raises(VerificationError):
            verify_event_proof(GOOD.proof(), PAYLOAD, vkeys)


def test_another_origin_is_refused() -> None:
    """A caller who names the log is not given another's proof, though its key was brought."""
    with pytest.raises(VerificationError):
        verify_event_proof(GOOD.proof(), PAYLOAD, [LOG.vkey], "log.example/elsewhere")


@pytest.mark.parametrize("fingerprint", [b"", FINGERPRINT[:16], FINGERPRINT + b"\0", bytes(32)])
def test_pin_is_a_whole_fingerprint_and_the_right_one(fingerprint: bytes) -> None:
    """Neither a shortened pin, the empty one included, nor another ledger's is satisfied."""
    with pytest.raises(VerificationError):
        verify_event_proof(GOOD.proof(), PAYLOAD, [LOG.vkey], fingerprint=fingerprint)


def test_proof_without_entry_is_undecided() -> None:
    """A proof file of another log, with no extra line, proves no event."""
    proof = GOOD.proof().replace(f"extra {b64encode(GOOD.extra()).decode()}\n", "")
    with pytest.raises(VerificationError, match="entry and salt"):
        verify_event_proof(proof, PAYLOAD, [LOG.vkey])
