"""The languages of filters, cursors, scopes, and the commands that search: what they take and what they refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledger import Ledger
from ledger.cli import main
from ledger.errors import QuerySyntaxError, UsageError
from ledger.query import ast
from ledger.query.builder import F, TimeBuilder
from ledger.query.text import parse
from ledger.query.wire import from_json, to_json

NOW = 1_777_852_800 * 10**9

_pieces = st.sampled_from(
    [
        *'():"-!*?~<>=[]{}\\/., ',
        "AND",
        "OR",
        "NOT",
        "TO",
        "a:",
        "time:",
        "index:",
        "kind:",
        "now",
        "x",
        "5",
        "10.0.0.0/8",
        "\n",
    ]
)


@given(st.lists(_pieces | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_is_a_filter_or_a_syntax_error(text: str) -> None:
    """Nothing else is raised, and the position lies in the text."""
    node, error = None, None
    try:
        node = parse(text, now_ns=NOW)
    except QuerySyntaxError as raised:
        error = raised
    if node is not None:
        assert to_json(from_json(to_json(node))) == to_json(node)
    if error is not None:
        assert 0 <= error.position <= len(text)
        assert str(error).endswith("^")


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("action:", 7, "a value belongs here"),
        ("(a:1", 4, ") is missing"),
        ("a:1)", 3, "closes nothing"),
        ("a:1 AND", 7, "ends too early"),
        ("OR a:1", 0, "stands between"),
        ("a:[1 TO x]", 3, "one bound is a number"),
        ("a:[1 x]", 5, "TO is missing"),
        ("time:yesterday", 5, "no time"),
        ("index:-1", 6, "an index is a number"),
        ("kind:other", 5, "event, note"),
        ('a:~"(x"', 4, "no regular expression"),
        ("a:~x", 3, "in quotes"),
        ('"never closed', 0, "has no end"),
        ("10.0.*", 0, "needs a field"),
        ("a:10.0.0.0/40", 2, "no network"),
        ("((" * 40 + "a:1" + "))" * 40, 65, "64 levels"),
        ("a" * 9000, 8192, "at most 8192"),
        ("a..b:1", 0, "key of the path is empty"),
    ],
)
def test_a_syntax_error_names_its_place(text: str, position: int, says: str) -> None:
    """What, and where."""
    with pytest.raises(QuerySyntaxError, match=says.replace("(", r"\(").replace(")", r"\)")) as caught:
        parse(text, now_ns=NOW)
    assert caught.value.position == position


def test_the_builder_writes_what_the_text_says() -> None:
    """Both are the same filter."""
    built = F.action.in_("delete", "export") & ~F.actor_type.eq("service") & F["a.b"].c.startswith("x")
    assert built == ast.And(
        (
            ast.And(
                (
                    ast.Or((ast.Term(("action",), "delete"), ast.Term(("action",), "export"))),
                    ast.Not(ast.Term(("actor_type",), "service")),
                )
            ),
            ast.Prefix(("a.b", "c"), "x"),
        )
    )
    when = TimeBuilder("time")
    assert when.ge(datetime(2026, 5, 4, tzinfo=UTC)) == parse("time:>=2026-05-04", now_ns=NOW)
    assert when.lt("now/d", now_ns=NOW) == parse("time:<now/d", now_ns=NOW)
    with pytest.raises(TypeError, match="truth value"):
        bool(F.a.eq(1))
    with pytest.raises(TypeError, match="truth value"):
        bool(F.a)
    for wrong in (lambda: F.a.matches("("), lambda: F.a.in_network("x"), lambda: F.eq(1), lambda: F.a.words("--")):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UsageError, match="offset"):
        when.ge(datetime(2026, 5, 4))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", '"v": 1'),
        ('{"v":2,"filter":["everything"]}', '"v": 1'),
        ('{"v":1,"filter":["nope"]}', "is no filter"),
        ('{"v":1,"filter":["and",["term",["a"]]]}', r"filter\[1\]: term takes path, value"),
        ('{"v":1,"filter":["term","a",1]}', "list of strings"),
        ('{"v":1,"filter":["exists",null]}', "list of strings"),
        ('{"v":1,"filter":["term",["a"],[1]]}', "a value is"),
        ('{"v":1,"filter":["span","index",true,null]}', "integer or null"),
        ('{"v":1,"filter":["range",["a"],true,null,false,false]}', "bound"),
        ('{"v":1,"filter":["range",["a"],null,null,false,false]}', "bound"),
        ("{", "JSON"),
    ],
)
def test_json_that_is_no_filter(text: str, says: str) -> None:
    """Refused with its place."""
    with pytest.raises(UsageError, match=says):
        from_json(text)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two tenants' events, sealed and not."""
    with Ledger(tmp_path / "log") as made:
        made.append_many([{"tenant": f"t{i % 2}", "n": i, "who": {"id": f"u{i % 7}"}} for i in range(200)])
        made.seal()
        made.append_many([{"tenant": f"t{i % 2}", "n": i, "note": "=1+1"} for i in range(200, 260)])
    return tmp_path / "log"


def test_a_scope_cannot_be_left(log: Path) -> None:
    """Whatever the filter says, by text, value or keyword."""
    with Ledger(log, readonly=True) as opened:
        mine = opened.search.scope(tenant="t1")
        for filter in (
            "tenant:t0 OR tenant:t1",
            "NOT tenant:t1 OR n:*",
            ast.Everything(),
            "",
            ast.Or((ast.Kind(True), ast.Kind(False))),
        ):
            assert {event.get("tenant") for event in mine.events(filter)} == {"t1"}
        assert mine.count() == 130
        assert mine.scope(who__id="u3").count() == len([i for i in range(1, 200, 2) if i % 7 == 3])
        assert mine.count(tenant="t0") == 0


def test_cursors_are_this_ledgers_for_this_filter(log: Path, tmp_path: Path) -> None:
    """Forged, foreign, for another filter or order: refused. What is appended meanwhile is not seen."""
    with Ledger(log) as opened, Ledger(tmp_path / "other") as other:
        search = opened.search
        first = search.page("tenant:t1", limit=100)
        assert first.complete
        assert first.next_cursor is not None
        opened.append({"tenant": "t1", "n": 999})
        second = search.page("tenant:t1", limit=100, cursor=first.next_cursor)
        assert [event["n"] for event in first.events + second.events] == list(range(259, 0, -2))
        assert second.next_cursor is None
        for wrong in (first.next_cursor[:-2] + "AA", "", "x" * 2000, "é", first.next_cursor[2:]):
            with pytest.raises(UsageError, match="not made by this ledger"):
                search.page("tenant:t1", cursor=wrong)
        with pytest.raises(UsageError, match="another filter"):
            search.page("tenant:t0", cursor=first.next_cursor)
        with pytest.raises(UsageError, match="another filter"):
            search.page("tenant:t1", cursor=first.next_cursor, order="index")
        with pytest.raises(UsageError, match="not made by this ledger"):
            other.search.page("tenant:t1", cursor=first.next_cursor)


def test_a_deadline_is_told(log: Path) -> None:
    """No time at all: nothing is claimed complete, and the cursors lead to the end all the same."""
    with Ledger(log, readonly=True) as opened:
        found, cursor, pages = [], None, 0
        while pages < 50:
            page = opened.search.page("tenant:*1", cursor=cursor, limit=1000, deadline_s=0)
            found += [event["n"] for event in page.events]
            pages += 1
            cursor = page.next_cursor
            assert page.complete == (cursor is None)
            if cursor is None:
                break
        assert found == list(range(259, 0, -2))
        assert pages > 2


def test_keywords_that_say_nothing_are_refused(log: Path) -> None:
    """With the field's name."""
    with Ledger(log, readonly=True) as opened:
        for wrong in ({"tenant": None}, {"start_time": 5}, {"start_time": "soon"}, {"a__": 1}, {"n": [[1]]}):
            with pytest.raises(UsageError, match=next(iter(wrong))):
                opened.search.count(**wrong)
        with pytest.raises(UsageError, match="order"):
            list(opened.query(order="sideways"))


def test_the_commands(log: Path) -> None:
    """query, its count, CSV and explanation; facets, histogram, reindex, tail --where; and a syntax error is usage."""

    def run(*args: object, code: int = 0) -> str:
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        return result.output

    assert [json.loads(line)["n"] for line in run("query", log, "tenant:t1", "--limit", 3).splitlines()] == [
        259,
        257,
        255,
    ]
    assert json.loads(run("query", log, "tenant:t1", "--count", "--json")) == {"count": 130}
    table = run("query", log, "n:>=258", "--csv", "n,note,who.id")
    assert table.splitlines() == ["n,note,who.id", "259,'=1+1,", "258,'=1+1,"]
    assert json.loads(run("query", log, "n:5", "--explain", "--json"))["matches"] == 1
    assert json.loads(run("facets", log, "tenant", "--json")) == {"t0": 130, "t1": 130}
    assert sum(json.loads(run("histogram", log, "--begin", "now-1h", "--end", "now+1h", "--json")).values()) == 260
    (log / "sealed" / f"{0:020}.idx").unlink()
    assert "no such" in run("query", log, "n:5", "--explain").lower()
    assert json.loads(run("reindex", log, "--json"))["indexed"] == 1
    assert json.loads(run("query", log, "n:5", "--explain", "--json"))["degraded"] == []
    assert len(run("tail", log, "--after", 0, "--where", "n:>=250").splitlines()) == 10
    assert "position 2" in run("query", log, "a:", code=2)
    assert "not sealed" in run("reindex", log, "--segment", 9, code=2)
