"""Commands that look after a ledger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, command, main, new_ledger, wants_json

__all__ = ["adopt", "backup", "demo", "doctor", "fork", "repair", "seal"]


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
@command
def doctor(path: Path) -> Any:
    """Say what recovery would find, and what lies here that does not belong; changes nothing."""
    from ledger.storage.doctor import examine

    found = examine(path)
    return found, 1 if found["problems"] or found["evidence"] else 0


@main.command()
@click.argument("path", type=LEDGER_PATH)
@command
def adopt(path: Path) -> Any:
    """Make a copied ledger the ledger itself. Only when the original is gone, or never written to again."""
    from ledger.succession import adopt as adopt_copy

    return {"adopted": path, "note": adopt_copy(path)}


@main.command()
@click.argument("source", type=LEDGER_PATH)
@click.argument("target", type=LEDGER_PATH)
@click.option("--name", help="First part of the new origin; default: that of SOURCE.")
@command
def fork(source: Path, target: Path, name: str | None) -> Any:
    """Begin a new ledger at TARGET that names SOURCE as its predecessor; SOURCE is verified and not changed."""
    from ledger.succession import fork as follow

    with follow(source, target, name=name) as log:
        return new_ledger(log)


@main.command()
@click.argument("source", type=LEDGER_PATH)
@click.argument("target", type=LEDGER_PATH)
@click.option("--key", "keys", multiple=True, help="A verifier key of SOURCE that you trust.")
@click.option("--name", help="First part of the new origin; default: that of SOURCE.")
@command
def repair(source: Path, target: Path, keys: tuple[str, ...], name: str | None) -> Any:
    """Write a new ledger at TARGET from what is readable of a damaged SOURCE, which is not changed. Exit 1: not all."""
    from ledger.repairing import repair as carry_over

    log, done = carry_over(source, target, keys=keys, name=name)
    with log:
        result = {**done.as_dict(), **new_ledger(log), "statements_key": log.statement_signer().vkey}
    return result, 0 if done.whole else 1


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
