# SPDX-License-Identifier: Apache-2.0
"""Copies of a ledger: adopted, or followed by a new one that names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger import CopiedLedgerError, CorruptionError, EnvironmentFailure, Ledger, UsageError
from ledger.proofs.verification import verify
from ledger.succession import adopt, fork
from tests.unit.test_cli import json_of, run


@pytest.fixture
def copied(tmp_path: Path) -> tuple[Path, Path]:
    """A signed ledger, and a copy of it made file by file."""
    path = tmp_path / "a"
    with Ledger(path, new_key=True, name="shop") as log:
        log.append_many([{"n": n} for n in range(200)])
        log.seal()
        log.append({"n": 200})
        log.checkpoint()
    shutil.copytree(path, tmp_path / "copy")
    return path, tmp_path / "copy"


def files(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_copy_is_not_written_to(copied: tuple[Path, Path]) -> None:
    """The error says which two ways there are; reading works, and nothing was changed."""
    _, copy = copied
    before = files(copy)
    with pytest.raises(CopiedLedgerError, match=r"sealedger adopt.*sealedger fork"):
        Ledger(copy)
    with Ledger(copy, readonly=True) as log:
        assert len(log) == 201
    assert files(copy) == before


def test_an_adopted_copy_goes_on(copied: tuple[Path, Path]) -> None:
    """A note says so; identity, key and history are those of the original, which is gone."""
    path, copy = copied
    shutil.rmtree(path)
    with Ledger(copy, readonly=True) as log:
        size, vkey = log.size, log.signer().vkey
    assert adopt(copy) == size
    with Ledger(copy) as log:
        assert log[size] == {"note": "copied", "fingerprint": log.fingerprint}
        log.append({"on": 1})
        log.checkpoint()
    assert verify(copy, keys=[vkey]).ok


def test_what_is_no_copy_is_not_adopted(copied: tuple[Path, Path], tmp_path: Path) -> None:
    """The original, an adopted copy and an empty folder are refused, and stay as they are."""
    path, copy = copied
    adopt(copy)
    before = files(tmp_path)
    for ledger in (path, copy):
        with pytest.raises(UsageError, match="no copy"):
            adopt(ledger)
    with pytest.raises(EnvironmentFailure):
        adopt(tmp_path / "nothing")
    assert files(tmp_path) == before


def test_a_fork_names_what_it_follows(copied: tuple[Path, Path], tmp_path: Path) -> None:
    """Fingerprint, origin, size and root of the copy stand in LEDGER, under the new fingerprint; the copy is as it
    was, the new ledger has a key and an origin of its own."""
    _, copy = copied
    before = files(copy)
    with Ledger(copy, readonly=True) as old, fork(copy, tmp_path / "new") as log:
        assert log.identity.predecessor == log[0]["predecessor"]
        assert log[0]["predecessor"] == {
            "fingerprint": old.fingerprint,
            "origin": old.origin,
            "reason": "fork",
            "size": old.size,
            "root": old.root,
        }
        assert log.origin.startswith("shop/")
        assert log.origin != old.origin
        assert log.signer().vkey != old.signer().vkey
        assert log.identity.limits == old.identity.limits
        log.append({"on": 1})
        log.checkpoint()
        assert log.verify(fingerprint=log.fingerprint).ok
    assert files(copy) == before


def test_a_fork_of_damage_or_onto_something_is_refused(copied: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing is made, not even a key."""
    path, copy = copied
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for target in (tmp_path / "full", path, copy / "inside", tmp_path):
        with pytest.raises(UsageError):
            fork(copy, target)
    sealed = next((copy / "sealed").glob("*.seg"))
    data = bytearray(sealed.read_bytes())
    data[len(data) // 2] ^= 1
    sealed.write_bytes(bytes(data))
    before = files(tmp_path)
    with pytest.raises(CorruptionError, match="sealedger repair"):
        fork(copy, tmp_path / "new")
    assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_the_commands_say_what_to_keep(copied: tuple[Path, Path], tmp_path: Path) -> None:
    """`doctor` says that it is a copy, `fork` prints as `init` does, `adopt` the note."""
    _, copy = copied
    assert json_of("doctor", copy)["copy"] is True
    made = json_of("fork", copy, tmp_path / "new", "--name", "other")
    assert made["origin"].startswith("other/")
    run("checkpoint", tmp_path / "new")
    assert json_of("verify", tmp_path / "new", "--key", made["key"], "--fingerprint", made["fingerprint"])["ok"]
    assert json_of("adopt", copy)["note"] > 0
    assert json_of("doctor", copy)["copy"] is False
    run("adopt", copy, code=2)
