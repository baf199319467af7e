"""Commands that look after a ledger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, command, main, wants_json

__all__ = ["backup", "demo", "doctor", "seal"]


@main.command()
@click.argument("path", type=LEDGER_PATH)
@command
def seal(path: Path) -> Any:
    """Close the active segment and seal all closed ones."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        return {"sealed": log.seal(), "size": log.size}


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.argument("target", type=LEDGER_PATH)
@command
def backup(path: Path, target: Path) -> Any:
    """Copy the acknowledged state to TARGET while writers go on."""
    from ledger.storage.backup import backup as copy

    return {"entries": copy(path, target), "target": target}


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.option("--adopt", is_flag=True, help="This copy is the ledger now; the original is gone.")
@command
def doctor(path: Path, adopt: bool) -> Any:
    """Say what recovery would find, and what lies here that does not belong; changes nothing but with --adopt."""
    from ledger.storage.doctor import examine

    return examine(path, adopt=adopt)


@main.command()
@click.option("--count", default=300_000, show_default=True, help="Generated events.")
@click.option("--events", default=lambda: os.environ.get("EVENTS"), help="NDJSON file (also .gz, .zst) instead.")
@command
def demo(count: int, events: str | None) -> Any:
    """Run the main job end to end on generated events, and print what was measured."""
    from rich.console import Console

    from ledger.demo import run

    if not wants_json():
        run(count, events, Console())
        return None
    return run(count, events, Console(stderr=True))
