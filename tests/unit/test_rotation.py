# SPDX-License-Identifier: Apache-2.0
"""Rotation of the checkpoint key: a note, a checkpoint under both keys, and no trust that nobody brought."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger import Ledger, UsageError
from ledger.errors import EnvironmentFailure
from ledger.note import NoteSigner
from ledger.proofs import checkpoints, keys
from ledger.proofs.verification import verify
from ledger.verify import parse_note, parse_vkey, verify_note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with a key and a sealed segment."""
    with Ledger(tmp_path / "a", new_key=True) as log:
        log.append_many([{"n": n} for n in range(300)])
        log.checkpoint()
        log.seal()
    return tmp_path / "a"


def rotated(path: Path) -> tuple[str, str, str]:
    """Rotate; the old vkey, the new one, and the checkpoint between them."""
    with Ledger(path) as log:
        old = log.signer().vkey
        note = log.rotate_key()
        return old, log.signer().vkey, note


def test_both_keys_sign_the_checkpoint_between_them(path: Path) -> None:
    """Old or new, each verifies it alone; a verifier with either key reaches L2 there, and the range is whole."""
    old, new, note = rotated(path)
    assert old != new
    assert len(parse_note(note)[1]) == 2
    for vkey in (old, new):
        verify_note(note, [parse_vkey(vkey)])
        assert verify(path, keys=[vkey]).ok


def test_after_it_the_new_key_signs_alone(path: Path) -> None:
    """The old key, brought, lifts no more than it signed; so does the new one for nobody who did not bring it."""
    old, new, _ = rotated(path)
    with Ledger(path) as log:
        signed = log.size
        log.append({"after": 1})
        note = log.checkpoint()
    assert len(parse_note(note)[1]) == 1
    report = verify(path, keys=[old])
    assert (report.ok, report.grade_of(signed - 1), report.grade_of(signed)) == (False, "L2", "L1")
    assert verify(path, keys=[new]).ok
    assert verify(path, keys=[old, new]).ok


def test_a_successor_named_in_a_note_is_printed_and_not_trusted(path: Path) -> None:
    """It stands in the report, sealed or not, and gives nothing; an event that looks like the note does not."""
    old, new, _ = rotated(path)
    forged = NoteSigner.generate("forged").vkey
    with Ledger(path) as log:
        note = log.size - 1
        log.append({"note": "key", "use": "checkpoints", "vkey": forged})
    for _ in range(2):
        report = verify(path)
        assert report.named_keys == [{"index": note, "use": "checkpoints", "vkey": new}]
        assert [line.grade for line in report.lines] == ["L0", "L1"]
        with Ledger(path) as log:
            log.seal()
    with Ledger(path) as log:
        assert log[note] == {"note": "key", "use": "checkpoints", "vkey": new, "replaces": old}


def test_a_key_that_cannot_be_printed_is_not_named(path: Path) -> None:
    """Whoever wrote the note decides what is in it: what is no verifier key never reaches a terminal."""
    with Ledger(path) as log:
        for vkey in ("\u001b[2J", "x", 5, None, {"a": 1}):
            log.append_note({"note": "key", "use": "checkpoints", "vkey": vkey})
        log.append_note({"note": "key", "use": ["checkpoints"], "vkey": log.signer().vkey})
        log.append_note({"note": "sealed", "segno": [1]})
    report = verify(path)
    assert (report.named_keys, report.problems) == ([], [])


@pytest.mark.parametrize("step", ["successor", "append_note", "publish", "promote"])
def test_a_rotation_cut_off_is_finished_by_the_next(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """After any step the old key still signs, and the next rotation ends with one successor, the same."""
    with Ledger(path) as log, monkeypatch.context() as patch:
        old = log.signer().vkey
        where = log if step == "append_note" else checkpoints if step == "publish" else keys
        real = getattr(where, step)

        def cut_off(*args: object, **options: object) -> None:
            if step == "publish":
                real(*args, **options)
            raise EnvironmentFailure("cut off here")

        patch.setattr(where, step, cut_off)
        with pytest.raises(EnvironmentFailure):
            log.rotate_key()
        assert log.signer().vkey == old
    with Ledger(path) as log:
        log.append({"n": 1})
        log.checkpoint()
    first = keys.load(log.origin, path, "next.key")
    found, new, _ = rotated(path)
    assert found == old
    assert first is None or first.vkey == new
    assert keys.load(log.origin, path, "next.key") is None
    assert verify(path, keys=[old]).ok
    assert verify(path, keys=[new]).ok


def test_the_old_key_stays_as_retired(path: Path, key_folder: Path) -> None:
    """It is kept under another name, for its owner to destroy; nobody but the owner reads any of them."""
    old, _, _ = rotated(path)
    (retired,) = key_folder.glob("*.retired-*.key")
    assert NoteSigner.from_skey(retired.read_text().strip()).vkey == old
    rotated(path)
    assert len(list(key_folder.glob("*.retired-*.key"))) == 2
    assert {file.stat().st_mode & 0o777 for file in key_folder.iterdir()} == {0o600}


def test_another_open_handle_signs_with_the_new_key_at_once(path: Path) -> None:
    """A process that had the ledger open goes on with the successor, not with what it once loaded."""
    with Ledger(path) as other:
        other.checkpoint()
        _, new, _ = rotated(path)
        other.append({"n": 1})
        verify_note(other.checkpoint(), [parse_vkey(new)])


def test_a_given_signer_is_followed_by_a_given_one(tmp_path: Path, key_folder: Path) -> None:
    """Off-host signers are rotated by who has them: no key is made here, and the mix of both is refused."""
    first, second = (NoteSigner.generate("hsm") for _ in range(2))
    with Ledger(tmp_path / "a", signer=first) as log:
        for wrong in (None, first, NoteSigner.generate("other")):
            with pytest.raises(UsageError):
                log.rotate_key(wrong)
        size = log.size
        note = log.rotate_key(second)
        assert log.size == size + 1
        log.append({"n": 1})
        verify_note(log.checkpoint(), [second.key])
    verify_note(note, [first.key])
    verify_note(note, [second.key])
    assert not list(key_folder.glob("*.key"))


def test_a_given_successor_of_a_kept_key_is_refused(path: Path) -> None:
    """Nothing is appended."""
    with Ledger(path) as log:
        size = log.size
        with pytest.raises(UsageError, match="if and only if"):
            log.rotate_key(NoteSigner.generate(log.origin))
        assert log.size == size


def test_a_copy_does_not_rotate_below_what_was_signed(path: Path, tmp_path: Path) -> None:
    """The signer's state holds for both keys: an older history gets neither signature."""
    from ledger import MismatchError
    from ledger.storage.create import write_lock_digest
    from ledger.storage.paths import Paths

    shutil.copytree(path, tmp_path / "older")
    with Ledger(path) as log:
        log.append({"n": 1})
        log.checkpoint()
    write_lock_digest(Paths(tmp_path / "older"))
    with Ledger(tmp_path / "older") as log:
        log.append({"other": 1})
        with pytest.raises(MismatchError):
            log.rotate_key()


def test_the_commands_show_and_rotate(path: Path) -> None:
    """`key show` prints what verifiers need; `key rotate` both keys and the size up to which the old one counts."""
    from tests.unit.test_cli import json_of, run

    before = json_of("key", "show", path)
    done = json_of("key", "rotate", path)
    after = json_of("key", "show", path)
    assert (before["checkpoints"], after["checkpoints"]) == (done["old"], done["new"])
    assert before["first"] == [done["old"]] == after["first"]
    assert before["statements"] is None
    assert json_of("verify", path, "--key", done["old"])["size"] == done["size"]
    assert done["new"] in run("verify", path, "--key", done["old"]).stdout
    shutil.rmtree(before["folder"])
    assert json_of("key", "rotate", path, code=3)["error"] == "NoKeyError"
