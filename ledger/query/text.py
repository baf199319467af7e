"""The text language: what people type into audit and log search, to a filter. docs/query.md teaches it.

    query  := or          or := and (OR and)*      and := not (AND? not)*      not := (NOT | - | !) not | primary
    primary := ( or ) | field : value | field : ( the same of values ) | word | "phrase"
    value  := word | "text" | =word | ~"regex" | < <= > >= word | [word TO word] | {word TO word}

NOT binds tightest, then AND, which a space means too, then OR. `parse` is pure; linear in the text but for the
compilation of regular expressions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ledger.query.ast import And, Everything, Node, Not, Or, Words
from ledger.query.scan import Scanner
from ledger.query.values import Field
from ledger.query.words import tokens

__all__ = ["parse"]

_DEPTH_MAX: Final = 64


def parse(text: str, *, now_ns: int | None = None) -> Node:
    """The filter that `text` says; an empty text is everything.

    `now_ns` is what `now` means (ns since the epoch; default: the wall clock). Raises `QuerySyntaxError` with the
    position; at most 8,192 characters and 64 levels of parentheses and NOT."""
    return _Parser(Scanner(text), time.time_ns() if now_ns is None else now_ns).whole()


class _Parser:
    def __init__(self, scanner: Scanner, now_ns: int) -> None:
        self._scan = scanner
        self._now_ns = now_ns
        self._depth = 0

    def whole(self) -> Node:
        if self._scan.peek() == "":
            return Everything()
        node = self._or(self._primary)
        if self._scan.peek() == ")":
            self._scan.fail("this parenthesis closes nothing")
        if self._scan.peek() != "":
            self._scan.fail("what stands here belongs to nothing; quote it if it is text")
        return node

    def _or(self, primary: Callable[[], Node]) -> Node:
        children = [self._and(primary)]
        while self._scan.take_keyword("OR", "||"):
            children.append(self._and(primary))
        return children[0] if len(children) == 1 else Or(tuple(children))

    def _and(self, primary: Callable[[], Node]) -> Node:
        children = [self._not(primary)]
        while self._scan.take_keyword("AND", "&&") or (
            self._scan.peek() not in ("", ")") and not self._scan.next_is_keyword("OR", "||")
        ):
            children.append(self._not(primary))
        return children[0] if len(children) == 1 else And(tuple(children))

    def _not(self, primary: Callable[[], Node]) -> Node:
        if self._scan.take_keyword("NOT") or self._scan.take("-") or self._scan.take("!"):
            self._deeper()
            node = Not(self._not(primary))
            self._depth -= 1
            return node
        return primary()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            self._scan.fail(f"more than {_DEPTH_MAX} levels of parentheses and NOT")

    def _group(self, primary: Callable[[], Node]) -> Node:
        """After an opening parenthesis."""
        self._deeper()
        node = self._or(primary)
        self._scan.expect(")", "a parenthesis is open")
        self._depth -= 1
        return node

    def _primary(self) -> Node:
        scan = self._scan
        if scan.take("("):
            return self._group(self._primary)
        if (named := scan.field()) is not None:
            field = Field(*named, scan, self._now_ns)
            if scan.take_here("("):
                return self._group(field.value)
            return field.value()
        position = scan.at
        if (quoted := scan.quoted()) is not None:
            return self._words(quoted, position)
        word = scan.word()
        if word is None:
            scan.fail("a word, a field or a parenthesis belongs here" if scan.peek() else "the query ends too early")
        if word.raw in ("AND", "OR", "TO", "&&", "||"):
            scan.fail(f"{word.raw} stands between two filters; quote it if it is a word", word.position)
        if "*" in word.raw.replace("\\*", "") or "?" in word.raw.replace("\\?", ""):
            scan.fail("a pattern needs a field: write field:pattern", word.position)
        return self._words(word.text, word.position)

    def _words(self, text: str, position: int) -> Node:
        found = tokens(text)
        if not found:
            self._scan.fail("there is no word in this to look for", position)
        return Words(None, found)
