"""The files of a ledger: this folder alone writes them."""

from __future__ import annotations

__all__: list[str] = []
