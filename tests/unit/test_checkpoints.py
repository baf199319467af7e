# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on disk and proofs against them, with other people's files among them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger, MismatchError, UsageError
from ledger.note import NoteSigner, checkpoint_text, sign_note
from ledger.proofs import checkpoints, keys
from ledger.verify import Checkpoint, parse_vkey, verify_event_proof, verify_note


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of ten events with a key on this host."""
    with Ledger(tmp_path / "a") as opened:
        keys.create(opened.origin, opened.path)
        opened.append_many([{"n": n} for n in range(10)])
        yield opened


def plant(log: Ledger, size: int, root: bytes, signer: NoteSigner | None = None) -> str:
    """A checkpoint file as anyone who can write the folder can make it: signed, but by a key of theirs."""
    signer = signer or NoteSigner.generate(log.origin)
    note = sign_note(checkpoint_text(Checkpoint(log.origin, size, root)), [signer])
    name = log.paths.checkpoint(size, hashlib.sha256(note.encode()).hexdigest()[:8])
    name.parent.mkdir(exist_ok=True)
    name.write_text(note)
    return note


def test_a_checkpoint_is_stored_as_signed(log: Ledger) -> None:
    """The note's bytes stand under the size and their own hash, and verify under the key."""
    note = log.checkpoint()
    stored, problems = checkpoints.stored(log.paths)
    assert [item.note for item in stored] == [note]
    assert stored[0].checkpoint == Checkpoint(log.origin, log.size, log.root)
    assert problems == []
    verify_note(note, [parse_vkey(log.signer().vkey)])


def test_an_unchanged_ledger_is_signed_once(log: Ledger) -> None:
    """A second checkpoint of the same size is the first one, and no new file."""
    assert log.checkpoint() == log.checkpoint()
    assert len(checkpoints.stored(log.paths)[0]) == 1


def test_a_planted_checkpoint_is_not_given_out_as_ours(log: Ledger) -> None:
    """One of the right size and root under an unknown key does not stand in for our signature."""
    planted = plant(log, log.size, log.root)
    note = log.checkpoint()
    assert note != planted
    verify_note(note, [parse_vkey(log.signer().vkey)])


def test_a_changed_file_is_reported_and_left_out(log: Ledger) -> None:
    """A checkpoint whose bytes no longer match its name is a problem, never a checkpoint."""
    log.checkpoint()
    (file,) = (log.path / "checkpoints").iterdir()
    file.write_bytes(file.read_bytes().replace(b"\n11\n", b"\n12\n"))
    stored, problems = checkpoints.stored(log.paths)
    assert stored == []
    assert len(problems) == 1
    assert file.name in problems[0]


def test_a_rewritten_history_that_outgrew_the_signed_one_is_refused(tmp_path: Path) -> None:
    """With the checkpoints removed too, the signer's own memory refuses the second history at any size."""
    path, older = tmp_path / "a", tmp_path / "older"
    with Ledger(path) as log:
        keys.create(log.origin, path)
        log.append({"n": 0})
    shutil.copytree(path, older)
    with Ledger(path) as log:
        log.append({"n": 1})
        log.checkpoint()
    for name in ("active", "HEAD"):  # in place, so that `lock` stays the file that knows itself
        source, target = older / name, path / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    shutil.rmtree(path / "checkpoints")
    (path / "checkpoints").mkdir()
    with Ledger(path) as log:
        log.append_many([{"other": n} for n in range(50)])
        with pytest.raises(MismatchError, match="second history"):
            log.checkpoint()
        assert checkpoints.stored(log.paths)[0] == []


def test_an_event_is_proven_to_who_has_only_key_and_payload(log: Ledger) -> None:
    """Every entry, sealed or not, has a proof that the offline verifier accepts under the pinned key."""
    log.seal()
    log.append({"n": 10})
    log.checkpoint()
    key = log.signer().vkey
    for index in range(1, log.size):
        verified = verify_event_proof(log.prove(index), log.payload(index), [key], fingerprint=log.fingerprint)
        assert verified.index == index


def test_a_proof_passes_over_a_checkpoint_of_another_tree(log: Ledger) -> None:
    """A planted checkpoint with another root is not proven against when a true one covers the entry."""
    log.checkpoint()
    planted = plant(log, 5, b"\x01" * 32)
    assert planted not in log.prove(2)
    with pytest.raises(MismatchError, match="not of this tree"):
        log.prove(2, at=planted)


def test_a_checkpoint_that_does_not_cover_the_entry_is_refused(log: Ledger) -> None:
    """Neither an entry after the checkpoint nor a checkpoint ahead of the ledger gives a proof."""
    note = log.checkpoint()
    later = log.append({"n": 10})
    with pytest.raises(UsageError, match="covers"):
        log.prove(later, at=note)
    with pytest.raises(UsageError, match="ahead"):
        log.prove(1, at=plant(log, log.size + 5, b"\x01" * 32))
