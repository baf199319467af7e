"""Commands that read events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, NEGATIVE_INDEXES, Raw, command, main
from ledger.errors import UsageError

__all__ = ["cat", "get", "stats", "tail"]


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.option("--begin", default=0, help="First index.")
@click.option("--notes", is_flag=True, help="Also the ledger's own notes.")
@command
def cat(path: Path, begin: int, notes: bool) -> Any:
    """Print events as JSON lines."""
    from ledger.encoding import event, json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        for item in log.entries(begin):
            if item.kind == 0 or (notes and item.index > 0):
                click.echo(json_lines.dump(event.unpack(item.payload)))


@main.command(context_settings=NEGATIVE_INDEXES)
@click.argument("path", type=LEDGER_PATH)
@click.argument("index", type=int)
@command
def get(path: Path, index: int) -> Any:
    """Print the event at INDEX as a JSON line."""
    from ledger.encoding import json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        try:
            return Raw(json_lines.dump(log[index]))
        except IndexError as error:
            raise UsageError(f"{error} entries in {path}") from None


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.option("--after", type=int, help="Index to start after; default: from now on.")
@click.option("--follow", is_flag=True, help="Wait for more.")
@click.option("--where", help="Only events that match this filter (docs/query.md).")
@command
def tail(path: Path, after: int | None, follow: bool, where: str | None) -> Any:
    """Print events as they are acknowledged, by any process."""
    from ledger.encoding import json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        for _, event in log.tail(after, follow=follow, where=where):
            click.echo(json_lines.dump(event))


@main.command()
@click.argument("path", type=LEDGER_PATH)
@command
def stats(path: Path) -> Any:
    """Print sizes, segments, and what is degraded."""
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        return {**log.stats(), "events": len(log), "origin": log.origin, "fingerprint": log.fingerprint.hex()}
