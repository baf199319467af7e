"""Signed notes, keys, checkpoints and proof files as they are written, and read back."""

from __future__ import annotations

import base64

import metamorphic_log
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales import signing, tlog

from ledger import note as notes
from ledger import verify
from ledger.errors import MismatchError, UsageError, VerificationError
from ledger.note import (
    Checkpoint,
    Cosigner,
    NoteSigner,
    VerifierKey,
    checkpoint_text,
    format_proof,
    format_vkey,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_vkey,
    sign_note,
    verify_note,
)

ORIGIN = "log.example/one"
LOG = NoteSigner(ORIGIN, bytes(range(32)))
OTHER = NoteSigner("log.example/two", bytes(32))
WITNESS = Cosigner("witness.example", bytes(range(1, 33)))
CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
TEXT = checkpoint_text(CHECKPOINT)
NOTE = sign_note(TEXT, [LOG])

hashes = st.binary(min_size=32, max_size=32)
# What may stand in a line: no control character, no surrogate.
line_text = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=40)
filled_line = line_text.filter(bool)


@given(st.lists(line_text).map(lambda lines: "".join(f"{line}\n" for line in lines)))
def test_any_text_of_whole_lines_can_be_signed(text: str) -> None:
    """Text with empty lines, dashes or anything but control characters comes back the same."""
    if not text:
        text = "\n"
    note = sign_note(text, [LOG, OTHER])
    found, signed = verify_note(note, [OTHER.key, LOG.key])
    assert found == text
    assert signed == [(LOG.key, None), (OTHER.key, None)]


@pytest.mark.parametrize("text", ["", "no newline", "a\r\n", "tab\there\n", "\x00\n", "\udc80\n"])
def test_text_that_no_note_can_hold_is_refused(text: str) -> None:
    """The last newline is part of the text, and control characters are in no note."""
    with pytest.raises(UsageError):
        sign_note(text, [LOG])


def test_nothing_is_signed_when_the_text_is_refused() -> None:
    """The text is judged before any signer, perhaps on another host, is asked."""

    class Asked(NoteSigner):
        def sign(self, text: bytes) -> bytes:
            raise AssertionError(f"asked to sign {text!r}")

    for text, signers in (("a\r\n", [Asked("one", bytes(32))]), ("a\n", [LOG, LOG])):
        with pytest.raises(UsageError):
            sign_note(text, signers)


def test_note_without_a_signer_is_a_usage_error() -> None:
    """A note has a signature."""
    with pytest.raises(UsageError):
        sign_note(TEXT, [])


@pytest.mark.parametrize("at", range(len(NOTE.encode())))
def test_note_with_one_byte_changed_is_refused(at: int) -> None:
    """Every byte of a note with one signature counts."""
    raw = bytearray(NOTE.encode())
    for change in (0x01, 0x20, 0x80):
        raw[at] ^= change
        with pytest.raises(VerificationError):
            verify_note(bytes(raw), [LOG.key])
        raw[at] ^= change


def test_signature_of_an_unknown_key_is_ignored() -> None:
    """Whatever the line of another key holds, the known key decides; alone it decides nothing."""
    junk = f"\u2014 someone {base64.b64encode(bytes(5)).decode()}\n"
    assert verify_note(NOTE + junk, [LOG.key]) == (TEXT, [(LOG.key, None)])
    with pytest.raises(VerificationError, match="no signature by a key that was brought") as caught:
        verify_note(NOTE, [OTHER.key])
    assert not isinstance(caught.value, MismatchError)


def test_bad_signature_of_a_known_key_refuses_the_note() -> None:
    """A good line beside it does not help, and neither does one of the same key."""
    bad = sign_note("another text\n", [LOG]).rpartition("\n\n")[2]
    with pytest.raises(MismatchError):
        verify_note(NOTE + bad, [LOG.key])
    with pytest.raises(MismatchError):
        verify_note(sign_note(TEXT, [OTHER]) + bad, [LOG.key, OTHER.key])


def test_repeated_line_counts_once() -> None:
    """The same line twice is one signature."""
    line = NOTE.rpartition("\n\n")[2]
    assert verify_note(NOTE + line, [LOG.key])[1] == [(LOG.key, None)]


def test_name_and_key_id_both_select_the_key() -> None:
    """A line under another name, or another id, is that of another key."""
    with pytest.raises(VerificationError, match="no signature"):
        verify_note(NOTE, [LOG.key._replace(name="log.example/three")])
    with pytest.raises(VerificationError, match="no signature"):
        verify_note(NOTE, [LOG.key._replace(key_id=bytes(4))])


def test_two_keys_under_one_id_are_refused() -> None:
    """Four bytes of id can be made to collide: which key is meant must not be guessed."""
    with pytest.raises(VerificationError, match="two keys"):
        verify_note(NOTE, [LOG.key, LOG.key._replace(public_key=OTHER.key.public_key)])
    assert verify_note(NOTE, [LOG.key, LOG.key])[1] == [(LOG.key, None)]


@pytest.mark.parametrize(("count", "good"), [(16, True), (100, True), (101, False)])
def test_lines_beyond_the_limit_refuse_the_note(count: int, good: bool) -> None:
    """At most 100 signature lines, unknown ones counted."""
    junk = f"\u2014 someone {base64.b64encode(bytes(5)).decode()}\n"
    note = NOTE + junk * (count - 1)
    if good:
        assert len(parse_note(note)[1]) == count
    else:
        with pytest.raises(VerificationError):
            parse_note(note)


def test_note_beyond_a_mebibyte_is_refused() -> None:
    """The limit counts bytes, not characters, and holds before anything is parsed."""
    fits = f"{'x' * ((1 << 20) - len(NOTE.encode()) - 1)}\n{NOTE}"
    assert parse_note(fits)[1] == parse_note(NOTE)[1]
    for more in (f"x{fits}", f"ä{fits[1:]}"):
        with pytest.raises(VerificationError, match="1 MiB"):
            parse_note(more)


@pytest.mark.parametrize("note", [b"\xff\n\n", NOTE.rpartition("\n\n")[2], "", "\n\n", "a\n\n"])
def test_note_without_text_or_signatures_is_malformed(note: str | bytes) -> None:
    """A signature block alone, or a text alone, is no note."""
    with pytest.raises(VerificationError):
        parse_note(note)


def test_foreign_verifiers_accept_the_note() -> None:
    """Notes made here are good for two outside implementations, cosigned or not."""
    cosigned = WITNESS.cosign(NOTE, 1_700_000_000)
    for note in (NOTE, cosigned):
        assert metamorphic_log.verify_signed_note(note, [LOG.vkey]) == 1
        head = metamorphic_log.checkpoint_verify(note, [LOG.vkey])
        assert (head.origin, head.size) == (ORIGIN, 7)
    foreign = tlog.Checkpoint.from_text(cosigned)
    for vkey in (LOG.vkey, WITNESS.vkey):
        foreign.verify(signing.Vkey.from_string(vkey))


def test_note_of_a_foreign_signer_is_accepted() -> None:
    """A checkpoint signed by an outside implementation is verified here."""
    signer = signing.PlainEd25519Signer(ORIGIN, bytes(range(32)))
    note = tlog.Checkpoint.make_signed(ORIGIN, 7, CHECKPOINT.root, [signer]).serialize()
    assert signer.vkey.serialize() == LOG.vkey
    assert note == NOTE


@given(st.integers(0, (1 << 63) - 1))
def test_cosignature_gives_the_time_it_was_made_with(time: int) -> None:
    """The log's line stays, a line of type 0x04 is added, and its time is covered."""
    note = WITNESS.cosign(NOTE, time)
    assert note.startswith(NOTE)
    assert verify_note(note, [LOG.key, WITNESS.key])[1] == [(LOG.key, None), (WITNESS.key, time)]
    late = verify.cosigned_message(TEXT, time ^ 1)
    assert not verify.verify_ed25519(WITNESS.key.public_key, WITNESS.sign(late), TEXT.encode())


def test_cosignature_over_another_time_is_a_mismatch() -> None:
    """The eight bytes of time in the line are signed."""
    line = WITNESS.cosign(NOTE, 5).removeprefix(NOTE).split(" ")[2]
    data = bytearray(base64.b64decode(line))
    data[11] ^= 1
    note = f"{NOTE}\u2014 {WITNESS.key.name} {base64.b64encode(data).decode()}\n"
    with pytest.raises(MismatchError):
        verify_note(note, [WITNESS.key])


@pytest.mark.parametrize("time", [-1, 1 << 63])
def test_time_out_of_range_is_not_cosigned(time: int) -> None:
    """Times end before 2^63."""
    with pytest.raises(UsageError):
        WITNESS.cosign(NOTE, time)


def test_what_is_no_checkpoint_is_not_cosigned() -> None:
    """A witness signs checkpoints only."""
    with pytest.raises(VerificationError):
        WITNESS.cosign(sign_note("a statement\n", [LOG]), 5)


def test_witness_key_does_not_sign_as_a_log() -> None:
    """A signature without the cosignature's header is none of a type 0x04 key."""
    with pytest.raises(MismatchError):
        sign_note(TEXT, [WITNESS])


def test_signer_that_answers_nonsense_is_found_out() -> None:
    """A signature that does not verify never leaves, wherever it was made."""

    class Broken(NoteSigner):
        def sign(self, text: bytes) -> bytes:
            return super().sign(text + b"!")

    with pytest.raises(MismatchError):
        sign_note(TEXT, [Broken(ORIGIN, bytes(32))])


@pytest.mark.parametrize("kind", [NoteSigner, Cosigner])
def test_keys_come_back_from_their_strings(kind: type[NoteSigner]) -> None:
    """Secret and verifier key strings are read as the keys they were written from."""
    signer = kind.generate("log.example/new")
    again = kind.from_skey(signer.skey())
    assert again.key == signer.key == parse_vkey(signer.vkey)
    assert again.sign(b"x") == signer.sign(b"x")
    assert kind.generate("log.example/new").key != signer.key


def test_key_pair_of_go_is_read() -> None:
    """The public example pair of Go's note package: its secret key makes its verifier key."""
    skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert NoteSigner.from_skey(skey).vkey == vkey


def test_secret_stays_out_of_repr_and_messages() -> None:
    """Neither the object's text nor the refusal of a damaged string shows the seed."""
    skey = LOG.skey()
    seed = skey.rpartition("+")[2]
    assert seed not in repr(LOG)
    assert LOG.vkey in repr(LOG)
    for damaged in (skey[:-1], skey.replace("log", "lag"), skey[1:], f"{skey}A"):
        with pytest.raises(UsageError) as caught:
            NoteSigner.from_skey(damaged)
        assert seed[4:20] not in str(caught.value)


def test_secret_key_of_another_type_is_refused() -> None:
    """A witness's secret does not sign for a log, nor the other way."""
    with pytest.raises(UsageError):
        NoteSigner.from_skey(WITNESS.skey())
    with pytest.raises(UsageError):
        Cosigner.from_skey(LOG.skey())


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\n", "a\x01", "a\u2028", "\udc80"])
def test_name_that_no_key_can_have_is_refused(name: str) -> None:
    """A name is one word without a plus sign."""
    with pytest.raises(UsageError):
        NoteSigner(name, bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_seed_of_another_length_is_refused(length: int) -> None:
    """A seed has 32 bytes."""
    with pytest.raises(UsageError):
        NoteSigner("name", bytes(length))


@pytest.mark.parametrize("at", range(len(LOG.vkey)))
def test_verifier_key_string_with_one_character_changed_is_refused(at: int) -> None:
    """The id in the string is checked against name, type and key."""
    for other in "A+0 \u00e4":
        changed = f"{LOG.vkey[:at]}{other}{LOG.vkey[at + 1 :]}"
        if changed != LOG.vkey:
            with pytest.raises(VerificationError):
                parse_vkey(changed)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_verifier_key_of_another_length_is_refused(length: int) -> None:
    """An Ed25519 key has 32 bytes, whatever its id says."""
    key = VerifierKey("name", bytes(4), 1, bytes(length))
    with pytest.raises(VerificationError):
        parse_vkey(format_vkey(key))
    with pytest.raises(VerificationError):
        verify.make_key("name", 1, bytes(length))


@given(filled_line, st.integers(1, (1 << 63) - 1), hashes, st.lists(filled_line, max_size=3))
def test_checkpoint_comes_back_from_its_text(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    """Reading undoes writing, extension lines included."""
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert parse_checkpoint(checkpoint_text(checkpoint)) == checkpoint


@pytest.mark.parametrize(
    "wrong",
    [
        CHECKPOINT._replace(origin=""),
        CHECKPOINT._replace(origin="a\nb"),
        CHECKPOINT._replace(origin="a\n9"),
        CHECKPOINT._replace(size=-1),
        CHECKPOINT._replace(size=1 << 63),
        CHECKPOINT._replace(size=0),
        CHECKPOINT._replace(root=bytes(31)),
        CHECKPOINT._replace(extensions=("",)),
        CHECKPOINT._replace(extensions=("a\nb",)),
    ],
)
def test_checkpoint_that_cannot_be_is_not_written(wrong: Checkpoint) -> None:
    """What would not read back as itself is refused; size 0 has the root of the empty tree."""
    with pytest.raises(UsageError):
        checkpoint_text(wrong)


def test_checkpoint_of_the_empty_tree_is_written() -> None:
    """Size 0 goes with H of the empty string."""
    empty = CHECKPOINT._replace(size=0, root=verify.EMPTY_ROOT)
    assert parse_checkpoint(checkpoint_text(empty)) == empty


@given(st.integers(0, (1 << 63) - 1), st.lists(hashes, max_size=63), st.binary(max_size=120))
def test_proof_file_comes_back_from_its_text(index: int, proof: list[bytes], extra: bytes) -> None:
    """Reading undoes writing; no extra bytes and no extra line are the same."""
    assert parse_proof(format_proof(index, proof, NOTE, extra)) == (index, proof, NOTE, extra)


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=40))
def test_both_verifiers_decide_a_signature_alike(seed: bytes, message: bytes) -> None:
    """The plain Python verifier and the one of `cryptography` agree, on good and on bent ones."""
    signer = NoteSigner("name", seed.ljust(32, b"\x00")[:32])
    good = signer.sign(message)
    at = seed[0] % 64
    bent = good[:at] + bytes([good[at] ^ 1 << seed[-1] % 8]) + good[at + 1 :]
    for signature, verdict in ((good, True), (bent, False), (good[:-1], False)):
        for ed25519 in (verify.verify_ed25519, notes._verify_ed25519):
            assert ed25519(signer.key.public_key, signature, message) is verdict
