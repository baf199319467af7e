"""sealedger: an embedded append-only ledger for tamper-evident audit trails.

with Ledger("./audit") as log:
    receipt = log.append({"event_type": "user.login", "actor_id": "u1"})   # durable on return
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.engine import Ledger
from ledger.errors import (
    ClosedError,
    CopiedLedgerError,
    CorruptionError,
    DiskFullError,
    DurabilityUnknownError,
    EnvironmentFailure,
    EventError,
    ForkedHandleError,
    LedgerError,
    LockedError,
    MismatchError,
    NoKeyError,
    PoisonedError,
    UsageError,
    VerificationError,
)
from ledger.types import Receipt, Receipts

if TYPE_CHECKING:
    from ledger.aio import AsyncLedger

__all__ = [
    "AsyncLedger",
    "ClosedError",
    "CopiedLedgerError",
    "CorruptionError",
    "DiskFullError",
    "DurabilityUnknownError",
    "EnvironmentFailure",
    "EventError",
    "ForkedHandleError",
    "Ledger",
    "LedgerError",
    "LockedError",
    "MismatchError",
    "NoKeyError",
    "PoisonedError",
    "Receipt",
    "Receipts",
    "UsageError",
    "VerificationError",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncLedger":  # asyncio is loaded by who uses it
        from ledger.aio import AsyncLedger

        return AsyncLedger
    raise AttributeError(f"module 'ledger' has no attribute {name!r}")
