"""Commands that search."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, command, main
from ledger.errors import UsageError

__all__ = ["facets", "histogram", "query", "reindex"]

_BAR_CHARACTERS = 40
_UNITS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.argument("filter", default="")
@click.option("--limit", default=50, show_default=True, help="Matches to print; 0: all.")
@click.option("--order", default="-index", type=click.Choice(["-index", "index", "-time", "time"]), show_default=True)
@click.option("--count", "only_count", is_flag=True, help="Print how many match, and nothing else.")
@click.option("--explain", is_flag=True, help="Count the matches and say how they were found.")
@click.option("--notes", is_flag=True, help="Also the ledger's own notes.")
@click.option("--csv", "columns", help="Print these fields as CSV: comma-separated paths.")
@command
def query(path: Path, filter: str, limit: int, order: str, notes: bool, columns: str | None, **ways: bool) -> Any:
    """Print the events that match FILTER as JSON lines, newest first: 'actor_id:u1 -action:read time:>=now-7d'."""
    from ledger.encoding import event, json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        search = log.search
        if ways["only_count"]:
            return {"count": search.count(filter, notes=notes)}
        if ways["explain"]:
            return asdict(search.explain(filter))
        items = search.items(filter, limit=limit or None, order=order, notes=notes)
        if columns is not None:
            from ledger.query.table import csv_lines

            for line in csv_lines(items, columns.split(",")):
                click.echo(line, nl=False)
            return None
        for item in items:
            click.echo(json_lines.dump(event.unpack(item.payload) if item.index else log[0]))
    return None


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.argument("field")
@click.argument("filter", default="")
@click.option("--top", default=10, show_default=True, help="Values to print.")
@command
def facets(path: Path, field: str, filter: str, top: int) -> Any:
    """Print the most frequent values of FIELD among the events that match FILTER."""
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        found = log.search.facet(field, filter, top=top)
        return _Bars((value if isinstance(value, str) else json.dumps(value, default=str), n) for value, n in found)


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.argument("filter", default="")
@click.option("--begin", default="now-24h", show_default=True, help="First moment, as in a query.")
@click.option("--end", default="now", show_default=True, help="The moment after the last.")
@click.option("--width", default="1h", show_default=True, help="Of a bucket: a number and s, m, h or d.")
@command
def histogram(path: Path, filter: str, begin: str, end: str, width: str) -> Any:
    """Draw how many events match FILTER over time."""
    from ledger.engine import Ledger
    from ledger.query.times import interval

    if not width[:-1].isdecimal() or width[-1:] not in _UNITS:
        raise UsageError("--width is a number and s, m, h or d: 15m")
    now = time.time_ns()
    try:
        first, last = interval(begin, now)[0], interval(end, now)[0]
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--begin or --end: {error}") from None
    with Ledger(path, create=False, readonly=True) as log:
        wide = int(width[:-1]) * _UNITS[width[-1]]
        found = log.search.histogram(filter, begin_ns=first, end_ns=last, width_ns=wide)
        return _Bars((_moment(at), count) for at, count in found)


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.option("--segment", type=int, help="Only this one; default: all sealed ones.")
@command
def reindex(path: Path, segment: int | None) -> Any:
    """Build the search indexes of sealed segments anew, from the entries."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        roots = log.reindex(segment)
        return {"indexed": len(roots), **{f"segment {number}": root.hex() for number, root in roots.items()}}


class _Bars(dict[str, int]):
    """Labels and counts, drawn as bars for people and a plain map in JSON."""

    def lines(self) -> Iterator[tuple[str, str]]:
        most = max(self.values(), default=0) or 1
        wide = max(map(len, self), default=0)
        for label, count in self.items():
            yield label.ljust(wide), f"{count:>10,}  " + "█" * round(_BAR_CHARACTERS * count / most)


def _moment(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 10**9))
