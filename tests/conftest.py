# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test: the shared data beside the checkout, real events, keys outside of any ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ledger import _native
from ledger.encoding import json_lines

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile(
    "ci", deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

_SHARED = Path(__file__).resolve().parents[2] / "shared"
_KERNEL = os.environ.get("LEDGER_KERNEL", "auto")
if _KERNEL != "python":  # the Python oracle is chosen by the tests that have one
    assert _native.lib.ledger_kernel_select(_KERNEL.encode()) == _native.lib.LEDGER_OK


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and vectors, which users do not have."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("the data beside the checkout (../shared) is not here")
    return _SHARED


@pytest.fixture(scope="session")
def real_events(shared: Path) -> Callable[[str], Iterator[dict[str, Any]]]:
    """Events of a file in the shared data, by its name without `.ndjson.zst`."""

    def load(name: str) -> Iterator[dict[str, Any]]:
        with (shared / "data" / f"{name}.ndjson.zst").open("rb") as stream:
            for line in json_lines.read(stream):
                yield line.event

    return load


@pytest.fixture(autouse=True)
def key_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's keys."""
    folder = tmp_path_factory.mktemp("keys")
    monkeypatch.setenv("SEALEDGER_KEY_DIR", str(folder))
    return folder
