# SPDX-License-Identifier: Apache-2.0
"""Where a ledger may lie: FAULTS of file systems whose locks and syncs are not what they say."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import EnvironmentFailure, Ledger
from ledger._native import lib
from ledger.proofs.verification import verify
from ledger.storage.place import check_locks

pytestmark = pytest.mark.skipif(
    not hasattr(lib, "ledger_fault_arm"), reason="this build has no failing calls (LEDGER_FAULTS)"
)
NFS, CIFS, P9, FUSE, TMPFS, EXT4 = 0x6969, 0xFF534D42, 0x01021997, 0x65735546, 0x01021994, 0xEF53


@pytest.fixture
def on() -> Iterator[Callable[[int], None]]:
    """From now on every folder lies on a file system of that type (above 4095), or fstatfs fails with that errno."""

    def arm(what: int) -> None:
        signed = what - (1 << 32) if what >= 1 << 31 else what
        assert lib.ledger_fault_arm(b"fstatfs", 1, signed, 1, 0) == lib.LEDGER_OK

    yield arm
    lib.ledger_fault_arm(b"", 0, 0, 0, 0)


def files(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("kind", "name"), [(NFS, "NFS"), (CIFS, "CIFS"), (P9, "9p")])
def test_a_network_file_system_is_read_and_not_written(
    tmp_path: Path, on: Callable[[int], None], kind: int, name: str
) -> None:
    """Opening for writing and creating are refused, with nothing made or changed; reading and verifying work."""
    path = tmp_path / "a"
    with Ledger(path) as log:
        log.append({"n": 1})
    before = files(tmp_path)
    on(kind)
    for target in (path, tmp_path / "new" / "deeper"):
        with pytest.raises(EnvironmentFailure, match=f"{name}: .*Nothing was changed"):
            Ledger(target)
    assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()
    with Ledger(path, readonly=True) as log:
        assert len(log) == 1
    assert verify(path, require="L1").ok


@pytest.mark.parametrize(("kind", "text"), [(FUSE, "user space"), (TMPFS, "memory"), (EXT4, "")])
def test_a_doubtful_file_system_is_written_and_said(
    tmp_path: Path, on: Callable[[int], None], kind: int, text: str
) -> None:
    """`stats()` names it under `place`; a plain one is not mentioned."""
    on(kind)
    with Ledger(tmp_path / "a") as log:
        log.append({"n": 1})
        assert text in log.stats()["place"]
        assert bool(text) == bool(log.stats()["place"])


def test_a_file_system_that_cannot_be_told_is_refused(tmp_path: Path, on: Callable[[int], None]) -> None:
    """An error of fstatfs is ours, and nothing is made."""
    on(errno.EIO)
    with pytest.raises(EnvironmentFailure, match="cannot be told"):
        Ledger(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_locks_that_are_given_twice_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some shared and user-space file systems grant every lock: found out before anything is written."""
    path = tmp_path / "a"
    with Ledger(path) as log:
        log.append({"n": 1})
    before = files(tmp_path)
    real, probes = fcntl.fcntl, list[Any]()

    def generous(descriptor: int, command: int, argument: Any = 0) -> Any:
        if command == fcntl.F_OFD_SETLK:
            probes.append(argument)
            return argument
        return real(descriptor, command, argument)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", generous)
        with pytest.raises(EnvironmentFailure, match="one lock twice"):
            Ledger(path)
    assert len(probes) == 2
    assert files(tmp_path) == before
    Ledger(path).close()


def test_another_process_that_probes_is_an_answer(tmp_path: Path) -> None:
    """Whoever finds the byte taken knows that locks exclude: no open fails because another one tries at the time."""
    import struct

    Ledger(tmp_path / "a").close()
    lock = tmp_path / "a" / "lock"
    with lock.open("r+b") as held:
        fcntl.fcntl(held, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 5, 1, 0))
        check_locks(lock)
        Ledger(tmp_path / "a").close()
