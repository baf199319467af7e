"""Believable audit events, seeded, with an incident hidden in them.

A year-old software company: thirty organisations, some hundred people with habits and working hours. One night
somebody uses a stolen session: a login from a new country, an API key, a role change, a mass export, deletions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["INCIDENT_ACTOR", "INCIDENT_EVENTS", "generate"]

INCIDENT_ACTOR = "u-0117"
INCIDENT_EVENTS = 42
_START_S = 1_780_272_000

_ACTIONS = (
    ("trace.viewed", "read", "trace", 38),
    ("trace.created", "create", "trace", 24),
    ("evaluation.completed", "create", "evaluation", 9),
    ("user.login", "login", "session", 8),
    ("user.logout", "logout", "session", 5),
    ("project.updated", "update", "project", 5),
    ("trace.exported", "export", "trace", 3),
    ("user.login_failed", "login", "session", 3),
    ("api_key.created", "create", "api_key", 1),
    ("trace.deleted", "delete", "trace", 2),
    ("user.invited", "create", "user", 1),
    ("billing.plan_changed", "update", "organization", 1),
)
_CATEGORY = {"user": "AUTH", "api_key": "AUTH", "trace": "DATA", "evaluation": "EVAL", "project": "CONFIG"}
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Safari/605.1.15",
    "python-requests/2.32.3",
    "okhttp/4.12.0",
)


def _people(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "id": f"u-{n:04d}",
            "email": f"person{n}@org{n % 30}.example",
            "org": f"org-{n % 30:02d}",
            "ip": f"10.{n % 30}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
            "agent": rng.choice(_AGENTS),
            "weight": rng.paretovariate(1.2),
        }
        for n in range(400)
    ]


def _event(rng: random.Random, number: int, at_ms: int, who: dict[str, Any], what: tuple[str, str, str, int]) -> Any:
    kind, action, resource, _ = what
    failed = kind.endswith("failed") or rng.random() < 0.01
    return {
        "event_id": f"{rng.getrandbits(64):016x}",
        "timestamp_ms": at_ms,
        "event_type": kind,
        "event_category": _CATEGORY.get(kind.split(".")[0], "ADMIN"),
        "action": action,
        "outcome": "failure" if failed else "success",
        "severity": "WARNING" if failed else "INFO",
        "organization_id": who["org"],
        "actor": {"id": who["id"], "email": who["email"], "ip": who["ip"], "user_agent": who["agent"]},
        "resource": {"type": resource, "id": f"{resource}_{rng.getrandbits(40):010x}"},
        "request_id": f"req-{number:08d}-{rng.getrandbits(32):08x}",
        "details": {"duration_ms": int(rng.expovariate(0.02)), "bytes": int(rng.lognormvariate(8, 2))},
    }


def _incident(rng: random.Random, at_ms: int, who: dict[str, Any]) -> Iterator[dict[str, Any]]:
    thief = {**who, "ip": "203.0.113.66", "agent": "curl/8.5.0"}
    steps = [("user.login", "login", "session", 0), ("api_key.created", "create", "api_key", 0)]
    steps += [("user.role_changed", "update", "user", 0)]
    steps += [("trace.exported", "export", "trace", 0)] * 30 + [("trace.deleted", "delete", "trace", 0)] * 9
    for n, step in enumerate(steps):
        event = _event(rng, n, at_ms + n * 1500, thief, step)
        event["severity"] = "CRITICAL" if step[0] in ("user.role_changed", "trace.deleted") else "WARNING"
        event["outcome"] = "success"
        yield event


def generate(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """`count` events, the same for the same seed; the incident lies two thirds in. About 10 us an event."""
    rng = random.Random(seed)
    people = _people(rng)
    weights = [person["weight"] for person in people]
    odds = [action[3] for action in _ACTIONS]
    incident_at = count * 2 // 3
    at_ms, made = _START_S * 1000, 0
    while made < count:
        burst = min(1000, count - made)
        who = rng.choices(people, weights, k=burst)
        what = rng.choices(_ACTIONS, odds, k=burst)
        for person, action in zip(who, what, strict=True):
            if made == incident_at:
                for event in _incident(rng, at_ms, people[int(INCIDENT_ACTOR[2:])]):
                    if made < count:
                        yield event
                        made += 1
            if made >= count:
                return
            at_ms += int(rng.expovariate(1 / 140))
            yield _event(rng, made, at_ms, person, action)
            made += 1
