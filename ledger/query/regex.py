"""Filters with regular expressions: C finds what all the rest allows, Python decides the expressions on what is left.

`relaxed` is a filter without expressions that holds every match; `decide` then puts the outcome of each expression in
its place and lets C evaluate the whole again, one program for each combination of outcomes met."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ledger.encoding import event as events
from ledger.encoding.block import Block
from ledger.errors import UsageError
from ledger.query.ast import And, Everything, Node, Not, Nothing, Or, Path, Regex
from ledger.query.program import program_of

__all__ = ["Residual"]


class Residual:
    """What is left to evaluate on events, for a filter in normal form. One thread at a time."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._expressions = list(dict.fromkeys(_expressions(node)))
        self._compiled = [_compiled(expression.pattern) for expression in self._expressions]
        self._programs: dict[tuple[bool, ...], bytes] = {}
        self.program = program_of(_replaced(node, {}))

    @property
    def needs_python(self) -> bool:
        """Whether events have to be decoded."""
        return bool(self._expressions)

    def matching(
        self, block: Block, positions: list[int] | None = None, *, limit: int | None = None, newest: bool = False
    ) -> list[int]:
        """As `Block.matching`, for the whole filter."""
        if not self._expressions:
            return block.matching(self.program, positions, limit=limit, newest=newest)
        kept: list[int] = []
        for position in block.matching(self.program, positions, newest=newest):
            if len(kept) == limit:
                break
            if block.matching(self._decided(block, position), [position]):
                kept.append(position)
        return kept

    def _decided(self, block: Block, position: int) -> bytes:
        event = events.unpack(block.payload(position)) if block.base + position else {}
        outcomes = tuple(
            any(compiled.search(text) for text in _strings_at(event, expression.path))
            for expression, compiled in zip(self._expressions, self._compiled, strict=True)
        )
        program = self._programs.get(outcomes)
        if program is None:
            known = dict(zip(self._expressions, outcomes, strict=True))
            program = self._programs[outcomes] = program_of(_replaced(self._node, known))
        return program


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"no regular expression: {error}: {pattern!r}") from None


def _expressions(node: Node) -> Iterator[Regex]:
    if isinstance(node, Regex):
        yield node
    elif isinstance(node, And | Or):
        for child in node.children:
            yield from _expressions(child)
    elif isinstance(node, Not):
        yield from _expressions(node.child)


def _replaced(node: Node, outcomes: dict[Regex, bool]) -> Node:
    """With each expression's outcome in its place; where it is not known, so that nothing is lost. In normal form a
    NOT stands right before its leaf, so an unknown leaf is true with and without it."""
    if isinstance(node, And | Or):
        children = tuple(_replaced(child, outcomes) for child in node.children)
        return And(children) if isinstance(node, And) else Or(children)
    leaf = node.child if isinstance(node, Not) else node
    if not isinstance(leaf, Regex):
        return node
    if leaf not in outcomes:
        return Everything()
    return Everything() if outcomes[leaf] != isinstance(node, Not) else Nothing()


def _strings_at(value: Any, path: Path) -> Iterator[str]:
    if isinstance(value, list):
        for element in value:
            yield from _strings_at(element, path)
    elif path:
        if isinstance(value, dict) and path[0] in value:
            yield from _strings_at(value[path[0]], path[1:])
    elif isinstance(value, str):
        yield value
