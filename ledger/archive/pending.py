"""The signed manifest that is on its way: `ship/<target>.pending`, replaced as a whole."""

from __future__ import annotations

import contextlib
import os

from ledger.storage.files import publish_file, read_file, sync_folder
from ledger.storage.paths import Paths

__all__ = ["read_pending", "write_pending"]


def read_pending(paths: Paths, target: str) -> bytes | None:
    """The bytes, or None when the file is gone."""
    try:
        return read_file(paths.ship_pending(target))
    except FileNotFoundError:
        return None


def write_pending(paths: Paths, target: str, data: bytes) -> None:
    """Durable when it returns. A crash leaves the old bytes, none, or the new ones; an INTENT with another
    SHA-256 shows which."""
    path = paths.ship_pending(target)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(path.parent)
    publish_file(path, data)
