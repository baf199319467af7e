"""Commands that write events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, command, main, new_ledger
from ledger.errors import UsageError

__all__ = ["append", "import_", "init"]


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.option("--name", help="First part of the ledger's origin; default: the folder's name.")
@command
def init(path: Path, name: str | None) -> Any:
    """Create a ledger and its signing key; print what to keep elsewhere."""
    from ledger.engine import Ledger

    with Ledger(path, name=name, new_key=True) as log:
        return new_ledger(log)


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.argument("event")
@command
def append(path: Path, event: str) -> Any:
    """Append one EVENT (a JSON object), durably; print its receipt."""
    from ledger.encoding import json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        try:
            parsed = json_lines.parse(event.encode())
        except ValueError as error:
            raise UsageError(f"EVENT is not a JSON object: {error}; nothing was stored") from None
        receipt = log.append(parsed)
        return {
            "index": receipt.index,
            "time_ns": receipt.time_ns,
            "leaf_hash": receipt.leaf_hash.hex(),
            "entry": receipt.entry.hex(),
            "salt": receipt.salt.hex(),
        }


@main.command("import")
@click.argument("path", type=LEDGER_PATH)
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--batch", default=1000, show_default=True, help="Events a commit.")
@command
def import_(path: Path, source: Path, batch: int) -> Any:
    """Append every line of an NDJSON file (.gz, .zst, or - for standard input). A file goes on where it stopped."""
    from ledger.importing import import_lines

    return import_lines(path, source, batch)
