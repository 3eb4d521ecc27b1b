"""What a query means, said once more without SQL: True, False, or None where a run does not tell."""

from __future__ import annotations

import math
import operator
import re

from hitsieve.catalogue import Record
from hitsieve.catalogue.celldistance import distance, possible_centrings, reduced_metric
from hitsieve.catalogue.conditions import Cell, Condition, Either, Every, Known, Not, Number, Text, Time, Words

COMPARE = {
    "=": math.isclose,
    "!=": lambda a, b: not math.isclose(a, b),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def satisfies(record: Record, condition: Condition) -> bool | None:
    if isinstance(condition, Every | Either):
        answers = [satisfies(record, part) for part in condition.parts]
        decisive = isinstance(condition, Either)
        return decisive if decisive in answers else None if None in answers else not decisive
    if isinstance(condition, Not):
        answer = satisfies(record, condition.part)
        return None if answer is None else not answer
    if isinstance(condition, Words):
        text = " ".join(filter(None, (record.title, record.sample_name, record.sample_id, record.source_path))).replace(
            "_", " "
        )
        words = re.findall(r"\w+", text.lower())
        return all(any(word.startswith(wanted) for word in words) for wanted in condition.words)
    if isinstance(condition, Cell):
        return _near(record, condition)
    return _of_field(record, condition)


def _of_field(record: Record, condition: Number | Text | Time | Known) -> bool | None:
    value = getattr(record, condition.field)
    if isinstance(condition, Known):
        return (value is not None) is condition.known
    if value is None:
        return None
    if isinstance(condition, Number):
        return bool(COMPARE[condition.operator](value, condition.value))
    if isinstance(condition, Time):
        inside = condition.first <= value < condition.after
        return {
            "=": inside,
            "!=": not inside,
            "<": value < condition.first,
            "<=": value < condition.after,
            ">": value >= condition.after,
            ">=": value >= condition.first,
        }[condition.operator]
    return _text(value, condition)


def _text(value: str | tuple[str, ...], condition: Text) -> bool:
    wanted, texts = condition.value.lower(), [value] if isinstance(value, str) else list(value)
    if condition.operator == "~":
        return any(wanted in text.lower() for text in texts)
    return any(wanted == text.lower() for text in texts) is (condition.operator == "=")


def _near(record: Record, condition: Cell) -> bool | None:
    if record.cell is None:
        return None
    theirs, most = reduced_metric(record.cell, record.centring or "P"), math.log1p(condition.most)
    names = (condition.centring,) if condition.centring else possible_centrings(condition.parameters)
    return any(distance(reduced_metric(condition.parameters, name), theirs, most=most) <= most for name in names)
