"""Tokens of a text, by rule "ascii-fold/1": what the word index holds and what a phrase is made of.

A token is a longest run of the bytes 0-9 A-Z a-z _ and 0x80 to 0xff of the UTF-8; A to Z are lowered, nothing else is
folded. So `Straße` is one token and `strasse` another: said in docs/query.md. The rule is part of the index's
version; csrc/predicate.c has it too."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["TOKENIZER", "tokens"]

TOKENIZER: Final = "ascii-fold/1"
_TOKEN: Final = re.compile(rb"[0-9A-Za-z_\x80-\xff]+")


def tokens(text: str) -> tuple[str, ...]:
    """The tokens of `text`, in order."""
    return tuple(token.lower().decode() for token in _TOKEN.findall(text.encode()))
