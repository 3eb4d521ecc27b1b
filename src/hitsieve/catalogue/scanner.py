"""Reads a query piece by piece, and says where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hitsieve.errors import SettingsError

BARE = re.compile(r"[^\s()\"']+")
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_]\w*")
_DEEPEST = 50
_MOST = 500
"""Conditions of a query; a thousand are more than a database takes."""
_SHOWN = 24
"""Characters of the query that are shown, from a wrong place on."""


class Scanner:
    """A place in a text, which moves on as pieces are taken."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        """Where to read on."""
        self.last = 0
        """Start of the operator or unit that was read last."""
        self._depth = self._n_conditions = 0

    def at_end(self) -> bool:
        """Whether nothing is left."""
        self.skip()
        return self.at == len(self._text)

    def fail(self, what: str, start: int | None = None) -> NoReturn:
        """Say what is wrong, and where: here, or at another place."""
        space = _SPACE.match(self._text, self.at if start is None else start)
        start = space.end() if space else self.at
        rest = self._text[start : start + _SHOWN] + ("..." if len(self._text) > start + _SHOWN else "")
        place = f'at "{rest}"' if rest else "at its end"
        raise SettingsError(f"query, character {start + 1}, {place}: {what}")

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self.fail("nested too deep")
        yield
        self._depth -= 1

    def count(self) -> None:
        """One condition more."""
        self._n_conditions += 1
        if self._n_conditions > _MOST:
            self.fail(f"a query has {_MOST} conditions at most")

    def looks_like(self, pattern: re.Pattern[str]) -> bool:
        """Whether a piece follows; it is not taken."""
        self.skip()
        return pattern.match(self._text, self.at) is not None

    def skip(self) -> None:
        """Pass over white space."""
        space = _SPACE.match(self._text, self.at)
        self.at = space.end() if space else self.at

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Take a piece, if it follows."""
        self.skip()
        found = pattern.match(self._text, self.at)
        if found:
            self.at = found.end()
        return found

    def take(self, symbol: str) -> bool:
        """Take a symbol, if it follows."""
        self.skip()
        found = self._text.startswith(symbol, self.at)
        self.at += len(symbol) if found else 0
        return found

    def peek(self, word: str) -> bool:
        """Whether a word follows; it is not taken."""
        at = self.at
        found = self.keyword(word)
        self.at = at
        return found

    def keyword(self, word: str) -> bool:
        """Take a word, if it follows, in letters of either case."""
        self.skip()
        found = _NAME.match(self._text, self.at)
        if found is None or found[0].lower() != word.lower():
            return False
        self.at = found.end()
        return True
