"""The command `sealedger`. Exit codes: 0 good · 1 tampered or corrupt · 2 usage · 3 environment · 4 not proven."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ledger.errors import (
    CorruptionError,
    LedgerError,
    MismatchError,
    UsageError,
    VerificationError,
)

__all__ = ["main"]

_DATA = click.Path(path_type=Path)


def _exit_code(error: Exception) -> int:
    if isinstance(error, CorruptionError | MismatchError):
        return 1
    if isinstance(error, UsageError):
        return 2
    return 4 if isinstance(error, VerificationError) else 3


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """Print what the function returns, for people or as JSON; turn our errors into one line and a code."""

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
        if as_json:
            click.echo(json.dumps(result, default=_plain))
        elif isinstance(result, dict):
            for key, value in result.lines() if isinstance(result, _Report) else result.items():
                click.echo(f"{key:<14} {value}")
        elif result is not None:
            click.echo(result)
        sys.exit(code)

    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(wrapped)


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


@click.group()
@click.version_option(package_name="sealedger")
def main() -> None:
    """An append-only ledger for audit trails that shows every change made to it."""


@main.command()
@click.option("--count", default=300_000, show_default=True, help="Generated events.")
@click.option("--events", default=lambda: os.environ.get("EVENTS"), help="NDJSON file (also .gz, .zst) instead.")
@command
def demo(count: int, events: str | None) -> Any:
    """Run the main job end to end on generated events, and print what was measured."""
    from ledger.demo import run

    run(count, events)


@main.command()
@click.argument("path", type=_DATA)
@click.option("--name", help="First part of the ledger's origin; default: the folder's name.")
@command
def init(path: Path, name: str | None) -> Any:
    """Create a ledger and its signing key; print what to keep elsewhere."""
    from ledger.engine import Ledger
    from ledger.proofs import keys

    with Ledger(path, name=name, new_key=True) as log:
        signer = keys.load(log.origin, path) or keys.create(log.origin, path)
        return {
            "origin": log.origin,
            "fingerprint": log.fingerprint.hex(),
            "key": signer.vkey,
            "next": "keep fingerprint and key elsewhere: verify needs them",
        }


@main.command()
@click.argument("path", type=_DATA)
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
@click.argument("path", type=_DATA)
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--batch", default=1000, show_default=True, help="Events a commit.")
@command
def import_(path: Path, source: Path, batch: int) -> Any:
    """Append every line of an NDJSON file (.gz, .zst, or - for standard input). A file goes on where it stopped."""
    from ledger.importing import import_lines

    return import_lines(path, source, batch)


@main.command()
@click.argument("path", type=_DATA)
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


@main.command()
@click.argument("path", type=_DATA)
@click.argument("index", type=int)
@command
def get(path: Path, index: int) -> Any:
    """Print the event at INDEX as a JSON line."""
    from ledger.encoding import json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        try:
            return json_lines.dump(log[index])
        except IndexError as error:
            raise UsageError(f"{error} entries in {path}") from None


@main.command()
@click.argument("path", type=_DATA)
@click.option("--after", type=int, help="Index to start after; default: from now on.")
@click.option("--follow", is_flag=True, help="Wait for more.")
@command
def tail(path: Path, after: int | None, follow: bool) -> Any:
    """Print events as they are acknowledged, by any process."""
    from ledger.encoding import json_lines
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        for _, event in log.tail(after, follow=follow):
            click.echo(json_lines.dump(event))


@main.command()
@click.argument("path", type=_DATA)
@command
def seal(path: Path) -> Any:
    """Close the active segment and seal all closed ones."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        return {"sealed": log.seal(), "size": log.size}


@main.command()
@click.argument("path", type=_DATA)
@command
def checkpoint(path: Path) -> Any:
    """Sign size and root; print the checkpoint."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        return log.checkpoint().rstrip("\n")


@main.command()
@click.argument("path", type=_DATA)
@click.argument("index", type=int)
@click.option("--out", type=_DATA, help="Folder for event.tlog-proof and payload; default: print the proof.")
@command
def prove(path: Path, index: int, out: Path | None) -> Any:
    """Prove the entry at INDEX against a checkpoint."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        proof = log.prove(index)
        if out is None:
            return proof.rstrip("\n")
        out.mkdir(parents=True, exist_ok=True)
        (out / "event.tlog-proof").write_text(proof)
        (out / "payload").write_bytes(log.payload(index))
        return {"proof": out / "event.tlog-proof", "payload": out / "payload"}


@main.command()
@click.argument("path", type=_DATA)
@click.option("--key", "keys", multiple=True, help="A verifier key that you trust.")
@click.option("--fingerprint", help="F that you kept, 64 hex digits.")
@click.option("--level", default="full", type=click.Choice(["full", "quick"]))
@click.option("--require", default="L2", type=click.Choice(["L0", "L1", "L2", "L3"]))
@click.option("--until", default="end", type=click.Choice(["end", "checkpoint"]))
@click.option("--memory", type=_DATA, help="JSON of an earlier verify that you kept.")
@command
def verify(path: Path, keys: tuple[str, ...], fingerprint: str | None, **options: Any) -> Any:
    """Read and rebuild every byte; say what is proven up to where, and what is not."""
    from ledger.proofs.verification import verify as verify_ledger

    pinned = None
    if fingerprint is not None:
        try:
            pinned = bytes.fromhex(fingerprint)
        except ValueError:
            raise UsageError("--fingerprint is 64 hex digits") from None
    report = verify_ledger(path, keys=keys, fingerprint=pinned, **options)
    return _Report(report.as_dict()), report.exit_code


class _Report(dict[str, Any]):
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
        checked, size = self["coverage"].get("checked", 0), self["size"]
        yield "coverage", f"{checked} of {size} entries in {self['seconds']:.2f} s"
        yield "answer", "ok" if self["ok"] else "NOT ok" if self["problems"] else f"{self['require']} is not reached"


@main.command()
@click.argument("path", type=_DATA)
@click.argument("folder", type=_DATA)
@command
def tiles(path: Path, folder: Path) -> Any:
    """Export the tree of a new checkpoint as C2SP tiles to FOLDER, for other people's tools."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        return log.export_tiles(folder)


@main.command()
@click.argument("path", type=_DATA)
@click.argument("target", type=_DATA)
@command
def backup(path: Path, target: Path) -> Any:
    """Copy the acknowledged state to TARGET while writers go on."""
    from ledger.storage.backup import backup as copy

    return {"entries": copy(path, target), "target": target}


@main.command()
@click.argument("path", type=_DATA)
@command
def stats(path: Path) -> Any:
    """Print sizes, segments, and what is degraded."""
    from ledger.engine import Ledger

    with Ledger(path, create=False, readonly=True) as log:
        return {**log.stats(), "events": len(log), "origin": log.origin, "fingerprint": log.fingerprint.hex()}


@main.command()
@click.argument("path", type=_DATA)
@click.option("--adopt", is_flag=True, help="This copy is the ledger now; the original is gone.")
@command
def doctor(path: Path, adopt: bool) -> Any:
    """Say what recovery would find, and what lies here that does not belong; changes nothing but with --adopt."""
    from ledger.storage.doctor import examine

    return examine(path, adopt=adopt)


if __name__ == "__main__":
    main()
