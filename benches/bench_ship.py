"""Verified ships against bare puts of the same files to the same server, and the way back.

A ship is a put, a read of the version's lock and checksum, and two synced records; both sides use four threads."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ledger import Ledger
from ledger.archive.policy import Policy
from ledger.archive.restore import restore
from ledger.archive.target import Lock
from ledger.shipping import shipper
from tests.archive.fakes import YEAR_S, Statements
from tests.archive.plain_s3 import PlainS3, seaweed

__all__: list[str] = []

SEGMENTS, SEGMENT_MIB = (100, 4) if os.environ.get("LEDGER_DEEP") else (12, 1)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("boto3", reason="pip install boto3")
    folder = tmp_path_factory.mktemp("weed") / "data"
    folder.mkdir()
    with seaweed(folder) as found:
        yield found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Ledger]:
    """Segments that do not compress."""
    with Ledger(tmp_path / "log", new_key=True, name="bench", segment_bytes_max=64 << 20) as made:
        for _ in range(SEGMENTS):
            made.append_many([{"event_type": "t", "data": os.urandom(1000)} for _ in range(1024 * SEGMENT_MIB)])
            made.seal()
        yield made


def test_bare_puts(benchmark: Any, endpoint: str, log: Ledger) -> None:
    """The floor: read, hash and put each file under a lock, four at a time."""
    files = [log.paths.sealed(segno) for segno in range(SEGMENTS)]

    def put_all(target: PlainS3) -> None:
        lock = Lock("COMPLIANCE", int(time.time()) + YEAR_S)

        def put(number: int) -> None:
            data = files[number].read_bytes()
            target.put(f"k{number}", data, hashlib.sha256(data).digest(), lock)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(SEGMENTS)))

    benchmark.pedantic(put_all, setup=lambda: ((PlainS3(endpoint, f"bare-{uuid4().hex}"),), {}), rounds=3)


def test_verified_ships(benchmark: Any, endpoint: str, log: Ledger) -> None:
    """The same files with receipts, identity, checkpoint, manifest and notes."""
    statements = Statements(log.origin)

    def fresh() -> tuple[tuple[PlainS3], dict[str, Any]]:
        log.paths.ship_log("bench").unlink(missing_ok=True)
        return (PlainS3(endpoint, f"ship-{uuid4().hex}"),), {}

    def ship_all(target: PlainS3) -> None:
        policy = Policy("COMPLIANCE", YEAR_S)
        made = shipper(log, target, "bench", policy, statements.sign, statements.open)
        report = made.run_once()
        made.close()
        assert report.ok, report

    benchmark.pedantic(ship_all, setup=fresh, rounds=3)


def test_restore(benchmark: Any, endpoint: str, log: Ledger, tmp_path: Path) -> None:
    """Fetched, rebuilt from payloads and compared with the checkpoints."""
    statements, target = Statements(log.origin), PlainS3(endpoint, f"back-{uuid4().hex}")
    made = shipper(log, target, "bench", Policy("COMPLIANCE", YEAR_S), statements.sign, statements.open)
    assert made.run_once().ok
    made.close()

    def back() -> None:
        to = tmp_path / uuid4().hex
        report = restore(target, to, log.identity.ledger_id, statements.open, fingerprint=log.fingerprint)
        assert report.ok
        assert report.root == log.root_at(report.size).hex()

    benchmark.pedantic(back, rounds=3)
