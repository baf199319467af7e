"""The characters of a query: words, quoted strings and field names, each with its position."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from ledger.errors import QuerySyntaxError

__all__ = ["Scanner", "Word", "unescape"]

TEXT_CHARACTERS_MAX: Final = 8192
_FIELD: Final = re.compile(r"(?:[\w@$.\-/]|\\.)+(?=:)", re.DOTALL)
_WORD: Final = re.compile(r'(?:[^\s()"\\\[\]{}]|\\.)+', re.DOTALL)
_SPACE: Final = re.compile(r"\s*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def unescape(text: str) -> str:
    """Backslash and character become the character."""
    return _ESCAPE.sub(r"\1", text)


class Word:
    """An unquoted word as it was written, and where."""

    __slots__ = ("position", "raw")

    def __init__(self, raw: str, position: int) -> None:
        self.raw = raw
        self.position = position

    @property
    def text(self) -> str:
        """Without its escapes."""
        return unescape(self.raw)


class Scanner:
    """A position in a query's text. Every method that takes something skips spaces first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        if len(text) > TEXT_CHARACTERS_MAX:
            self.fail(
                f"a query has at most {TEXT_CHARACTERS_MAX} characters, this one {len(text)}", TEXT_CHARACTERS_MAX
            )

    def fail(self, what: str, position: int | None = None) -> NoReturn:
        """Raise `QuerySyntaxError` there, or here."""
        raise QuerySyntaxError(what, self.text, self.at if position is None else position)

    def skip(self) -> None:
        """Over spaces."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None, "the pattern matches the empty string"
        self.at = found.end()

    def peek(self) -> str:
        """The next character; empty at the end."""
        self.skip()
        return self.text[self.at : self.at + 1]

    def take(self, symbol: str) -> bool:
        """`symbol`, if it is next."""
        self.skip()
        if self.text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False

    def take_here(self, symbol: str) -> bool:
        """`symbol`, if it is next, without a space before it."""
        if self.text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False

    def expect(self, symbol: str, what: str) -> None:
        """`symbol`, or an error."""
        if not self.take(symbol):
            self.fail(f"{what}: {symbol} is missing")

    def take_keyword(self, *keywords: str) -> bool:
        """One of AND, OR, NOT, TO …, in capitals, a whole word."""
        self.skip()
        found = _WORD.match(self.text, self.at)
        if found is not None and found[0] in keywords:
            self.at = found.end()
            return True
        return False

    def next_is_keyword(self, *keywords: str) -> bool:
        """Whether one of them is next."""
        self.skip()
        found = _WORD.match(self.text, self.at)
        return found is not None and found[0] in keywords

    def field(self) -> tuple[str, int] | None:
        """A field's name, escapes and all, and its position; the colon after it is taken too."""
        self.skip()
        found = _FIELD.match(self.text, self.at)
        if found is None:
            return None
        position, self.at = self.at, found.end() + 1
        return found[0], position

    def word(self) -> Word | None:
        """Up to a space, a parenthesis, a bracket or a quote."""
        self.skip()
        found = _WORD.match(self.text, self.at)
        if found is None:
            return None
        position, self.at = self.at, found.end()
        return Word(found[0], position)

    def quoted(self) -> str | None:
        """A string in double quotes, unescaped."""
        self.skip()
        if not self.text.startswith('"', self.at):
            return None
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            self.fail("the quote that begins here has no end")
        self.at = found.end()
        return unescape(found[1])
