"""The maths of the Merkle tree (RFC 6962 §2.1), without storage: proofs, compact ranges, tiles."""

from __future__ import annotations

__all__: list[str] = []
