"""verify.py alone: copied out, run by an isolated Python, it answers in words and an exit code."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import verify
from ledger.merkle.tree import inclusion_proof, memory_nodes, root
from ledger.note import (
    Checkpoint,
    Cosigner,
    NoteSigner,
    checkpoint_text,
    format_proof,
    sign_note,
)

ORIGIN = "log.example/command"
LOG = NoteSigner(ORIGIN, bytes(range(32)))
WITNESS = Cosigner("witness.example", bytes(32))
FINGERPRINT = hashlib.sha256(b"a ledger").digest()
PAYLOAD = b"\x81\xa1a\x01"


def _proof() -> str:
    salt = b"s" * 16
    commitment = hashlib.sha256(b"\x02" + salt + PAYLOAD).digest()
    head = struct.pack("<4BI16sQQ", 1, 0, 1, 0, len(PAYLOAD), FINGERPRINT[:16], 2, 77)
    entry = head + commitment + bytes(32)
    node = memory_nodes([bytes(32), bytes(32), verify.leaf_hash(entry)])
    text = checkpoint_text(Checkpoint(ORIGIN, 3, root(3, node)))
    note = WITNESS.cosign(sign_note(text, [LOG]), 1_700_000_000)
    return format_proof(2, inclusion_proof(2, 3, node), note, entry + salt)


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """A directory that holds a copy of verify.py, a good proof and its payload, nothing of ours."""
    shutil.copy(verify.__file__, tmp_path / "verify.py")
    (tmp_path / "proof").write_text(_proof(), encoding="utf-8")
    (tmp_path / "payload").write_bytes(PAYLOAD)
    return tmp_path


def run(directory: Path, *more: str, key: str = LOG.vkey, payload: str = "payload") -> tuple[int, str]:
    """Run the copy in isolated mode, without site packages; the exit code and all it printed."""
    arguments = ["proof", "--payload", payload, "--key", key, *more]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "verify.py", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_good_proof_says_what_is_proved_and_what_is_not(command: Path) -> None:
    """Exit 0 names entry, ledger, log, root size and key, and ends with what remains open."""
    code, said = run(command, "--origin", ORIGIN, "--fingerprint", FINGERPRINT.hex())
    assert code == 0
    for fact in ("event 2", FINGERPRINT[:16].hex(), ORIGIN, "3 entries", "not proved"):
        assert fact in said
    assert "no fingerprint" not in said


def test_missing_pin_is_said(command: Path) -> None:
    """Without a fingerprint the answer says that the ledger was not pinned."""
    code, said = run(command)
    assert (code, "no fingerprint" in said) == (0, True)


def test_cosigner_is_named_with_the_time_it_claims(command: Path) -> None:
    """A witness whose key was brought is listed; one whose key was not is not."""
    code, said = run(command, "--key", WITNESS.vkey)
    assert (code, "1700000000" in said) == (0, True)
    assert "1700000000" not in run(command)[1]


def test_changed_payload_exits_1(command: Path) -> None:
    """A denial is exit 1 and prints no proof."""
    (command / "payload").write_bytes(PAYLOAD + b"x")
    code, said = run(command)
    assert (code, said.startswith("not proved")) == (1, True)


def test_another_ledger_exits_1(command: Path) -> None:
    """A proof of another ledger than the pinned one is denied."""
    assert run(command, "--fingerprint", bytes(32).hex())[0] == 1


@pytest.mark.parametrize("key", [NoteSigner("other.example", bytes(32)).vkey, WITNESS.vkey])
def test_no_key_of_the_log_exits_4(command: Path, key: str) -> None:
    """Neither a stranger's key nor a witness's alone decides anything."""
    assert run(command, key=key)[0] == 4


def test_malformed_proof_exits_4(command: Path) -> None:
    """A file that is no proof is undecided, not denied."""
    (command / "proof").write_bytes(b"\xff\n")
    assert run(command)[0] == 4


def test_malformed_key_exits_2(command: Path) -> None:
    """A key that cannot be one is the caller's mistake."""
    assert run(command, key="nonsense")[0] == 2


def test_missing_file_exits_3(command: Path) -> None:
    """A file that cannot be read says nothing about the proof."""
    assert run(command, payload="absent")[0] == 3
