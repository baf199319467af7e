"""Filters on packed events in C mean what the plain evaluation of decoded ones means."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger._native import ROW, ffi, lib
from ledger.encoding import event as events
from ledger.errors import UsageError
from ledger.query import ast
from ledger.query.normal import normalize
from ledger.query.program import program_of
from tests import query_oracle
from tests import query_strategies as some

RECORDED = 1_777_600_000 * 10**9


def rows_of(payloads: list[bytes], kinds: list[int]) -> tuple[bytes, bytes]:
    """The payloads end to end, and a ledger_row each."""
    table, at = b"", 0
    for payload, kind in zip(payloads, kinds, strict=True):
        table += ROW.pack(at, RECORDED, len(payload), kind, 0)
        at += len(payload)
    return b"".join(payloads), table


def time_in_c(payload: bytes, recorded: int) -> int:
    """The event time by C, or the other one."""
    time = ffi.new("int64_t *")
    return int(time[0]) if lib.ledger_event_time(payload, len(payload), time) else recorded


def evaluate(
    program: bytes,
    payloads: list[bytes],
    kinds: list[int],
    first: int = 1,
    *,
    only: list[int] | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[int]:
    """The rows that C finds."""
    data, table = rows_of(payloads, kinds)
    out, count = ffi.new("uint32_t[]", len(payloads) + 1), ffi.new("uint32_t *")
    candidates = ffi.NULL if only is None else ffi.new("uint32_t[]", only or [0])
    status = lib.ledger_predicate_rows(
        program,
        len(program),
        data,
        len(data),
        ffi.from_buffer("ledger_row[]", table),
        len(payloads),
        first,
        candidates,
        len(only or []),
        len(payloads) if limit is None else limit,
        newest_first,
        out,
        count,
    )
    if status != lib.LEDGER_OK:
        raise UsageError(f"status {status}")
    return list(out[0 : count[0]])


@given(st.lists(st.tuples(some.events, st.integers(0, 1)), min_size=1, max_size=8), some.filters, st.integers(0, 50))
@example([({"a": 2**53 + 1}, 0)], ast.Range(("a",), 2.0**53, None, True), 1)
@example([({"a": [["u1"], {"b": "u1"}]}, 0)], ast.Term(("a",), "u1"), 1)
@example([({"a": -0.0}, 0)], ast.Term(("a",), 0.0), 1)
@example([({"a": "10.0.0.01"}, 0)], ast.Cidr(("a",), "10.0.0.0/8"), 1)
def test_c_and_the_plain_evaluation_agree(rows: list[tuple[dict[str, Any], int]], node: ast.Node, first: int) -> None:
    """Every leaf, every combination, every type; entry 0 has no fields."""
    kinds = [kind for _, kind in rows]
    payloads = [events.pack(event) for event, _ in rows]
    expected = [
        row
        for row, (event, kind) in enumerate(rows)
        if query_oracle.matches(
            node, event if first + row else None, index=first + row, recorded_ns=RECORDED, note=bool(kind)
        )
    ]
    assert evaluate(program_of(node), payloads, kinds, first) == expected
    assert evaluate(program_of(normalize(node)), payloads, kinds, first) == expected


@given(st.lists(some.events, min_size=1, max_size=20), some.filters, st.data())
def test_candidates_limit_and_order(found: list[dict[str, Any]], node: ast.Node, data: st.DataObject) -> None:
    """Only the rows asked for, no more than the limit, from the end that was asked for."""
    payloads, kinds = [events.pack(event) for event in found], [0] * len(found)
    every = evaluate(program_of(node), payloads, kinds)
    only = sorted(data.draw(st.sets(st.integers(0, len(found) - 1))))
    limit = data.draw(st.integers(0, len(found)))
    kept = [row for row in every if row in only]
    assert evaluate(program_of(node), payloads, kinds, only=only) == kept
    assert evaluate(program_of(node), payloads, kinds, only=only, limit=limit) == kept[:limit]
    back = evaluate(program_of(node), payloads, kinds, only=only, limit=limit, newest_first=True)
    assert back == kept[::-1][:limit]


@given(some.events, st.sampled_from([0, RECORDED, 1 << 62]))
def test_event_time(event: dict[str, Any], recorded: int) -> None:
    """C and the plain rule name one instant."""
    payload = events.pack(event)
    assert time_in_c(payload, recorded) == query_oracle.event_time(event, recorded)


@given(
    st.one_of(
        st.from_regex(
            r"(1[67]|19|20|22)\d\d-[01]\d-[0-3]\d[Tt ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{0,10})?(Z|z|[+-][0-2]\d:[0-6]\d)?",
            fullmatch=True,
        ),
        st.text("0123456789-:TZ+. ", max_size=30),
    )
)
def test_rfc_3339(text: str) -> None:
    """Every date, leap years and the second 60 among them, and what is nearly one."""
    payload = events.pack({"timestamp": text})
    assert time_in_c(payload, 7) == query_oracle.event_time({"timestamp": text}, 7)


@given(some.filters, st.data())
def test_damaged_programs_are_refused_or_harmless(node: ast.Node, data: st.DataObject) -> None:
    """Bytes changed, cut or added: a status, never a crash."""
    program = bytearray(program_of(node))
    for _ in range(data.draw(st.integers(1, 4))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    program = program[: data.draw(st.integers(0, len(program)))] + data.draw(st.binary(max_size=4))
    payloads = [events.pack({"a": "x", "b": [1, {"c": 2.5}]})]
    status = lib.ledger_predicate_check(bytes(program), len(program))
    if status == lib.LEDGER_OK:
        assert evaluate(bytes(program), payloads, [0]) in ([], [0])
    else:
        with pytest.raises(UsageError):
            evaluate(bytes(program), payloads, [0])


def test_deep_programs_are_refused() -> None:
    """No program makes C recurse without end."""
    program = program_of(ast.Everything())
    for depth in range(200):
        program = struct.pack("<BBHI", 5, 0, 0, len(program) + 8) + program
        assert (lib.ledger_predicate_check(program, len(program)) == lib.LEDGER_OK) == (depth < 80)


def test_what_has_no_program() -> None:
    """A regular expression is Python's."""
    with pytest.raises(UsageError, match="regular expression"):
        program_of(ast.And((ast.Regex(("a",), "x"),)))
