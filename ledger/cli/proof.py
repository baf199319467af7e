"""Commands that prove and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ledger.cli.common import LEDGER_PATH, NEGATIVE_INDEXES, Report, command, main, pinned_fingerprint

__all__ = ["checkpoint", "prove", "tiles", "verify"]


@main.command()
@click.argument("path", type=LEDGER_PATH)
@command
def checkpoint(path: Path) -> Any:
    """Sign size and root; print the checkpoint."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        return log.checkpoint().rstrip("\n")


@main.command(context_settings=NEGATIVE_INDEXES)
@click.argument("path", type=LEDGER_PATH)
@click.argument("index", type=int)
@click.option("--out", type=LEDGER_PATH, help="Folder for event.tlog-proof and payload; default: print the proof.")
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
@click.argument("path", type=LEDGER_PATH)
@click.option("--key", "keys", multiple=True, help="A verifier key that you trust.")
@click.option("--fingerprint", help="F that you kept, 64 hex digits.")
@click.option("--level", default="full", type=click.Choice(["full", "quick"]))
@click.option("--require", default="L2", type=click.Choice(["L0", "L1", "L2", "L3"]))
@click.option("--until", default="end", type=click.Choice(["end", "checkpoint"]))
@click.option("--index", is_flag=True, help="Also rebuild the search indexes and compare.")
@click.option("--memory", type=LEDGER_PATH, help="JSON of an earlier verify that you kept.")
@command
def verify(path: Path, keys: tuple[str, ...], fingerprint: str | None, **options: Any) -> Any:
    """Read and rebuild every byte; say what is proven up to where, and what is not."""
    from ledger.proofs.verification import verify as verify_ledger

    report = verify_ledger(path, keys=keys, fingerprint=pinned_fingerprint(fingerprint), **options)
    return Report(report.as_dict()), report.exit_code


@main.command()
@click.argument("path", type=LEDGER_PATH)
@click.argument("folder", type=LEDGER_PATH)
@command
def tiles(path: Path, folder: Path) -> Any:
    """Export the tree of a new checkpoint as C2SP tiles to FOLDER, for other people's tools."""
    from ledger.engine import Ledger

    with Ledger(path, create=False) as log:
        return log.export_tiles(folder)
