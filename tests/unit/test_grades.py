# SPDX-License-Identifier: Apache-2.0
"""Verification answers in grades; each line of "never an upgrade" that this version can meet has its test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import Ledger, Receipt, UsageError
from ledger.proofs import keys
from ledger.proofs.verification import VerifyReport, verify


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, str]:
    """A ledger with a sealed segment, an active one and a checkpoint of all of it; and its key."""
    path = tmp_path / "a"
    with Ledger(path) as log:
        signer = keys.create(log.origin, path)
        log.append_many([{"n": n} for n in range(500)])
        log.seal()
        log.append_many([{"n": n} for n in range(500, 700)])
        log.checkpoint()
    return path, signer.vkey


def grades(report: VerifyReport) -> list[tuple[str, int]]:
    return [(line.grade, line.size) for line in report.lines]


def test_a_checkpoint_under_a_brought_key_gives_l2(made: tuple[Path, str]) -> None:
    """L2 for the whole range, exit 0; a report refuses to be a bare yes."""
    path, vkey = made
    report = verify(path, keys=[vkey])
    assert report.ok
    assert report.exit_code == 0
    assert ("L2", report.size) in grades(report)
    with pytest.raises(TypeError):
        bool(report)


def test_a_key_beside_the_ledger_is_no_upgrade(made: tuple[Path, str]) -> None:
    """Without a brought key the same ledger is self-consistent only: not ok, exit 4."""
    path, _ = made
    report = verify(path)
    assert grades(report) == [("L0", report.size), ("L1", report.size)]
    assert (report.ok, report.exit_code) == (False, 4)
    assert verify(path, require="L1").ok


def test_a_key_in_ledger_counts_only_with_a_brought_fingerprint(tmp_path: Path) -> None:
    """Keys in LEDGER count as brought when F was brought and agrees, never otherwise."""
    path = tmp_path / "a"
    with Ledger(path, new_key=True) as log:
        log.append({"n": 1})
        log.checkpoint()
        fingerprint = log.fingerprint
        assert log[0]["keys"] == [log.signer().vkey]
    assert verify(path).exit_code == 4
    assert verify(path, fingerprint=fingerprint).ok
    assert verify(path, fingerprint=b"\x01" * 32).exit_code == 1


def test_since_is_no_upgrade_for_older_bytes(made: tuple[Path, str]) -> None:
    """Segments that `since` leaves out are not evidence: nothing above L0 is claimed, and nothing is accused."""
    path, vkey = made
    report = verify(path, keys=[vkey], since=501)
    assert grades(report) == [("L0", report.size)]
    assert (report.problems, report.exit_code) == ([], 4)


def test_a_report_up_to_the_checkpoint_is_memory(made: tuple[Path, str], tmp_path: Path) -> None:
    """The root of a report is that of its size, also when it stops at the checkpoint."""
    path, vkey = made
    with Ledger(path) as log:
        log.append({"later": 1})
    memory = tmp_path / "memory.json"
    memory.write_text(json.dumps(verify(path, keys=[vkey], until="checkpoint").as_dict()))
    assert verify(path, keys=[vkey], memory=memory, until="checkpoint", require="L3").ok
    memory.write_text("{}")
    with pytest.raises(UsageError):
        verify(path, keys=[vkey], memory=memory)


def test_a_smaller_checkpoint_lifts_only_its_prefix(made: tuple[Path, str]) -> None:
    """Entries above the checkpoint keep L1; the whole range is not ok, the prefix is."""
    path, vkey = made
    with Ledger(path) as log:
        signed = log.size
        log.append({"later": True})
    report = verify(path, keys=[vkey])
    assert not report.ok
    assert report.grade_of(signed - 1) == "L2"
    assert report.grade_of(signed) == "L1"
    assert verify(path, keys=[vkey], until="checkpoint").ok


def test_quick_is_no_upgrade(made: tuple[Path, str]) -> None:
    """`quick` reads headers and footers, and says L0."""
    path, vkey = made
    report = verify(path, keys=[vkey], level="quick")
    assert grades(report) == [("L0", report.size)]
    assert report.exit_code == 4


def test_an_unknown_signer_is_no_upgrade(made: tuple[Path, str]) -> None:
    """A key that the verifier brought for another name changes nothing."""
    from ledger.note import NoteSigner

    path, _ = made
    report = verify(path, keys=[NoteSigner.generate("stranger").vkey])
    assert not report.ok
    assert report.grade_of(0) == "L1"


def test_memory_from_outside_gives_l3_and_finds_a_rewrite(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier report lifts its prefix to L3; a ledger that was rewritten or cut off contradicts it."""
    path, vkey = made
    memory = tmp_path / "memory.json"
    memory.write_text(json.dumps(verify(path, keys=[vkey]).as_dict()))
    report = verify(path, keys=[vkey], memory=memory, require="L3")
    assert report.ok
    shutil.rmtree(path)
    monkeypatch.setenv("SEALEDGER_KEY_DIR", str(tmp_path / "of-an-attacker"))
    with Ledger(path) as log:
        log.append({"another": "history"})
    assert verify(path, keys=[vkey], memory=memory).exit_code == 1


def test_a_receipt_is_memory(made: tuple[Path, str]) -> None:
    """A receipt kept elsewhere agrees, and one of another history does not."""
    path, vkey = made
    with Ledger(path) as log:
        receipt = log.append({"kept": 1})
        log.checkpoint()
    assert ("L3", receipt.index + 1) in grades(verify(path, keys=[vkey], receipt=receipt))
    other = Receipt(receipt.index, 0, bytes(104), receipt.salt)
    assert verify(path, keys=[vkey], receipt=other).exit_code == 1


def test_memory_or_a_receipt_beyond_the_signed_size_is_no_upgrade(made: tuple[Path, str], tmp_path: Path) -> None:
    """Agreement about entries that no checkpoint under a brought key covers gives no L3, not even for the prefix;
    once a checkpoint covers them it does. Disagreement is a problem all the same."""
    path, vkey = made
    with Ledger(path) as log:
        signed = log.size
        receipt = log.append({"later": 1})
    memory = tmp_path / "memory.json"
    memory.write_text(json.dumps(verify(path, keys=[vkey]).as_dict()))
    for options in ({"memory": memory}, {"receipt": receipt}, {"memory": memory, "receipt": receipt}):
        for keys_brought in ([vkey], []):
            report = verify(path, keys=keys_brought, **options)
            assert report.problems == []
            assert "L3" not in dict(grades(report))
            assert not verify(path, keys=keys_brought, require="L3", until="checkpoint", **options).ok
        assert dict(grades(verify(path, keys=[vkey], **options)))["L2"] == signed
    changed = json.loads(memory.read_text()) | {"root": "00" * 32}
    memory.write_text(json.dumps(changed))
    assert verify(path, keys=[vkey], memory=memory).exit_code == 1
    with Ledger(path) as log:
        log.checkpoint()
    assert ("L3", receipt.index + 1) in grades(verify(path, keys=[vkey], receipt=receipt))


def rewritten(path: Path) -> None:
    """A second history of the same identity: LEDGER, and so F, are kept, the events are others."""
    keep = {name: (path / name).read_bytes() for name in ("LEDGER", "index-key")}
    notes = {p.name: p.read_bytes() for p in (path / "checkpoints").iterdir()}
    first = (path / "sealed").glob("*.seg")
    assert list(first)
    from ledger.encoding import identity
    from ledger.storage import create
    from ledger.storage.paths import Paths

    made = identity.decode(keep["LEDGER"])
    shutil.rmtree(path)
    for folder in ("active", "sealed", "checkpoints", "quarantine"):
        (path / folder).mkdir(parents=True)
    (path / "lock").write_bytes(bytes(8192))
    (path / "HEAD").write_bytes(bytes(8192))
    for name, data in keep.items():
        (path / name).write_bytes(data)
    for name, data in notes.items():
        (path / "checkpoints" / name).write_bytes(data)
    paths = Paths(path)
    create.write_lock_digest(paths)
    create._write_first_file(paths.active(0), made)


def test_a_rewritten_history_contradicts_its_checkpoint(made: tuple[Path, str]) -> None:
    """Attack A2, A4: everything recomputed from entry 1 on, and too short for the signed size."""
    path, vkey = made
    size = verify(path, keys=[vkey]).size
    rewritten(path)
    moved = [p.rename(path / p.name) for p in (path / "checkpoints").iterdir()]
    with Ledger(path) as log:
        log.append_many([{"n": -n} for n in range(size + 10)])
        log.append({"more": 1})
    report = verify(path, keys=[vkey])
    assert report.grade_of(0) == "L1"  # self-consistent: hashes in the same files prove no more
    for file in moved:
        file.rename(path / "checkpoints" / file.name)
    report = verify(path, keys=[vkey])
    assert report.exit_code == 1
    assert "rewritten" in report.problems[0]


def test_progress_is_reported_and_can_cancel(made: tuple[Path, str]) -> None:
    """`progress` gets entries done of all; what it raises ends the verification."""
    path, vkey = made
    seen: list[tuple[int, int]] = []
    report = verify(path, keys=[vkey], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (report.size, report.size)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    progress: Callable[[int, int], None] = stop
    with pytest.raises(KeyboardInterrupt):
        verify(path, keys=[vkey], progress=progress)


def test_a_second_history_is_not_signed(made: tuple[Path, str]) -> None:
    """A ledger restored from an older copy, below what its key signed, gets no checkpoint."""
    from ledger import MismatchError

    path, _ = made
    rewritten(path)
    for file in (path / "checkpoints").iterdir():
        file.unlink()
    with Ledger(path) as log:
        log.append({"n": 0})
        with pytest.raises(MismatchError):
            log.checkpoint()
