"""The search language: `hit_rate > 0.05 and cell ~ 79,79,38,90,90,90 and resolution < 2.0 and pump = light`.

A query is read into conditions joined by and, or, not. What is not known of a run satisfies no condition on it, nor the
opposite of one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from datetime import datetime, timezone

from hitsieve.catalogue.about import Home
from hitsieve.catalogue.celldistance import CENTRINGS
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
from hitsieve.catalogue.record import homes
from hitsieve.catalogue.scanner import BARE, Scanner
from hitsieve.catalogue.units import UNITS, span
from hitsieve.model.cells import why_impossible

FIELDS: dict[str, Home] = {home.field: home for home in homes() if home.kind is not None}
"""What can be searched by, by name."""
ALIASES = {
    "sample": "sample_name",
    "path": "source_path",
    "images": "n_images",
    "hits": "n_hits",
    "energy": "photon_energy",
    "pump_states": "pump",
}
TOLERANCE = 0.02
"""By how much lengths of a lattice may differ, where a query does not say it."""
WIDEST = 0.1
"""Most that it may say."""
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERATOR = re.compile(r"<=|>=|!=|==|<>|[=<>~]")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_UNIT = re.compile(r"%|[A-Za-zµÅ°][A-Za-z/]*")
_QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_WORD = re.compile(r"\w+")
_FLIPPED: dict[str, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
_RESERVED = {"and", "or", "not", "in", "is", "within"}


def parse(text: str) -> Condition:
    """Read a query; an empty one is satisfied by every run.

    Raises
    ------
    SettingsError
        It is no query: with the place that is wrong, and the nearest name.
    """
    reader = _Reader(text)
    if reader.at_end():
        return Every(())
    condition = reader.alternatives()
    if not reader.at_end():
        reader.fail("expected and, or, or the end")
    return condition


def words_of(text: str) -> tuple[str, ...]:
    """Words to search for, in small letters."""
    return tuple(_WORD.findall(text.replace("_", " ").lower()))


class _Reader(Scanner):
    """Recursive descent over the text of a query."""

    def alternatives(self) -> Condition:
        return self._joined("or", lambda: self._joined("and", self._negated, Every), Either)

    def _joined(
        self, word: str, part: Callable[[], Condition], kind: Callable[[tuple[Condition, ...]], Condition]
    ) -> Condition:
        parts = [part()]
        while self.keyword(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else kind(tuple(parts))

    def _negated(self) -> Condition:
        if not self.keyword("not"):
            return self._single()
        with self.nested():
            return Not(self._negated())

    def _single(self) -> Condition:
        self.count()
        self.skip()
        if self.take("("):
            with self.nested():
                inner = self.alternatives()
            if not self.take(")"):
                self.fail("expected )")
            return inner
        if quoted := self.match(_QUOTED):
            words = words_of(quoted[1] if quoted[1] is not None else quoted[2])
            if not words:
                self.fail("no word to search for", quoted.start())
            return Words(words)
        if self.looks_like(_NUMBER):
            return self._number_first()
        return self._of_field(*self._field())

    def _of_field(self, name: str, start: int) -> Condition:
        if name == "cell" and not self.peek("is"):
            return self._cell()
        if self.keyword("is"):
            return self._known(name)
        home = self._home(name, start)
        if self.keyword("in"):
            return self._range(home)
        operator = self._operator()
        if home.kind == "number":
            return Number(home.field, self._fits(operator, home), self._quantity(home))
        if home.kind == "time":
            return Time(home.field, self._fits(operator, home), *self._time())
        if operator not in ("=", "!=", "~"):
            self.fail(f"{name} is text: compare it with =, != or ~", self.last)
        return Text(home.field, operator, self._words())

    def _number_first(self) -> Condition:
        """5 < n_hits <= 20."""
        start = self.at
        number = self.match(_NUMBER)
        unit = self._unit_name()
        first = self._operator()
        home = self._home(*self._field())
        if home.kind != "number":
            self.fail(f"{home.field} is no number", start)
        if first == "~":
            self.fail("a number has no ~", self.last)
        assert number is not None  # noqa: S101 - the caller has looked
        low = Number(home.field, _FLIPPED[first], self._in_unit(float(number[0]), unit, home))
        if self.looks_like(_OPERATOR):
            return Every((low, Number(home.field, self._fits(self._operator(), home), self._quantity(home))))
        return low

    def _range(self, home: Home) -> Condition:
        if home.kind != "number":
            self.fail(f"{home.field} is no number: a range needs one")
        start = self.at
        low = self.match(_NUMBER)
        unit = self._unit_name()
        if low is None or not self.take(".."):
            self.fail("expected a range, as 1.5..2.0", start)
        high = self.match(_NUMBER)
        if high is None:
            self.fail("expected a number")
        unit_of_high = self._unit_name()
        ends = (
            self._in_unit(float(low[0]), unit or unit_of_high, home),
            self._in_unit(float(high[0]), unit_of_high or unit, home),
        )
        return Every((Number(home.field, ">=", ends[0]), Number(home.field, "<=", ends[1])))

    def _known(self, name: str) -> Condition:
        opposite = self.keyword("not")
        known = self.keyword("known")
        if not known and not self.keyword("unknown"):
            self.fail("expected known or unknown")
        return Known("cell_a" if name == "cell" else name, known is not opposite)

    def _cell(self) -> Condition:
        self.skip()
        if not self.take("~"):
            self.fail("expected ~: a cell is compared as cell ~ a,b,c,alpha,beta,gamma")
        start = self.at
        values: list[float] = []
        while len(values) < 6:
            number = self.match(_NUMBER)
            if number is None:
                self.fail(f"expected number {len(values) + 1} of a,b,c,alpha,beta,gamma (angstrom, degrees)")
            values.append(float(number[0]))
            self.take(",")
        a, b, c, alpha, beta, gamma = values
        wrong = why_impossible(values)
        if wrong:
            self.fail(wrong, start)
        letter = next((name for name in CENTRINGS if self.keyword(name)), None)
        return Cell((a, b, c, alpha, beta, gamma), letter, self._within())

    def _within(self) -> float:
        if not self.keyword("within"):
            return TOLERANCE
        start = self.at
        number = self.match(_NUMBER)
        if number is None or not self.take("%"):
            self.fail("expected a tolerance in %, as within 2 %", start)
        share = float(number[0]) / 100
        if not 0 < share <= WIDEST:
            self.fail(f"the tolerance must be above 0 and at most {100 * WIDEST:g} %", start)
        return share

    def _quantity(self, home: Home) -> float:
        number = self.match(_NUMBER)
        if number is None:
            self.fail(f"expected a number: {home.field} is one" + (f" ({home.about.unit})" if home.about.unit else ""))
        return self._in_unit(float(number[0]), self._unit_name(), home)

    def _unit_name(self) -> str:
        """The unit that follows, with its place remembered; empty where a keyword or nothing does."""
        before = self.at
        found = self.match(_UNIT)
        if found is None or found[0].lower() in _RESERVED or self._is_name(before):
            self.at = before
            return ""
        self.last = found.start()
        return found[0]

    def _is_name(self, at: int) -> bool:
        """Whether what follows a place is a field, so that `and` was forgotten."""
        self.at, after = at, self.at
        found = self.match(_NAME)
        self.at = after
        return found is not None and (found[0].lower() in FIELDS or found[0].lower() in ALIASES or found[0] == "cell")

    def _in_unit(self, value: float, unit: str, home: Home) -> float:
        known = UNITS["share"] if home.share else UNITS.get(home.about.unit, {})
        if unit and unit not in known:
            can = f"give {', '.join(known)}" if known else "it has none"
            self.fail(f"{home.field} is not measured in {unit}: {can}", self.last)
        if not math.isfinite(value):
            self.fail("the number is too large")
        return value * known[unit] if unit else value

    def _time(self) -> tuple[datetime, datetime]:
        bare = self.match(BARE) or self.match(_QUOTED)
        if bare is None:
            self.fail("expected a date, as 2026-11-26")
        try:
            first, after = span(bare[0].strip("\"'"))
        except (ValueError, OverflowError):
            self.fail(f"{bare[0]} is no date, as 2026-11-26 or 2026-11-26T14:30", bare.start())
        return first.replace(tzinfo=timezone.utc), after.replace(tzinfo=timezone.utc)

    def _words(self) -> str:
        quoted = self.match(_QUOTED)
        if quoted:
            return quoted[1] if quoted[1] is not None else quoted[2]
        bare = self.match(BARE)
        if bare is None:
            self.fail("expected a text; put it in quotes if it has spaces")
        return bare[0]

    def _field(self) -> tuple[str, int]:
        found = self.match(_NAME)
        if found is None:
            self.fail("expected a condition, as hit_rate > 0.05")
        name = found[0].lower()
        if name in _RESERVED:
            self.fail("expected a condition before it", found.start())
        name = ALIASES.get(name, name)
        if name != "cell" and name not in FIELDS:
            names = [*FIELDS, *ALIASES, "cell"]
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            mean = f", did you mean {' or '.join(near)}?" if near else ' (for words of the title: "..." in quotes)'
            self.fail(f"there is no field {found[0]}{mean}", found.start())
        return name, found.start()

    def _home(self, name: str, start: int) -> Home:
        if name == "cell":
            self.fail("a cell is compared as cell ~ a,b,c,alpha,beta,gamma", start)
        return FIELDS[name]

    def _operator(self) -> Operator:
        found = self.match(_OPERATOR)
        if found is None:
            shell = "; put the query in quotes, for the shell takes < and > away" if self.at_end() else ""
            self.fail(f"expected =, !=, <, <=, >, >=, ~, in or is{shell}")
        self.last = found.start()
        operator: Operator = {"==": "=", "<>": "!="}.get(found[0], found[0])  # type: ignore[assignment]
        return operator

    def _fits(self, operator: Operator, home: Home) -> Operator:
        if operator == "~":
            self.fail(f"{home.field} is a {home.kind}: compare it with =, !=, <, <=, > or >=", self.last)
        return operator
