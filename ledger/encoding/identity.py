"""The file LEDGER: who this ledger is, written once. Pure. See docs/format.md §3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from ledger.errors import CorruptionError, UsageError
from ledger.types import Limits

__all__ = ["Identity", "as_map", "decode", "encode"]

_MAGIC = b"\x89LGL\r\n\x1a\n"
_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """What LEDGER says. `fingerprint` F pins id, origin and first keys; `ledger_id` is its first half."""

    origin: str
    nonce: bytes
    created_ns: int
    limits: Limits
    keys: tuple[str, ...]
    index_key_hash: bytes
    predecessor: dict[str, Any] | None
    data: bytes

    @property
    def fingerprint(self) -> bytes:
        return self.data[-32:]

    @property
    def ledger_id(self) -> bytes:
        return self.fingerprint[:16]


def encode(
    *,
    name: str,
    created_ns: int,
    limits: Limits,
    keys: Callable[[str], tuple[str, ...]],
    index_key: bytes,
    nonce: bytes,
    predecessor: dict[str, Any] | None = None,
) -> Identity:
    """A new identity. `name` becomes the origin `<name>/<16 hex of the nonce>`; no spaces, no "+"."""
    if not name or any(c.isspace() or c == "+" for c in name):
        raise UsageError(f"a ledger's name has no white space and no '+': {name!r}")
    origin = f"{name}/{nonce[:8].hex()}"
    body = {
        "format": [1, 0],
        "nonce": nonce,
        "origin": origin,
        "created": created_ns,
        "limits": {
            "segment_bytes_max": limits.segment_bytes_max,
            "segment_entries_max": limits.segment_entries_max,
            "segment_age_max_s": float(limits.segment_age_max_s),
            "event_bytes_max": limits.event_bytes_max,
        },
        "keys": list(keys(origin)),
        "index_key": hashlib.sha256(index_key).digest(),
        "predecessor": predecessor,
    }
    front = _MAGIC + msgpack.packb(body)
    data = front + hashlib.sha256(front).digest()
    if len(data) > _BYTES_MAX:
        raise UsageError(f"LEDGER would have {len(data)} bytes, at most {_BYTES_MAX}: use a shorter name, fewer keys")
    return decode(data)


def decode(data: bytes) -> Identity:
    """Read LEDGER. `CorruptionError` when a byte is wrong, `UsageError` for a newer format."""
    front, fingerprint = data[:-32], data[-32:]
    if len(data) > _BYTES_MAX or not front.startswith(_MAGIC):
        raise CorruptionError("LEDGER does not begin like a ledger's identity; nothing was changed", offset=0)
    if hashlib.sha256(front).digest() != fingerprint:
        raise CorruptionError("LEDGER does not match its own fingerprint; nothing was changed", offset=len(front))
    body = msgpack.unpackb(front[len(_MAGIC) :])
    if body["format"][0] != 1:
        raise UsageError(f"this ledger has format {body['format']}, this version reads format 1")
    limits = Limits(**body["limits"])
    return Identity(
        body["origin"],
        body["nonce"],
        body["created"],
        limits,
        tuple(body["keys"]),
        body["index_key"],
        body["predecessor"],
        data,
    )


def as_map(data: bytes) -> dict[str, Any]:
    """The map inside LEDGER, as entry 0 is shown; of checked bytes."""
    result: dict[str, Any] = msgpack.unpackb(data[len(_MAGIC) : -32])
    return result
