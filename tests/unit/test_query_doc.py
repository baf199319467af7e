"""docs/query.md tells the truth: every example in it is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.query.text import parse

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "query.md").read_text()
EVENTS = [json.loads(line) for line in re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()]  # type: ignore[index]
EXAMPLES = re.findall(r"^\| `(.*?)` \| .*? \| ([\d ]+) \|$", PAGE, re.MULTILINE)
NOW = 1_777_852_800 * 10**9  # 2026-05-04T00:00Z


def test_the_page_has_its_examples() -> None:
    """None is missed by the pattern."""
    rows = PAGE.split("| filter | means | matches |")[1].split("```")[0].count("\n| `")
    assert len(EXAMPLES) == rows >= 25


@pytest.fixture(scope="module", params=["sealed", "unsealed"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """The events of the page."""
    made = Ledger(tmp_path_factory.mktemp("doc") / "log")
    made.append_many(EVENTS)
    if request.param == "sealed":
        made.seal()
    yield made
    made.close()


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_example(log: Ledger, text: str, expected: str) -> None:
    """The filter finds the events that the page says."""
    found = [item.index - 1 for item in log.search.items(parse(text, now_ns=NOW), order="index")]
    assert found == [int(number) for number in expected.split()]
