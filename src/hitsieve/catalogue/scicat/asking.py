"""Conditions of a query as SciCat's server is asked them: it finds at least what satisfies the query.

The server is asked for what it can tell by single keys of scientificMetadata. It knows nothing of lattices, of words,
nor of what is not known of a run; the rest is decided here, on what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from hitsieve.catalogue.conditions import (
    Cell,
    Condition,
    Either,
    Every,
    Known,
    Not,
    Number,
    Operator,
    Text,
    Time,
    Words,
)
from hitsieve.catalogue.query import FIELDS
from hitsieve.catalogue.record import Record
from hitsieve.catalogue.sql import ROUNDING, WORDS

Where = dict[str, Any]
_OPPOSITE: dict[Operator, Operator] = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_COMPARE = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


def where_of(condition: Condition) -> Where:
    """A query in MongoDB's language that finds every data set that satisfies a condition, and others; empty: all."""
    if isinstance(condition, Every | Either):
        parts = [where_of(part) for part in condition.parts]
        if isinstance(condition, Every):
            told = [part for part in parts if part]
            return told[0] if len(told) == 1 else {"$and": told} if told else {}
        return {"$or": parts} if all(parts) else {}
    if isinstance(condition, Not):
        return _not(condition.part)
    return _SINGLE[type(condition)](condition)


def _not(part: Condition) -> Where:
    """What is not known satisfies the opposite no more than the condition itself."""
    if isinstance(part, Every | Either):
        kind = Either if isinstance(part, Every) else Every
        return where_of(kind(tuple(Not(one) for one in part.parts)))
    opposite: Condition | None = None
    if isinstance(part, Not):
        opposite = part.part
    elif isinstance(part, Known):
        opposite = Known(part.field, not part.known)
    elif isinstance(part, Number):
        opposite = Number(part.field, _OPPOSITE[part.operator], part.value)
    elif isinstance(part, Time):
        opposite = Time(part.field, _OPPOSITE[part.operator], part.first, part.after)
    elif not isinstance(part, Words):
        opposite = Known("cell_a" if isinstance(part, Cell) else part.field, known=True)
    return {} if opposite is None else where_of(opposite)


def _number(condition: Number) -> Where:
    key = _key(condition.field)
    value, operator = condition.value, condition.operator
    if key is None or operator == "!=":
        return _known(condition.field)
    if operator == "=":
        # A little wider than numbers that are equal here.
        margin = 2 * ROUNDING * abs(value)
        return {key: {"$gte": value - margin, "$lte": value + margin}}
    return {key: {_COMPARE[operator]: value}}


def _text(condition: Text) -> Where:
    key = _key(condition.field)
    plain = re.escape(condition.value) if condition.value.isprintable() else ""
    if key is None or condition.operator == "!=" or not plain:
        return _known(condition.field)
    whole = condition.operator == "=" and FIELDS[condition.field].kind == "text"
    return {key: {"$regex": f"^{plain}$" if whole else plain, "$options": "i"}}


def _time(condition: Time) -> Where:
    """Times are sent as texts of one form, so that they are in order as texts."""
    key = _key(condition.field)
    first, after = _instant(condition.first), _instant(condition.after)
    ends = {
        "=": {"$gte": first, "$lt": after},
        "<": {"$lt": first},
        "<=": {"$lt": after},
        ">": {"$gte": after},
        ">=": {"$gte": first},
    }
    if key is None or condition.operator not in ends:
        return _known(condition.field)
    return {key: ends[condition.operator]}


def _cell(condition: Cell) -> Where:
    """Which lattices are near is not for the server to tell."""
    return _known("cell_a")


def _words(condition: Words) -> Where:
    patterns = [_pattern(word) for word in condition.words if word.isascii()]
    keys = [key for name in WORDS if (key := _key(name)) is not None]
    parts = [{"$or": [{key: {"$regex": pattern, "$options": "i"}} for key in keys]} for pattern in patterns]
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}


def _pattern(word: str) -> str:
    """A word with accents or without: the local catalogue takes no account of them."""
    return "".join(f"(?:{re.escape(letter)}|[^\\x00-\\x7f])[^\\x00-\\x7f]*" for letter in word)


def _is_known(condition: Known) -> Where:
    return _known(condition.field, known=condition.known)


def _known(field: str, *, known: bool = True) -> Where:
    """What is known of every run, if only that there is none, may have no key."""
    key = _key(field)
    if key is None or Record.model_fields[field].get_default() is not None:
        return {}
    return {key: {"$exists": known}}


def _key(field: str) -> str | None:
    """Path of a value in a data set; None where it is not sent."""
    key = FIELDS[field].key
    return f"scientificMetadata.{key}.value" if key else None


def _instant(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_SINGLE: dict[type, Callable[[Any], Where]] = {
    Number: _number,
    Text: _text,
    Time: _time,
    Cell: _cell,
    Words: _words,
    Known: _is_known,
}
