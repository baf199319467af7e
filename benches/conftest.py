"""Fixtures of the benches: keys outside of the user's folder, and a sealed ledger to read from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benches.workload import Event, events
from ledger import Ledger

__all__: list[str] = []

COUNT = 20_000


@pytest.fixture(autouse=True)
def key_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No bench touches the user's keys."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("SEALEDGER_KEY_DIR", str(folder))
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made."""
    return tmp_path / "ledger"


@pytest.fixture(scope="session")
def listed() -> list[Event]:
    """The events that the benches store."""
    return events(COUNT)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory, listed: list[Event]) -> Iterator[Ledger]:
    """A ledger of `listed`, all of it sealed."""
    with Ledger(tmp_path_factory.mktemp("sealed") / "ledger") as ledger:
        ledger.append_many(listed)
        ledger.seal()
        yield ledger
