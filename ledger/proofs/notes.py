"""What the ledger's own notes say, as verification meets them: seals to compare, keys to print and not to trust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.encoding import event as events
from ledger.errors import LedgerError, VerificationError
from ledger.verify import parse_vkey

__all__ = ["Note", "named_keys", "parsed", "wrong_seals"]

Note = tuple[int, dict[str, Any]]  # index, and the map it holds


def parsed(notes: Iterable[tuple[int, bytes]]) -> tuple[list[Note], list[str]]:
    """Notes from their payloads, without LEDGER's, and what is wrong with payloads that are none."""
    found, problems = [], []
    for index, payload in notes:
        if index == 0:
            continue
        try:
            found.append((index, events.unpack(payload)))
        except (LedgerError, ValueError) as error:
            problems.append(f"entry {index} is no note of this ledger: {error}")
    return found, problems


def wrong_seals(notes: Iterable[Note], seals: Mapping[int, bytes]) -> list[str]:
    """The "sealed" notes must name the seal hashes of the segments that are there (by segment number)."""
    problems = []
    for index, note in notes:
        segno = note.get("segno")
        if note.get("note") != "sealed" or not isinstance(segno, int) or segno not in seals:
            continue
        if note.get("seal_hash") != seals[segno]:
            problems.append(f"segment {segno} is not the one that note {index} says was sealed")
    return problems


def named_keys(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """The keys that "key" notes name, once each, with the index of the first that does.

    Whoever writes the ledger can append such a note: it is a reason to ask for a key, never one to trust it."""
    named: dict[tuple[str, str], dict[str, Any]] = {}
    for index, note in notes:
        use, vkey = note.get("use"), note.get("vkey")
        if note.get("note") != "key" or not isinstance(use, str) or not isinstance(vkey, str):
            continue
        if use in ("checkpoints", "statements") and _is_vkey(vkey):
            named.setdefault((use, vkey), {"index": index, "use": use, "vkey": vkey})
    return list(named.values())


def _is_vkey(text: str) -> bool:
    """Whether it can be printed as a verifier key; it comes from whoever wrote the note."""
    try:
        return text.isprintable() and bool(parse_vkey(text))
    except VerificationError:
        return False
