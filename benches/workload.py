"""The events that every measurement uses: seeded, so that two runs and two stores see the same bytes.

`big`    12 top-level fields, three of them maps: an API call as an audit trail records it, ~377 B of msgpack
`small`  9 flat fields: a log-in or a change of one field, ~116 B of msgpack"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import ormsgpack

__all__ = ["KINDS", "Event", "events", "mean_bytes"]

Event = dict[str, Any]

_SERVICES = ("iam", "s3", "ec2", "kms", "sts", "lambda", "dynamodb", "logs")
_VERBS = ("Get", "List", "Describe", "Put", "Create", "Delete", "Update", "Assume")
_NOUNS = ("Object", "Role", "Key", "Instance", "Bucket", "Policy", "Table", "Secret")
_REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2", "ap-south-1")
_AGENTS = ("aws-cli/2.15.30 Python/3.11.8", "Boto3/1.34.69 md/Botocore", "console.example.com", "terraform/1.7.5")
_START_MS = 1_700_000_000_000


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _address(rng: random.Random) -> str:
    return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"


def _big(rng: random.Random, position: int) -> Event:
    service, account = rng.choice(_SERVICES), f"{rng.randrange(400):012d}"
    user = f"user-{rng.randrange(2000):04d}"
    return {
        "seq": position,
        "time_ms": _START_MS + position * 3 + rng.randrange(3),
        "id": _hex(rng, 28),
        "source": f"{service}.example.com",
        "action": rng.choice(_VERBS) + rng.choice(_NOUNS),
        "region": rng.choice(_REGIONS),
        "address": _address(rng),
        "agent": rng.choice(_AGENTS),
        "actor": {
            "type": "user",
            "name": user,
            "arn": f"arn:example:iam::{account}:user/{user}",
            "mfa": rng.random() < 0.7,
        },
        "request": {
            "name": f"res-{rng.randrange(9000)}",
            "bucket": f"b-{_hex(rng, 8)}",
            "bytes": rng.randrange(1 << 20),
        },
        "response": {
            "status": rng.choice((200, 200, 200, 403, 404)),
            "ms": round(rng.random() * 90, 3),
            "id": _hex(rng, 24),
        },
        "read_only": rng.random() < 0.6,
    }


def _small(rng: random.Random, position: int) -> Event:
    return {
        "seq": position,
        "time_ms": _START_MS + position * 3 + rng.randrange(3),
        "actor": f"user-{rng.randrange(2000):04d}",
        "action": rng.choice(("login", "logout", "read", "write", "delete")),
        "object": f"doc/{rng.randrange(90_000)}",
        "address": _address(rng),
        "ok": rng.random() < 0.95,
        "ms": rng.randrange(4000),
        "session": _hex(rng, 5),
    }


KINDS: dict[str, Callable[[random.Random, int], Event]] = {"big": _big, "small": _small}


def events(count: int, kind: str = "big", seed: int = 1) -> list[Event]:
    """`count` events of a kind: a prefix of the same list for every larger `count`."""
    rng, make = random.Random(f"{kind}-{seed}"), KINDS[kind]
    return [make(rng, position) for position in range(count)]


def mean_bytes(listed: list[Event]) -> float:
    """Mean size in bytes of the events as msgpack."""
    return sum(len(ormsgpack.packb(event)) for event in listed) / len(listed)
