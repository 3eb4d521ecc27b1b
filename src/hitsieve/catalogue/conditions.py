"""What a query asks of a run, as a tree of conditions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hitsieve.catalogue.record import CellParameters

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~"]


@dataclass(frozen=True, slots=True)
class Every:
    """All parts are satisfied; also where there are none."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part is not."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Number:
    """A number, in the unit of the field, compares so."""

    field: str
    operator: Operator
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A text is (=) or is not (!=) this, or holds it (~), letters of either case; of several, one does, or none is."""

    field: str
    operator: Operator
    value: str


@dataclass(frozen=True, slots=True)
class Time:
    """A time compares so with the span from first up to, not including, after (UTC)."""

    field: str
    operator: Operator
    first: datetime
    after: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """Something is, or is not, known of the field."""

    field: str
    known: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """The lattice is that of this cell, within a tolerance."""

    parameters: CellParameters
    centring: str | None
    """None: any that these axes may have."""
    most: float
    """Largest change of any length, as a share of it."""


@dataclass(frozen=True, slots=True)
class Words:
    """Each word begins a word of title, sample or path."""

    words: tuple[str, ...]


Condition = Every | Either | Not | Number | Text | Time | Known | Cell | Words
