# SPDX-License-Identifier: Apache-2.0
"""The demo's events: repeatable, storable, with one incident in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.demo_events import INCIDENT_ACTOR, INCIDENT_EVENTS, generate
from ledger.encoding import event as events


@given(st.integers(0, 2**32), st.integers(0, 2500))
def test_a_seed_gives_one_history(seed: int, count: int) -> None:
    """The same seed and count give the same events, and as many as asked for."""
    made = list(generate(seed, count))
    assert len(made) == count
    assert made == list(generate(seed, count))


def test_another_seed_gives_other_events() -> None:
    """The seed matters."""
    assert list(generate(1, 50)) != list(generate(2, 50))


@pytest.mark.parametrize("seed", [0, 7])
def test_every_event_can_be_stored(seed: int) -> None:
    """Each packs to the canonical form and comes back equal, in time order."""
    made = list(generate(seed, 3000))
    assert [events.unpack(events.encode(event)) for event in made] == made
    incident = [event for event in made if event["actor"]["ip"] == "203.0.113.66"]
    ordinary = [event["timestamp_ms"] for event in made if event not in incident]
    assert ordinary == sorted(ordinary)


def test_the_incident_is_there_whole() -> None:
    """One stolen session logs in, makes a key, raises a role, exports and deletes, two thirds in."""
    made = list(generate(7, 3000))
    incident = [(n, event) for n, event in enumerate(made) if event["actor"]["ip"] == "203.0.113.66"]
    assert [n for n, _ in incident] == list(range(2000, 2000 + INCIDENT_EVENTS))
    assert {event["actor"]["id"] for _, event in incident} == {INCIDENT_ACTOR}
    kinds = [event["event_type"] for _, event in incident]
    assert kinds[:3] == ["user.login", "api_key.created", "user.role_changed"]
    assert kinds[3:] == ["trace.exported"] * 30 + ["trace.deleted"] * 9
