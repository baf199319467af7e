# SPDX-License-Identifier: Apache-2.0
"""LEDGER lost or damaged: entry 0 holds the same bytes, in the active or the sealed file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import CorruptionError, EnvironmentFailure, Ledger
from ledger.proofs.verification import verify
from ledger.storage.doctor import examine


@pytest.fixture(params=["active", "sealed"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A ledger whose entry 0 lies in an active, or in a sealed file."""
    with Ledger(tmp_path / "a") as log:
        log.append_many([{"n": n} for n in range(20)])
        if request.param == "sealed":
            log.seal()
    assert list((tmp_path / "a" / "sealed").glob("*.seg")) == [
        tmp_path / "a" / "sealed" / f"{0:020}.seg" for _ in range(request.param == "sealed")
    ]
    return tmp_path / "a"


def test_a_lost_ledger_file_is_read_from_entry_0_and_written_again(path: Path) -> None:
    """Readers say that it is missing and change nothing; the next writer gives it the same bytes."""
    data = (path / "LEDGER").read_bytes()
    (path / "LEDGER").unlink()
    with Ledger(path, readonly=True) as log:
        assert len(log) == 20
        assert "LEDGER is missing" in log.stats()["degraded"][0]
    assert "LEDGER is missing" in verify(path, require="L1").degraded[0]
    assert "LEDGER is missing" in examine(path)["degraded"][0]
    assert not (path / "LEDGER").exists()
    with Ledger(path, create=False) as log:
        log.append({"n": 20})
        assert log.stats()["degraded"] == []
    assert (path / "LEDGER").read_bytes() == data


def test_a_damaged_ledger_file_is_left_alone_and_said(path: Path) -> None:
    """Entry 0 is read instead, for writing too; moved away, the file comes back with its bytes."""
    file = path / "LEDGER"
    data = file.read_bytes()
    for bad in (data[:-1], b"", bytes([data[0] ^ 1]) + data[1:], data + b"\x00"):
        file.write_bytes(bad)
        with Ledger(path) as log:
            log.append({"more": 1})
            assert "damaged" in log.stats()["degraded"][0]
        assert file.read_bytes() == bad
    file.unlink()
    Ledger(path).close()
    assert file.read_bytes() == data


def test_another_ledgers_file_is_no_identity(path: Path, tmp_path: Path) -> None:
    """A sound LEDGER that is not this ledger's is not mended from entry 0: it is refused."""
    Ledger(tmp_path / "b").close()
    (path / "LEDGER").write_bytes((tmp_path / "b" / "LEDGER").read_bytes())
    with pytest.raises(CorruptionError):
        Ledger(path)
    assert verify(path).exit_code == 1


def test_no_second_history_begins_over_segments(path: Path) -> None:
    """Without LEDGER and entry 0, what lies there is refused for every opening, and not one byte is changed."""
    (path / "LEDGER").unlink()
    for file in [*(path / "active").glob(f"{0:020}.act"), *(path / "sealed").iterdir()]:
        file.write_bytes(bytes(file.stat().st_size))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "lock"}
    for create in (True, False):
        with pytest.raises((CorruptionError, EnvironmentFailure)):
            Ledger(path, create=create)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "lock"} == before


def test_an_unfinished_creation_is_no_ledger_for_a_reader(tmp_path: Path) -> None:
    """Entry 0 without LEDGER, and a HEAD that no writer ever wrote, is a creation that goes on or was cut off."""
    path = tmp_path / "a"
    Ledger(path).close()
    (path / "LEDGER").unlink()
    (path / "HEAD").write_bytes(bytes(8192))
    with pytest.raises(EnvironmentFailure, match="no ledger"):
        Ledger(path, readonly=True)
    with Ledger(path) as log:
        assert log.size == 1
