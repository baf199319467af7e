"""The command `sealedger`: one file for each family of commands, `common` for what they share."""

from ledger.cli import care, key, proof, read, search, write
from ledger.cli.common import main

__all__ = ["care", "key", "main", "proof", "read", "search", "write"]
