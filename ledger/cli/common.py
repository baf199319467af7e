"""What every command shares: its group, its output for people or as JSON, and its exit codes.

Exit codes: 0 good · 1 tampered or corrupt · 2 usage · 3 environment · 4 not proven."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import CorruptionError, LedgerError, MismatchError, UsageError, VerificationError

if TYPE_CHECKING:
    from ledger.engine import Ledger

__all__ = [
    "LEDGER_PATH",
    "NEGATIVE_INDEXES",
    "Raw",
    "Report",
    "command",
    "main",
    "new_ledger",
    "pinned_fingerprint",
    "wants_json",
]

LEDGER_PATH = click.Path(path_type=Path)


# For commands that take an index: -1 is one, not an option.
NEGATIVE_INDEXES = {"ignore_unknown_options": True}


class Raw(str):
    """Text that is JSON already: printed as it is, with --json too."""

    __slots__ = ()


class Report(dict[str, Any]):
    """A report that prints as lines."""

    def lines(self) -> Iterator[tuple[str, str]]:
        for line in self["lines"]:
            yield f"{line['grade']}({line['size']})", line["evidence"]
            if line["not_proven"]:
                yield "", f"not proven: {line['not_proven']}"
        for problem in self["problems"]:
            yield "PROBLEM", problem
        for text in self["degraded"]:
            yield "degraded", text
        for key in self["named_keys"]:
            yield "named", f"note {key['index']}, for {key['use']}: {key['vkey']} (no evidence: ask who owns it)"
        checked, size = self["coverage"].get("checked", 0), self["size"]
        yield "coverage", f"{checked} of {size} entries in {self['seconds']:.2f} s"
        yield "answer", "ok" if self["ok"] else "NOT ok" if self["problems"] else f"{self['require']} is not reached"


def _exit_code(error: Exception) -> int:
    if isinstance(error, CorruptionError | MismatchError):
        return 1
    if isinstance(error, UsageError):
        return 2
    return 4 if isinstance(error, VerificationError) else 3


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """Print what the function returns, for people or as JSON; turn our errors into one line and a code.

    It may return a map, text, `Raw` JSON, nothing when it printed for itself, or one of these and an exit code."""

    @wraps(function)
    def wrapped(*args: Any, as_json: bool, **options: Any) -> None:
        try:
            result = function(*args, **options)
        except (LedgerError, VerificationError, OSError) as error:
            if as_json:
                click.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
            else:
                click.echo(f"sealedger: {error}", err=True)
            sys.exit(_exit_code(error))
        code = 0
        if isinstance(result, tuple):
            result, code = result
        if result is not None:
            _print(result, as_json)
        sys.exit(code)

    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(wrapped)


def _print(result: Any, as_json: bool) -> None:
    if isinstance(result, Raw):
        click.echo(result)
    elif as_json:
        click.echo(json.dumps(result, default=_plain))
    elif isinstance(result, dict):
        for key, value in result.lines() if hasattr(result, "lines") else result.items():
            click.echo(f"{key:<14} {_plain(value) if isinstance(value, bytes) else value}")
    else:
        click.echo(result)


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def wants_json() -> bool:
    """Whether the command that runs was given --json, for one that prints while it works."""
    return bool(click.get_current_context().params["as_json"])


def new_ledger(log: Ledger) -> dict[str, Any]:
    """What to keep of a ledger that was just made."""
    from ledger.proofs import keys

    signer = keys.load(log.origin, log.path) or keys.create(log.origin, log.path)
    return {
        "origin": log.origin,
        "fingerprint": log.fingerprint.hex(),
        "key": signer.vkey,
        "next": "keep fingerprint and key elsewhere: verify needs them",
    }


def pinned_fingerprint(text: str | None) -> bytes | None:
    """F from the command line. Raises `UsageError` unless it is 64 hex digits."""
    if text is None:
        return None
    try:
        pinned = bytes.fromhex(text)
    except ValueError:
        pinned = b""
    if len(pinned) != 32:
        raise UsageError("--fingerprint is 64 hex digits")
    return pinned


@click.group()
@click.version_option(package_name="sealedger")
def main() -> None:
    """An append-only ledger for audit trails that shows every change made to it."""
