# SPDX-License-Identifier: Apache-2.0
"""Whoever holds a proof sees the leaf hash of the neighbour: without its salt no guess of its event is confirmed."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.encoding import event as events
from tests.plain import plain_entry, plain_leaf

_SALARIES = range(1000, 1200)
_SECRET = 1117


@dataclass
class Seen:
    """What a proof of entry 3 tells its holder: entry, salt, and the hashes of the path."""

    entry: bytes
    salt: bytes
    path: list[bytes]


@pytest.fixture
def log(tmp_path: Path) -> Ledger:
    """Entries 2 and 3 are siblings, appended at once, so that even the neighbour's time is known."""
    log = Ledger(tmp_path / "a", new_key=True)
    log.append({"user": "eve", "salary": 1})
    log.append_many([{"user": "bob", "salary": _SECRET}, {"user": "eve", "salary": 1}])
    return log


def seen(log: Ledger) -> Seen:
    """The proof of entry 3, read by its lines."""
    lines = log.prove(3).splitlines()
    extra = next(base64.b64decode(line.split()[1]) for line in lines if line.startswith("extra "))
    blank = lines.index("")
    at = next(i for i, line in enumerate(lines) if line.startswith("index "))
    path = [base64.b64decode(line) for line in lines[at + 1 : blank]]
    return Seen(extra[:104], extra[104:], path)


def guesses() -> list[bytes]:
    """Every payload that the neighbour may have; the right one is among them."""
    return [events.pack({"user": "bob", "salary": salary}) for salary in _SALARIES]


def neighbour(holder: Seen, payload: bytes, salt: bytes, link: bytes) -> bytes:
    """The leaf hash that entry 2 would have with this payload and salt: all else is in the holder's entry."""
    time = int.from_bytes(holder.entry[32:40], "little")
    return plain_leaf(plain_entry(holder.entry[8:24], 2, 0, 0, time, payload, salt, link))


def confirmed(holder: Seen, salts: list[bytes], link: bytes) -> list[bytes]:
    """The guesses whose leaf hash is the one in the proof."""
    target = holder.entry[72:104]
    return [p for p in guesses() for salt in salts if neighbour(holder, p, salt, link) == target]


def salts_at_hand(holder: Seen) -> list[bytes]:
    """What a holder could try for a salt: what the proof holds, and hashes of it."""
    parts = [holder.salt, holder.entry[40:72], holder.entry[72:104], holder.entry[8:24], *holder.path, bytes(16)]
    hashed = [hashlib.sha256(tag + part).digest() for part in parts for tag in (b"", b"\x02", b"\x03")]
    return [half for part in [*parts, *hashed] for half in (part[:16], part[16:]) if len(half) == 16]


def test_the_proof_shows_the_neighbours_leaf_hash(log: Ledger) -> None:
    """The attack has its target: the sibling's leaf hash is in the path, and is the link in the entry too."""
    with log:
        holder = seen(log)
        assert holder.entry == log.entry(3)
        assert holder.path[0] == holder.entry[72:104] == plain_leaf(log.entry(2))


def test_with_the_salt_the_guess_is_confirmed(log: Ledger) -> None:
    """The attack is sound: given the salt it finds the neighbour's event, and only that."""
    with log:
        link = plain_leaf(log.entry(1))
        found = confirmed(seen(log), [log.salt(2)], link)
        assert found == [events.pack({"user": "bob", "salary": _SECRET})] == [log.payload(2)]


def test_without_the_salt_no_guess_is_confirmed(log: Ledger) -> None:
    """A30: the right event is among the guesses and even the link is given, yet nothing in the proof confirms it."""
    with log:
        holder, link = seen(log), plain_leaf(log.entry(1))
        salts = salts_at_hand(holder)
        assert len(salts) > 30
        assert log.salt(2) not in salts
        assert confirmed(holder, salts, link) == []


def test_the_salt_of_the_other_half_is_not_in_the_proof(log: Ledger) -> None:
    """Entries 2 and 3 share one hash for their salts; a proof of one gives its half alone."""
    with log:
        text, halves = log.prove(3), (log.salt(2), log.salt(3))
        decoded = b"".join(
            base64.b64decode(line.split()[-1]) for line in text.splitlines() if line.startswith("extra ")
        )
        assert halves[0] not in decoded
        assert halves[1] in decoded
        assert halves[0] != halves[1]


def test_equal_events_have_different_commitments(log: Ledger) -> None:
    """Two entries of one event cannot be told to be equal by what is hashed."""
    with log:
        assert log.payload(1) == log.payload(3)
        assert log.entry(1)[40:72] != log.entry(3)[40:72]
