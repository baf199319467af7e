"""`sealedger demo`: the main job, end to end, on 300,000 events; every figure is of this run.

Create with a key → append durably → seal → sign a checkpoint → verify in full → prove one event to a process
that has only the proof, the payload and the pinned key → flip one bit in a copy and have it named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import ledger.verify as offline
from ledger.demo_events import INCIDENT_ACTOR, generate
from ledger.encoding import json_lines
from ledger.engine import Ledger
from ledger.errors import LedgerError

__all__ = ["run"]

_BATCH = 1000


def _source(count: int, file: str | None) -> Iterator[dict[str, Any]]:
    if file is None:
        yield from generate(seed=7, count=count)
        return
    with open(file, "rb") as stream:
        for line in json_lines.read(stream):
            yield line.event


def _bar(console: Console) -> Progress:
    columns = (TextColumn("  {task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise LedgerError(f"the demo found what must not be: {what}")


def run(count: int, file: str | None, console: Console) -> dict[str, Any]:
    """Run the demo; returns the measured figures. Raises when any step's outcome is not what it must be."""
    home = Path(tempfile.mkdtemp(prefix="sealedger-demo-"))
    before = os.environ.get("SEALEDGER_KEY_DIR")
    os.environ["SEALEDGER_KEY_DIR"] = str(home / "keys-elsewhere")
    try:
        return _run(console, home, count, file)
    finally:
        if before is None:
            del os.environ["SEALEDGER_KEY_DIR"]
        else:
            os.environ["SEALEDGER_KEY_DIR"] = before
        shutil.rmtree(home, ignore_errors=True)


def _run(console: Console, home: Path, count: int, file: str | None) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    path = home / "audit"
    console.print("[bold]1. A ledger, and a signing key outside of it[/]")
    log = Ledger(path, new_key=True)
    signer = log.signer()
    fingerprint = log.fingerprint
    console.print(f"  origin {log.origin}\n  pin    {signer.vkey}\n  F      {fingerprint.hex()}")

    console.print(f"[bold]2. Append, {_BATCH} events a commit, each commit durable[/]")
    target = _append(console, log, count, file, figures)

    console.print("[bold]3. Seal, and sign a checkpoint[/]")
    begun = time.monotonic()
    log.seal()
    figures["seal_seconds_last_segments"] = time.monotonic() - begun
    note = log.checkpoint()
    console.print("  " + note.replace("\n", "\n  ").rstrip())
    sealed = sum(item.stat().st_size for item in (path / "sealed").iterdir())
    figures["bytes_per_event_sealed"] = sealed / figures["events"]

    console.print("[bold]4. Verify every byte, with the pinned key[/]")
    _verify(console, log, signer.vkey, figures)

    console.print("[bold]5. Prove one event to a stranger[/]")
    _prove(console, home, log, target, note, signer.vkey, fingerprint)
    log.close()

    console.print("[bold]6. Flip one bit in a copy[/]")
    _flip(console, home, path, signer.vkey)
    _summary(console, figures)
    return figures


def _append(console: Console, log: Ledger, count: int, file: str | None, figures: dict[str, Any]) -> int:
    source = _source(count, file)
    raw, spent, events, target = 0, 0.0, 0, None
    with _bar(console) as bar:
        task = bar.add_task("append", total=None if file else count)
        while batch := list(islice(source, _BATCH)):
            raw += sum(len(json.dumps(event, separators=(",", ":"), default=str)) + 1 for event in batch)
            begun = time.perf_counter()
            receipts = log.append_many(batch)
            spent += time.perf_counter() - begun
            for receipt, event in zip(receipts, batch, strict=True):
                if target is None and event.get("event_type") == "user.role_changed":
                    target = receipt.index
            events += len(batch)
            bar.update(task, completed=events)
    _require(events > 0, "no events")
    _require(log.size >= events + 1, "fewer entries than events")
    figures.update(events=events, append_per_s=events / spent, json_bytes_per_event=raw / events)
    if target is None:
        target = log.size - 1
    else:
        console.print(f"  the incident: {INCIDENT_ACTOR} changes a role at index {target}")
    return target


def _verify(console: Console, log: Ledger, vkey: str, figures: dict[str, Any]) -> None:
    with _bar(console) as bar:
        task = bar.add_task("verify", total=log.size)
        report = log.verify(
            keys=[vkey], until="checkpoint", progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    for line in report.lines:
        console.print(f"  {line.grade}({line.size})  {line.evidence}")
        if line.not_proven:
            console.print(f"          not proven: {line.not_proven}", style="dim")
    _require(report.ok, "; ".join(report.problems) or "the verification did not reach L2")
    figures["verify_per_s"] = report.coverage["checked"] / report.seconds


def _prove(console: Console, home: Path, log: Ledger, index: int, note: str, vkey: str, fingerprint: bytes) -> None:
    stranger = home / "stranger"
    stranger.mkdir()
    (stranger / "event.tlog-proof").write_text(log.prove(index, at=note))
    (stranger / "payload").write_bytes(log.payload(index))
    shutil.copy(offline.__file__, stranger / "verify.py")
    command = [sys.executable, "-I", "-S", "verify.py", "event.tlog-proof", "--payload", "payload", "--key", vkey]
    command += ["--fingerprint", fingerprint.hex()]
    done = subprocess.run(command, cwd=stranger, capture_output=True, text=True, env={}, timeout=60, check=False)
    _require(done.returncode == 0, f"verify.py said no: {done.stderr}")
    console.print("  " + done.stdout.rstrip().replace("\n", "\n  "))
    payload = bytearray((stranger / "payload").read_bytes())
    payload[-1] ^= 1
    (stranger / "payload").write_bytes(payload)
    done = subprocess.run(command, cwd=stranger, capture_output=True, text=True, env={}, timeout=60, check=False)
    _require(done.returncode == 1, "verify.py accepted another payload")
    console.print(f"  and with one bit of the payload changed: {done.stderr.strip()}")


def _flip(console: Console, home: Path, path: Path, vkey: str) -> None:
    copy = home / "copy"
    shutil.copytree(path, copy)
    victim = sorted((copy / "sealed").glob("*.seg"))[-1]
    with victim.open("r+b") as file:
        at = victim.stat().st_size // 2
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
    from ledger.proofs.verification import verify

    report = verify(copy, keys=[vkey], until="checkpoint")
    _require(not report.ok and report.exit_code == 1 and bool(report.problems), "the flipped bit was not found")
    _require("block" in report.problems[0], f"the block was not named: {report.problems[0]}")
    console.print(f"  bit 4 of byte {at} of sealed/{victim.name}:")
    console.print(f"  [red]{report.problems[0]}[/]")


def _summary(console: Console, figures: dict[str, Any]) -> None:
    console.print("[bold]Measured in this run[/]")
    events = figures["events"]
    console.print(f"  {events:,} events appended durably at {figures['append_per_s']:,.0f} events/s")
    console.print(
        f"  {figures['json_bytes_per_event']:.0f} bytes an event as JSON, "
        f"{figures['bytes_per_event_sealed']:.1f} sealed, all in"
    )
    console.print(f"  verified in full at {figures['verify_per_s']:,.0f} entries/s")
    console.print("  proven: one event, offline, by its proof and the pinned key alone; one flipped bit, by name")
    console.print("  not proven: that the key's own host did not rewrite all of it (needs memory from outside)")
