# SPDX-License-Identifier: Apache-2.0
"""Statements: text of one kind about one ledger, under a key that does nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import Ledger, MismatchError, UsageError, VerificationError
from ledger.errors import NoKeyError
from ledger.note import NoteSigner, checkpoint_text, sign_note
from ledger.proofs import keys
from ledger.proofs.statements import key_name, open_statement, sign
from ledger.proofs.verification import verify
from ledger.verify import Checkpoint

ORIGIN = "shop/0011223344556677"
SIGNER = NoteSigner(key_name(ORIGIN), bytes(range(32)))
LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, range(32))))))


@given(lines=LINES)
def test_what_was_signed_is_what_opens(lines: list[str]) -> None:
    """Any lines of text come back byte for byte; blank ones and ones that look like signatures too."""
    body = "".join(f"{line}\n" for line in [*lines, "\u2014 a b", ""]).encode()
    assert open_statement(sign("export", ORIGIN, body, SIGNER), "export", ORIGIN, [SIGNER.vkey]) == body


def test_the_bytes_are_those_of_a_signed_note() -> None:
    """The first line has kind, version and origin; what follows is the body, a blank line and one signature."""
    data = sign("export", ORIGIN, b"rows 3\n", SIGNER)
    assert data.startswith(f"sealedger/export/v1 {ORIGIN}\nrows 3\n\n\u2014 {ORIGIN}/statements ".encode())
    assert open_statement(sign("export", ORIGIN, b"", SIGNER), "export", ORIGIN, [SIGNER.vkey]) == b""


@pytest.mark.parametrize(
    ("kind", "origin", "message"),
    [("result", ORIGIN, "not a result"), ("export", "shop/8899", "none of the keys"), ("export-2", ORIGIN, "not a")],
)
def test_a_statement_stands_for_its_kind_and_ledger_only(kind: str, origin: str, message: str) -> None:
    """Shown as another kind, or of another ledger, it does not open."""
    with pytest.raises(VerificationError, match=message):
        open_statement(sign("export", ORIGIN, b"x\n", SIGNER), kind, origin, [SIGNER.vkey])


def test_only_the_statements_key_of_the_origin_opens_it() -> None:
    """The checkpoint key, brought, opens nothing, even where it signed the text; a changed byte is a mismatch."""
    other = NoteSigner(ORIGIN, bytes(range(1, 33)))
    forged = sign_note(f"sealedger/export/v1 {ORIGIN}\nx\n", [other]).encode()
    for data in (forged, sign("export", ORIGIN, b"x\n", SIGNER)):
        with pytest.raises(VerificationError, match="none of the keys"):
            open_statement(data, "export", ORIGIN, [other.vkey])
    with pytest.raises(VerificationError, match="no signature"):
        open_statement(forged, "export", ORIGIN, [SIGNER.vkey, other.vkey])
    changed = sign("export", ORIGIN, b"x\n", SIGNER).replace(b"\nx\n", b"\ny\n")
    with pytest.raises(MismatchError):
        open_statement(changed, "export", ORIGIN, [SIGNER.vkey])


@pytest.mark.parametrize(
    ("kind", "body"),
    [("export", b"no end"), ("export", b"\xff\n"), ("export", b"a\rb\n"), ("Export", b""), ("", b""), ("a b", b"")],
)
def test_what_is_no_lines_of_text_is_not_signed(kind: str, body: bytes) -> None:
    """The signer is not asked."""
    with pytest.raises(UsageError):
        sign(kind, ORIGIN, body, SIGNER)


def test_another_key_signs_no_statement() -> None:
    """Nor does the checkpoint key."""
    with pytest.raises(UsageError, match="signed by"):
        sign("export", ORIGIN, b"", NoteSigner(ORIGIN, bytes(32)))


def test_a_ledger_names_its_statements_key_in_a_note(tmp_path: Path) -> None:
    """The first statement makes the key and one note; later ones and later openings add none."""
    with Ledger(tmp_path / "a") as log:
        first = log.statement("export", b"1\n")
        vkey = log.statement_signer().vkey
        assert log[log.size - 1] == {"note": "key", "use": "statements", "vkey": vkey}
        size = log.size
    with Ledger(tmp_path / "a") as log:
        second = log.statement("export", b"2\n")
        assert log.size == size
    with Ledger(tmp_path / "a", readonly=True) as log:
        assert log.statement("export", b"2\n") == second
    for data, body in ((first, b"1\n"), (second, b"2\n")):
        assert open_statement(data, "export", log.origin, [vkey]) == body


def test_without_its_note_the_key_is_named_anew(tmp_path: Path, key_folder: Path) -> None:
    """A crash before the note, or an event that looks like one, is not taken for it."""
    with Ledger(tmp_path / "a") as log:
        made = keys.create(key_name(log.origin), log.path)
        fake = log.append({"note": "key", "use": "statements", "vkey": made.vkey})
        keys.write_noted(key_name(log.origin), log.path, fake.index)
        log.statement("export", b"")
        assert log.size == fake.index + 2
    for hint in ("", "x", "99", "-1", str(fake.index)):
        (noted,) = key_folder.glob("*.noted")
        noted.write_text(hint)
        with Ledger(tmp_path / "a") as log:
            size = log.size
            log.statement("export", b"")
            assert (log.size, log[size]["vkey"]) == (size + 1, made.vkey)


def test_reading_only_makes_no_key(tmp_path: Path, key_folder: Path) -> None:
    """No key, no note: the error says what to do."""
    Ledger(tmp_path / "a").close()
    with Ledger(tmp_path / "a", readonly=True) as log, pytest.raises(NoKeyError, match="for writing once"):
        log.statement("export", b"")
    assert not list(key_folder.iterdir())


def test_a_statements_key_lifts_no_grade(tmp_path: Path) -> None:
    """Attack A32 the other way round: a checkpoint's text under the statements key, brought, is no L2."""
    with Ledger(tmp_path / "a") as log:
        log.append({"n": 1})
        signer = log.statement_signer()
        note = sign_note(checkpoint_text(Checkpoint(log.origin, log.size, log.root)), [signer])
        from hashlib import sha256

        log.paths.checkpoint(log.size, sha256(note.encode()).hexdigest()[:8]).write_text(note)
    report = verify(tmp_path / "a", keys=[signer.vkey])
    assert [line.grade for line in report.lines] == ["L0", "L1"]
    assert report.exit_code == 4


def test_kinds_are_short_names() -> None:
    """What a kind may be is what its first line can hold without a doubt."""
    for kind in ("export", "archive-manifest", "result", "a" * 32):
        data = sign(kind, ORIGIN, b"", SIGNER)
        assert re.match(rb"sealedger/[a-z-]+/v1 ", data)
    with pytest.raises(UsageError):
        sign("a" * 33, ORIGIN, b"", SIGNER)
