"""The msgpack array around a batch of packed events. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import UsageError

__all__ = ["array_length", "packed_array"]


def packed_array(payloads: Sequence[bytes]) -> bytes:
    """One array of packed events, its length in the shortest form."""
    count = len(payloads)
    if count < 16:
        front = bytes([0x90 + count])
    elif count < 65536:
        front = b"\xdc" + count.to_bytes(2)
    else:
        front = b"\xdd" + count.to_bytes(4)
    return front + b"".join(payloads)


def array_length(data: bytes) -> int:
    """The element count that an array declares; `UsageError` unless it is in the shortest form."""
    if data[:1] and 0x90 <= data[0] <= 0x9F:
        return data[0] - 0x90
    if data[:1] == b"\xdc" and len(data) >= 3 and int.from_bytes(data[1:3]) > 15:
        return int.from_bytes(data[1:3])
    if data[:1] == b"\xdd" and len(data) >= 5 and int.from_bytes(data[1:5]) > 65535:
        return int.from_bytes(data[1:5])
    raise UsageError("append_packed takes one msgpack array of events, its length in the shortest form")
