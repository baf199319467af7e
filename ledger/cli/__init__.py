"""The command `sealedger`: one file for each family of commands, `common` for what they share."""

from ledger.cli import care, proof, read, write
from ledger.cli.common import main

__all__ = ["care", "main", "proof", "read", "write"]
