"""Every answer of a search is that of a plain filter over all events: whatever is sealed, indexed, damaged or new."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import Ledger
from ledger.query import ast
from ledger.query.normal import normalize
from ledger.query.wire import from_json, to_json
from tests import query_oracle
from tests import query_strategies as some

batches = st.lists(st.lists(some.events, min_size=1, max_size=6), min_size=1, max_size=8)


@contextmanager
def filled(data: st.DataObject) -> Iterator[tuple[Ledger, list[tuple[int, dict[str, Any] | None, int, bool]]]]:
    """A ledger of small segments, some sealed, some with an index taken away or damaged, and what it holds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("ledger.query.pieces._TAIL_ROWS", 4),
        Ledger(Path(folder) / "log") as log,
    ):
        for batch in data.draw(batches):
            log.append_many(batch)
            if data.draw(st.integers(0, 3)) == 0:
                log.seal()
        for path in sorted((log.path / "sealed").glob("*.idx")):
            fate = data.draw(st.integers(0, 5))
            if fate == 0:
                path.unlink()
            elif fate == 1:
                damaged = bytearray(path.read_bytes())
                damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
                path.chmod(0o600)
                path.write_bytes(damaged)
        held = []
        for item in log.entries():
            event = log[item.index] if item.index else None
            held.append((item.index, event, item.time_ns, item.kind == 1))
        yield log, held


def plainly(node: ast.Node, held: list[Any], *, notes: bool = False) -> list[int]:
    """The indexes that match, ascending."""
    return [
        index
        for index, event, time, note in held
        if (notes or not note) and query_oracle.matches(node, event, index=index, recorded_ns=time, note=note)
    ]


def without_kinds(node: ast.Node) -> bool:
    """A filter that speaks of kinds also searches notes, so the plain one would have to."""
    return "Kind(" not in repr(node)


@given(st.data(), st.lists(some.filters.filter(without_kinds), min_size=1, max_size=4))
@settings(max_examples=40)
def test_every_shape_of_answer(data: st.DataObject, nodes: list[ast.Node]) -> None:
    """Rows in every order, counts, pages, offsets, with and without notes."""
    with filled(data) as (log, held):
        search = log.search
        for node in nodes:
            expected = plainly(node, held)
            assert [item.index for item in search.items(node, order="index")] == expected
            assert [item.index for item in search.items(node)] == expected[::-1]
            assert search.count(node) == len(expected)
            assert search.exists(node) == bool(expected)
            assert [item.index for item in search.items(node, notes=True, order="index")] == plainly(
                node, held, notes=True
            )
            assert search.count(node, notes=True) == len(plainly(node, held, notes=True))
            limit, offset = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 12))
            assert [i.index for i in search.items(node, limit=limit, offset=offset)] == expected[::-1][offset:][:limit]
            times = {i: query_oracle.event_time(event, at) for i, event, at, _ in held}
            by_time = sorted(expected, key=lambda i: (times[i], i))
            assert [i.index for i in search.items(node, order="time", limit=limit or None)] == by_time[: limit or None]
            latest = [i.index for i in search.items(node, order="-time", limit=limit or None)]
            assert latest == by_time[::-1][: limit or None]
            for order, whole in (("index", expected), ("-index", expected[::-1])):
                got, cursor = [], None
                while True:
                    page = search.page(node, cursor=cursor, limit=3, order=order)
                    got += [item.index for item in page.items]
                    cursor = page.next_cursor
                    if cursor is None:
                        break
                assert got == whole


@given(st.data(), some.filters.filter(without_kinds), some.paths)
@settings(max_examples=40)
def test_facets_and_histograms(data: st.DataObject, node: ast.Node, path: tuple[str, ...]) -> None:
    """Counts of values, and of times in buckets."""
    with filled(data) as (log, held):
        expected = set(plainly(node, held))
        counts: Counter[Any] = Counter()
        times: Counter[int] = Counter()
        width = 86_400 * 10**9
        begin = 1_777_500_000 * 10**9
        for index, event, recorded, _ in held:
            if index in expected:
                found = {
                    (type(leaf).__name__, repr(leaf))
                    for value in query_oracle._at(event, path)
                    for leaf in query_oracle._leaves(value)
                }
                counts.update(found)
                times[(query_oracle.event_time(event, recorded) - begin) // width] += 1
        facet = log.search.facet(path, node, top=1000)
        assert Counter({(type(value).__name__, repr(value)): count for value, count in facet}) == counts
        assert [count for _, count in facet] == sorted((count for _, count in facet), reverse=True)
        buckets = log.search.histogram(node, begin_ns=begin, end_ns=begin + 5 * width, width_ns=width)
        assert [count for _, count in buckets] == [times[at] for at in range(5)]


@given(st.data(), some.filters)
@settings(max_examples=40)
def test_kinds(data: st.DataObject, node: ast.Node) -> None:
    """A filter that speaks of kinds is asked of notes too."""
    with filled(data) as (log, held):
        asked = ast.And((node, ast.Or((ast.Kind(True), ast.Kind(False)))))
        expected = plainly(asked, held, notes=True)
        assert [item.index for item in log.search.items(asked, order="index")] == expected
        assert log.search.count(asked) == len(expected)


@given(some.filters)
def test_json_and_normal_form_keep_the_meaning(node: ast.Node) -> None:
    """To JSON and back is the same filter; the normal form of a normal form is itself."""
    assert to_json(from_json(to_json(node))) == to_json(node)
    once = normalize(node)
    assert repr(normalize(once)) == repr(once)
