# SPDX-License-Identifier: Apache-2.0
"""Each call that Python's own file work makes fails in turn, where bytes are at stake: recovery, keys, signatures.

Whatever fails, the error is one of ours, and the same act, done again, ends as if nothing had been."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger, LedgerError, VerificationError
from ledger.proofs.verification import verify
from ledger.storage.create import write_lock_digest
from ledger.storage.paths import Paths

CALLS = ("open", "write", "fsync", "fdatasync", "link", "replace", "pwrite")


class Failing:
    """The n-th of all calls fails with an error."""

    def __init__(self, patch: pytest.MonkeyPatch, nth: int, error: int) -> None:
        self.left = nth
        for name in CALLS:
            patch.setattr(os, name, self._failing(getattr(os, name), error))

    def _failing(self, real: Callable[..., Any], error: int) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(error, os.strerror(error))
            return real(*args, **options)

        return call


def torn(path: Path) -> None:
    """A ledger that was cut off in a batch, and whose HEAD of another boot knows nothing of it."""
    with Ledger(path) as log:
        log.append_many([{"n": n} for n in range(20)])
    (active,) = (path / "active").glob(f"{0:020}.act")
    data = bytearray(active.read_bytes())
    end = len(bytes(data).rstrip(b"\x00")) + 511 & ~511
    data[end : end + 300] = b"LGB1" + b"torn" * 74
    active.write_bytes(bytes(data))


def every_nth(template: Path, act: Callable[[Path], None], error: int, checked: Callable[[Path], None]) -> int:
    """Do `act` on fresh copies with call 1, 2, … failing, then again without; how many calls there were to fail."""
    for nth in range(1, 400):
        path = template.with_name(f"{template.name}-{nth}")
        shutil.copytree(template, path)
        write_lock_digest(Paths(path))
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, nth, error)
            with contextlib.suppress(LedgerError, VerificationError):
                act(path)
        act(path)
        checked(path)
        shutil.rmtree(path)
        if failing.left > 0:
            return nth - 1
    raise AssertionError("the calls do not end")


def has_one_tail(path: Path) -> None:
    with Ledger(path, readonly=True) as log:
        assert [event["n"] for event in log] == list(range(20))
        notes = [log[item.index] for item in log.entries(1) if item.kind == 1]
    assert {note["note"] for note in notes} == {"recovered"}
    assert len({note["sha256"] for note in notes}) == 1
    assert len(list((path / "quarantine").glob("*.noted"))) == 1
    assert verify(path, require="L1").ok


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_recovery(tmp_path: Path, error: int) -> None:
    """A torn tail is set aside once and noted, whatever failed on the way."""
    torn(tmp_path / "a")

    def act(path: Path) -> None:
        Ledger(path).close()

    assert every_nth(tmp_path / "a", act, error, has_one_tail) > 5


@pytest.mark.parametrize("act", ["checkpoint", "statement", "rotate_key"])
def test_signing(tmp_path: Path, act: str) -> None:
    """Checkpoints, the statements key and a rotation: what failed is done by the next, and verifies."""
    with Ledger(tmp_path / "a", new_key=True) as log:
        log.append({"n": 1})
        first = log.signer().vkey

    def sign(path: Path) -> None:
        with Ledger(path) as log:
            log.statement("export", b"a\n") if act == "statement" else getattr(log, act)()

    def checked(path: Path) -> None:
        with Ledger(path) as log:
            log.checkpoint()
            keys = [first, log.signer().vkey]
        assert verify(path, keys=keys).ok

    key_folder = Path(os.environ["SEALEDGER_KEY_DIR"])
    kept = {file: file.read_bytes() for file in key_folder.iterdir()}

    def afresh(path: Path) -> None:
        checked(path)
        for file in key_folder.iterdir():
            file.unlink()
        for file, data in kept.items():
            file.write_bytes(data)
            file.chmod(0o600)

    assert every_nth(tmp_path / "a", sign, errno.EIO, afresh) > 3
