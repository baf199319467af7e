"""Commands for signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, command, main

__all__ = ["key"]


@main.group()
def key() -> None:
    """Show or rotate the keys that sign for a ledger."""


@key.command()
@click.argument("path", type=LEDGER_PATH)
@command
def show(path: Path) -> Any:
    """Print this host's keys of the ledger, which verifiers must get from you and not from the ledger."""
    from ledger.engine import Ledger
    from ledger.proofs import keys
    from ledger.proofs.statements import key_name

    with Ledger(path, create=False, readonly=True) as log:
        checkpoints, statements = keys.load(log.origin, path), keys.load(key_name(log.origin), path)
        return {
            "origin": log.origin,
            "fingerprint": log.fingerprint.hex(),
            "checkpoints": checkpoints and checkpoints.vkey,
            "statements": statements and statements.vkey,
            "first": list(log.identity.keys),
            "folder": keys.folder(path),
        }


@key.command()
@click.argument("path", type=LEDGER_PATH)
@command
def rotate(path: Path) -> Any:
    """Replace the checkpoint key: a note names the new one, and both sign the next checkpoint."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        old = log.signer().vkey
        size = int(log.rotate_key().splitlines()[1])
        return {
            "old": old,
            "new": log.signer().vkey,
            "size": size,
            "next": "give verifiers the new key; the old one, kept as retired, verifies up to this size",
        }
