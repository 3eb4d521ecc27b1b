"""Conditions of a query as SQL over the table of facts."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import datetime, timezone

from hitsieve.catalogue.conditions import Cell, Condition, Either, Every, Known, Not, Number, Text, Time, Words
from hitsieve.catalogue.query import FIELDS

WORDS = ("title", "sample_name", "sample_id", "source_path")
"""Fields in which words are looked for."""
SEPARATOR = "\x1f"
"""Before, between and after words of a list in one column."""
ROUNDING = 1e-9
"""Relative difference of numbers that are equal."""
Statement = tuple[str, list[object]]
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def lower(text: str) -> str:
    """Small letters as SQLite makes them: of A to Z alone."""
    return text.translate(_LOWER)


def instant(time: datetime) -> str:
    """A time as the catalogue stores it: UTC, of fixed width, so that text compares as time."""
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds")


def where(condition: Condition, near: Callable[[Cell], str], *, has_words: bool) -> Statement:
    """Make the WHERE of a condition, with its parameters.

    What is not known is NULL, and so is any condition on it, as SQL has it.

    Parameters
    ----------
    condition : Condition
    near : callable
        Gives the name of a table with the keys of the runs whose lattice is near a cell.
    has_words : bool
        There is a table of words to search in.
    """

    def inner(part: Condition) -> Statement:
        return where(part, near, has_words=has_words)

    if isinstance(condition, Every | Either):
        joined = [inner(part) for part in condition.parts]
        word, nothing = (" AND ", "1") if isinstance(condition, Every) else (" OR ", "0")
        return f"({word.join(sql for sql, _ in joined) or nothing})", [
            value for _, values in joined for value in values
        ]
    if isinstance(condition, Not):
        sql, values = inner(condition.part)
        return f"(NOT {sql})", values
    if isinstance(condition, Cell):
        keys = f"SELECT key FROM {near(condition)}"  # noqa: S608 - a name that the caller made
        return f"(CASE WHEN g0 IS NULL THEN NULL ELSE facts.key IN ({keys}) END)", []
    if isinstance(condition, Words):
        return _words(condition.words, has_words=has_words)
    return _of_field(condition)


def _of_field(condition: Number | Text | Time | Known) -> Statement:
    # Names of columns are those of fields, which the query was checked against.
    name = f'"{condition.field}"'
    if isinstance(condition, Known):
        return f"({name} IS {'NOT ' if condition.known else ''}NULL)", []
    if isinstance(condition, Number):
        return _number(name, condition)
    if isinstance(condition, Time):
        return _time(name, condition)
    text = lower(condition.value)
    if condition.operator == "~":
        return f"(instr(lower({name}), ?) > 0)", [text]
    equal = condition.operator == "="
    if FIELDS[condition.field].kind == "names":
        return f"(instr(lower({name}), ?) {'>' if equal else '='} 0)", [f"{SEPARATOR}{text}{SEPARATOR}"]
    return f"(lower({name}) {'=' if equal else '<>'} ?)", [text]


def _number(name: str, condition: Number) -> Statement:
    value = condition.value
    if condition.operator in ("=", "!="):
        sign = "<=" if condition.operator == "=" else ">"
        return f"(abs({name} - ?) {sign} ?)", [value, ROUNDING * abs(value)]
    return f"({name} {condition.operator} ?)", [value]


def _time(name: str, condition: Time) -> Statement:
    first, after = instant(condition.first), instant(condition.after)
    statements: dict[str, Statement] = {
        "=": (f"({name} >= ? AND {name} < ?)", [first, after]),
        "!=": (f"({name} < ? OR {name} >= ?)", [first, after]),
        "<": (f"({name} < ?)", [first]),
        "<=": (f"({name} < ?)", [after]),
        ">": (f"({name} >= ?)", [after]),
        ">=": (f"({name} >= ?)", [first]),
    }
    return statements[condition.operator]


def _words(words: tuple[str, ...], *, has_words: bool) -> Statement:
    if has_words:
        match = " ".join(f'"{word}"*' for word in words)
        return "(facts.key IN (SELECT rowid FROM words WHERE words MATCH ?))", [match]
    joined = " || ' ' || ".join(f"coalesce({name}, '')" for name in WORDS)
    text = f"lower({joined})"
    return f"({' AND '.join(f'instr({text}, ?) > 0' for _ in words)})", [lower(word) for word in words]
