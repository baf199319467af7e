"""Matches as CSV for people: chosen fields of each event, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ledger.encoding import json_lines
from ledger.query.search import decoded
from ledger.query.values import path_of
from ledger.storage.store import Item

__all__ = ["csv_lines"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(items: Iterable[Item], columns: Sequence[str]) -> Iterator[str]:
    """A header and a line each, RFC 4180: `index`, `recorded` (ns) and dotted paths; all but a single
    text as JSON. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    paths = {column: path_of(column) for column in columns}
    writer.writerow(columns)
    for item in items:
        yield _taken(out)
        event = decoded(item)
        row = []
        for column in columns:
            if column == "index":
                row.append(str(item.index))
            elif column == "recorded":
                row.append(str(item.time_ns))
            else:
                row.append(_cell(list(_values_at(event, paths[column]))))
        writer.writerow(row)
    yield _taken(out)


def _taken(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text


def _values_at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _values_at(element, path)
    elif isinstance(value, dict) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:])


def _cell(found: list[Any]) -> str:
    if not found:
        return ""
    value = found[0] if len(found) == 1 else found
    if not isinstance(value, str):
        return json_lines.dump({"": value})[4:-1].strip()
    return "'" + value if value.lstrip(" ").startswith(_FORMULA) else value
