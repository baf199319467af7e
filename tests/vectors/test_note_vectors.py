"""Notes, checkpoints, proof files and Ed25519 signatures of other implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import note
from ledger.note import format_vkey
from ledger.verify import (
    COSIGNATURE,
    SIZE_END,
    MismatchError,
    VerificationError,
    leaf_hash,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_vkey,
    verify_ed25519,
    verify_inclusion,
    verify_note,
)

HERE = Path(__file__).parent
NOTES = json.loads((HERE / "notes/notes.json").read_text())
BODIES = json.loads((HERE / "notes/checkpoint-bodies.json").read_text())
PROOFS = json.loads((HERE / "tlog-proof/proofs.json").read_text())
ED25519_GROUPS = json.loads((HERE / "wycheproof/ed25519_test.json").read_text())["testGroups"]
ED25519_CASES = [(group["publicKey"]["pk"], case) for group in ED25519_GROUPS for case in group["tests"]]

# Signed with a type that is not verified here: such a line is that of an unknown key. What the
# case expects of its other signature still holds.
ML_DSA_CASE = "checkpoint with ML-DSA-44 cosignature"
ML_DSA_KEY = "witness.example/pq"


def test_every_file_of_cases_is_whole() -> None:
    """No case can go missing unseen."""
    assert [len(cases) for cases in (NOTES, BODIES, PROOFS, ED25519_CASES)] == [27, 18, 14, 151]


@pytest.mark.parametrize("case", NOTES, ids=lambda case: case["name"])
def test_note_is_decided_as_elsewhere(case: dict[str, Any]) -> None:
    """A note is verified by just the keys named, or refused for the reason named."""
    keys = [parse_vkey(vkey) for vkey in case["vkeys"]]
    if case["want"] == "ok":
        text, signed = verify_note(case["note"], keys)
        assert note.verify_note(case["note"], keys) == (text, signed)
        assert case["note"].startswith(text + "\n")
        wanted = [name for name in case["verified"] if name != ML_DSA_KEY]
        assert [key.name for key, _ in signed] == wanted
        return
    with pytest.raises(VerificationError) as caught:
        verify_note(case["note"], keys)
    assert isinstance(caught.value, MismatchError) == (case["want"] == "invalid")
    if case["want"] == "malformed":
        with pytest.raises(VerificationError):
            parse_note(case["note"])
    else:
        parse_note(case["note"])


def test_the_unsupported_signature_type_is_in_one_case() -> None:
    """The exception above is about one line of one note, and its key string is still read."""
    cases = [case for case in NOTES if ML_DSA_KEY in case["verified"]]
    assert [case["name"] for case in cases] == [ML_DSA_CASE]
    assert [parse_vkey(vkey).type for vkey in cases[0]["vkeys"]] == [0x01, 0x06]


@pytest.mark.parametrize("vkey", sorted({vkey for case in NOTES for vkey in case["vkeys"]}))
def test_verifier_key_string_comes_back_the_same(vkey: str) -> None:
    """Reading and writing a verifier key changes nothing."""
    assert format_vkey(parse_vkey(vkey)) == vkey


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case["name"])
def test_checkpoint_body_is_decided_as_elsewhere(case: dict[str, Any]) -> None:
    """A checkpoint's text is read or refused as named; sizes from 2**63 on are refused."""
    if case["want"] == "ok":
        assert parse_checkpoint(case["text"]).size < SIZE_END
    else:
        with pytest.raises(VerificationError):
            parse_checkpoint(case["text"])


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: case["name"])
def test_proof_file_is_decided_as_elsewhere(case: dict[str, Any]) -> None:
    """A proof file proves its leaf, or is refused, as named."""

    def check() -> None:
        index, hashes, signed_note, _ = parse_proof(case["proof"])
        text, _ = verify_note(signed_note, [parse_vkey(vkey) for vkey in case["vkeys"]])
        checkpoint = parse_checkpoint(text)
        leaf = leaf_hash(bytes.fromhex(case["leaf_hex"]))
        verify_inclusion(index, checkpoint.size, leaf, hashes, checkpoint.root)

    if case["want"] == "ok":
        check()
    else:
        with pytest.raises(VerificationError):
            check()


def test_witness_of_a_foreign_log_is_verified() -> None:
    """A cosignature is verified beside a log signature of a type unknown here, and gives a time."""
    signed_note = (HERE / "notes/witness-cosigned.txt").read_bytes()
    keys = [parse_vkey((HERE / "notes/witness-cosigned.vkey").read_text().strip())]
    text, signed = verify_note(signed_note, keys)
    assert parse_checkpoint(text).size > 0
    assert [(key.type, time is not None) for key, time in signed] == [(COSIGNATURE, True)]


@pytest.mark.parametrize(("public_key", "case"), ED25519_CASES, ids=lambda one: _case_id(one))
def test_ed25519_signature_is_decided_as_elsewhere(public_key: str, case: dict[str, Any]) -> None:
    """All 151 signatures, forged encodings among them, are decided as named."""
    message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
    good = verify_ed25519(bytes.fromhex(public_key), signature, message)
    assert good == (case["result"] == "valid")


@pytest.mark.parametrize(("public_key", "case"), ED25519_CASES, ids=lambda one: _case_id(one))
def test_ed25519_of_the_two_implementations_agree(public_key: str, case: dict[str, Any]) -> None:
    """A note is decided alike by the offline verifier and by the faster one inside a ledger."""
    arguments = (bytes.fromhex(public_key), bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
    assert verify_ed25519(*arguments) == note._verify_ed25519(*arguments)


def _case_id(one: object) -> str:
    return f"case{one['tcId']}" if isinstance(one, dict) else str(one)[:8]
