"""Where a page ended, as an opaque text that only this ledger can have made.

base64url(msgpack([version, order, bound, size, now, SHA-256 of the filter]) ‖ HMAC-SHA256, 16 bytes). The size pins the
entries that the first page saw, `now` what the words now-7d meant to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

import msgpack

from ledger.errors import UsageError
from ledger.query.ast import Node
from ledger.query.normal import normalize
from ledger.query.wire import to_json

__all__ = ["Cursor", "cursor_key"]

_VERSION: Final = 1
_TAG_BYTES: Final = 16
_CHARACTERS_MAX: Final = 1024


def cursor_key(index_key: bytes) -> bytes:
    """The key of a ledger's cursors: clients do not have it, its hosts do."""
    return hashlib.sha256(b"sealedger/cursor/v1" + index_key).digest()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Go on below index `bound` (order -index) or from it on (index), over [0, size)."""

    order: str
    bound: int
    size: int
    now_ns: int

    def text(self, key: bytes, node: Node) -> str:
        """The opaque text, for this filter."""
        body = msgpack.packb([_VERSION, self.order, self.bound, self.size, self.now_ns, _hash(node)])
        return base64.urlsafe_b64encode(body + _tag(key, body)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, key: bytes) -> Cursor:
        """The cursor, if this ledger made it. Raises `UsageError`."""
        try:
            if len(text) > _CHARACTERS_MAX:
                raise ValueError("too long")
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            body, tag = data[:-_TAG_BYTES], data[-_TAG_BYTES:]
            if not hmac.compare_digest(tag, _tag(key, body)):
                raise ValueError("another tag")
            version, order, bound, size, now_ns, _ = msgpack.unpackb(body)
        except (ValueError, TypeError, msgpack.UnpackException):
            raise UsageError("this cursor was not made by this ledger; begin again without one") from None
        if version != _VERSION:
            raise UsageError("this cursor was made by another version; begin again without one")
        return cls(order, bound, size, now_ns)

    def check(self, text: str, key: bytes, node: Node, order: str) -> None:
        """Raise `UsageError` unless `text` is this cursor for that filter and order."""
        if order != self.order or not hmac.compare_digest(text, self.text(key, node)):
            raise UsageError("this cursor belongs to another filter or order; begin again without one")


def _hash(node: Node) -> bytes:
    return hashlib.sha256(to_json(normalize(node)).encode()).digest()


def _tag(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_TAG_BYTES]
