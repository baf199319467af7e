"""Values to bytes and back: events, blocks, sealed files. Pure: nothing here touches a disk."""

from __future__ import annotations

__all__: list[str] = []
