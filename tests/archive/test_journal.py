# SPDX-License-Identifier: Apache-2.0
"""The shipper's log: what a crash leaves of it is a prefix, and damage is refused, not skipped."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.archive.journal import Intent, Journal, Progress, Put, Verified
from ledger.errors import CorruptionError, DiskFullError, EnvironmentFailure, LockedError, UsageError

FINGERPRINT, URL = bytes(range(32)), "memory:a"


LAST: list[Callable[[Journal], None]] = [
    lambda log: log.record_noted("1"),
    lambda log: log.forget("2"),
    lambda log: log.record_reconciled(),
]


def opened(path: Path) -> Journal:
    return Journal(path, FINGERPRINT, URL)


def intent(n: int) -> Intent:
    return Intent(bytes([n]) * 32, n, "COMPLIANCE", 2_000_000_000 + n, ["LGJ1"] * n)


def acts(n: int) -> list[Callable[[Journal], None]]:
    put = Put(f"key{n}", f"version{n}")
    receipt = Verified(put.key, put.version, "COMPLIANCE", 2_000_000_000 + n, bytes([n]) * 32, 1_900_000_000)
    return [
        lambda log: log.intend(str(n), intent(n)),
        lambda log: log.record_put(str(n), put),
        lambda log: log.record_verified(str(n), receipt),
    ]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, list[int], list[dict[str, Progress]]]:
    """A log of all kinds of records, the length of the file after each, and what it then said."""
    path = tmp_path / "ship" / "a.log"
    lengths, states = [], []
    log = opened(path)
    for act in [lambda log: None, *(act for n in range(3) for act in acts(n)), *LAST]:
        act(log)
        lengths.append(path.stat().st_size)
        states.append({k: Progress(p.intent, p.put, p.verified, p.noted) for k, p in log.progress.items()})
    log.close()
    return path, lengths, states


def test_the_log_reads_back_after_each_record(written: tuple[Path, list[int], list[dict[str, Progress]]]) -> None:
    """Cut at any byte, it says what the whole records before the cut say; the rest is cut off, and it goes on."""
    path, lengths, states = written
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        log = opened(path)
        whole = [i for i, length in enumerate(lengths) if length <= cut]
        expected = states[whole[-1]] if whole else {}
        assert log.progress == expected
        assert log.dropped_bytes == cut - (lengths[whole[-1]] if whole else 0)
        assert log.reconciled == (len(whole) == len(lengths))
        log.intend("more", intent(7))
        log.close()
        log = opened(path)
        assert log.progress == {**expected, "more": Progress(intent(7))}
        assert log.dropped_bytes == 0
        log.close()


def test_a_damaged_middle_is_refused(written: tuple[Path, list[int], list[dict[str, Progress]]]) -> None:
    """One changed byte before the last record: refused and left as it is. In the last one: as if never written."""
    path, lengths, states = written
    data = path.read_bytes()
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        if at < lengths[-2]:
            with pytest.raises(CorruptionError, match="move the file away"):
                opened(path)
            assert path.read_bytes() == changed
        else:
            log = opened(path)
            assert log.progress == states[-2]
            log.close()


def test_a_second_shipper_is_refused(tmp_path: Path) -> None:
    """While one has the log open; and no longer."""
    log = opened(tmp_path / "a.log")
    with pytest.raises(LockedError, match="another process"):
        opened(tmp_path / "a.log")
    log.close()
    opened(tmp_path / "a.log").close()


def test_the_log_of_another_is_refused(tmp_path: Path) -> None:
    """Of another ledger, or for another target."""
    opened(tmp_path / "a.log").close()
    for other in ((bytes(32), URL), (FINGERPRINT, "memory:b")):
        with pytest.raises(UsageError, match="belongs to"):
            Journal(tmp_path / "a.log", *other)


def test_a_failed_write_closes_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space in the middle of a record: the caller is told, nothing is written after it, and reopening goes on."""
    log = opened(tmp_path / "a.log")
    log.intend("0", intent(0))
    true_write = os.write

    def half(fd: int, data: memoryview) -> int:
        if len(data) > 40:
            return true_write(fd, data[:40])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ledger.archive.journal.os.write", half)
    with pytest.raises(DiskFullError, match="stays in the queue"):
        log.record_put("0", Put("k", "v"))
    monkeypatch.undo()
    assert log.progress["0"].put is None
    with pytest.raises(EnvironmentFailure, match="Open it anew"):
        log.record_put("0", Put("k", "v"))
    log = opened(tmp_path / "a.log")
    assert log.dropped_bytes == 40
    assert log.progress == {"0": Progress(intent(0))}
    log.close()


@pytest.mark.parametrize("step", ["fsync", "rename", "sync_folder", None])
def test_a_rewritten_log_says_the_same_of_what_is_kept(
    written: tuple[Path, list[int], list[dict[str, Progress]]], monkeypatch: pytest.MonkeyPatch, step: str | None
) -> None:
    """Also after a failure at each step, which leaves the old log or the new one; it stays locked, and goes on."""
    path, _, states = written
    before = path.read_bytes()
    log = opened(path)
    kept = {"1": states[-1]["1"]}
    if step is None:
        log.rewrite(lambda name: name == "1")
        assert len(path.read_bytes()) < len(before)
        with pytest.raises(LockedError):
            opened(path)
        log.intend("more", intent(5))
        kept["more"] = Progress(intent(5))
        assert log.progress == kept
    else:

        def fails(*arguments: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        place = "ledger.archive.journal." + ("sync_folder" if step == "sync_folder" else f"os.{step}")
        with monkeypatch.context() as patch:
            patch.setattr(place, fails)
            with pytest.raises(EnvironmentFailure):
                log.rewrite(lambda name: name == "1")
        if step != "sync_folder":
            assert path.read_bytes() == before
            kept = states[-1]
    log.close()
    log = opened(path)
    assert log.progress == kept
    assert log.reconciled
    log.close()
