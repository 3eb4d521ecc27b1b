"""Templates: what a beamline knows, in TOML, by place."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from hitsieve.check.findings import Checked, Finding, Severity
from hitsieve.check.rules import TYPES, WORDS, Place, rule_book, units, usual_unit
from hitsieve.check.times import why_no_time
from hitsieve.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UNKNOWN = "?"
"""What stands in a template where nothing was filled in yet."""
_HEAD = """\
# What {name} lacks, for hitsieve check --fix. Put a value for every "?" that you know;
# lines that still say "?" do nothing and may be deleted.
"""


@dataclass(frozen=True, slots=True)
class Given:
    """One value of a template."""

    place: str
    value: Any
    """Text, a truth value, a number, or a list of numbers."""
    units: str
    line: int
    rule: Place | None
    """What the place asks for; None for a path that only the file can explain."""


def write_template(checked: Checked) -> str:
    """Write a template of what a file lacks, to be filled in.

    Parameters
    ----------
    checked : Checked
        The findings in it.

    Returns
    -------
    str
        TOML.
    """
    lines = [_HEAD.format(name=checked.path.name)]
    for rule, place, finding in _lacking(checked):
        lines.append(f"# {rule.what} ({_needs(rule, finding)}); for example {_toml(rule.example)}")
        if rule.units:
            unit = usual_unit(rule.units)
            lines.append(f"{_toml(place)} = {{ value = {_toml(UNKNOWN)}, units = {_toml(unit)} }}")
        else:
            lines.append(f"{_toml(place)} = {_toml(UNKNOWN)}")
        lines.append("")
    return "\n".join(lines)


def _needs(rule: Place, finding: Finding) -> str:
    """Who needs a place, in words."""
    by: dict[str, list[str]] = {}
    for name in finding.rules:
        by.setdefault(rule.need.get(name, "optional"), []).append(name)
    return ", ".join(f"{need} in {', '.join(names)}" for need, names in by.items())


def _lacking(checked: Checked) -> Iterator[tuple[Place, str, Finding]]:
    """What is absent and can be given, with the place to write."""
    book = rule_book()
    for finding in checked.findings:
        rule = book.places.get(finding.rule)
        if rule is None or not finding.absent:
            continue
        for one in _with_parts(rule):
            if one.example is None or (one is not rule and one.severity(finding.rules) is not Severity.ERROR):
                continue
            if len(finding.places) == 1:
                yield one, one.place, finding
            else:
                for place in finding.places:
                    yield one, f"{place}{one.place.removeprefix(rule.place)}", finding


def _with_parts(rule: Place) -> Iterator[Place]:
    """A field, or the required fields of a group, each with its attributes."""
    book = rule_book()
    for one in book.below(rule.place) if rule.is_group else [rule]:
        if one is rule or Severity.ERROR in one.absent.values():
            yield one
            yield from book.below(one.place)


def read_template(path: Path) -> list[Given]:
    """Read a template.

    Parameters
    ----------
    path : Path
        TOML file: places with values, or tables of them.

    Returns
    -------
    list of Given
        In the order of the file; what still says "?" is left out.

    Raises
    ------
    SettingsError
        It cannot be read, or a place, value or unit is wrong: the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        msg = f"template {path} cannot be read: {reason}"
        raise SettingsError(msg, mend="hitsieve check --template FILE prints one to fill in") from error
    except tomllib.TOMLDecodeError as error:
        msg = f"template {path} is not TOML: {error}"
        raise SettingsError(msg, mend="hitsieve check --template FILE prints one to fill in") from error
    lines = _Lines(text)
    return [
        _given(path, place, value, lines.of(place))
        for place, value in _flat(table, "")
        if (value.get("value") if isinstance(value, dict) else value) != UNKNOWN
    ]


def _flat(table: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        place = f"{above}{'' if key.startswith('@') else '/'}{key}" if above else key
        if isinstance(value, dict) and not value.keys() & {"value", "units"}:
            yield from _flat(value, place)
        else:
            yield place, value


class _Lines:
    """Lines of a TOML file by what they set; TOML readers do not tell."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def of(self, place: str) -> int:
        """Line of a place, from 1; that of its table, or 1, where its own is not found."""
        parts = [place[i:] for i in range(len(place)) if i == 0 or place[i - 1] == "/" or place[i] == "@"]
        for part in parts:
            for number, line in enumerate(self._lines, start=1):
                key = line.split("=", maxsplit=1)[0].strip()
                if "=" in line and not line.lstrip().startswith("#") and key.strip("\"'") == part:
                    return number
        return 1


def _given(path: Path, place: str, value: Any, line: int) -> Given:
    where = f"template {path}, line {line}: {place}"
    unit = ""
    if isinstance(value, dict):
        extra = sorted(value.keys() - {"value", "units"})
        if extra or "value" not in value:
            what = f"has {', '.join(extra)}" if extra else "has no value"
            raise SettingsError(f"{where} {what}", mend='write { value = ..., units = "..." }')
        unit, value = value.get("units", ""), value["value"]
    if isinstance(value, datetime | date | time):
        value = value.isoformat()
    rule = rule_book().places.get(place)
    if rule is None and not place.startswith("/"):
        raise SettingsError(f"{where} is no place that a template can give", mend=_near(place))
    if rule is not None:
        check_given(where, rule, value, unit)
    return Given(place, value, unit, line, rule)


def _near(place: str) -> str:
    known = [name for name, rule in rule_book().places.items() if rule.type]
    near = difflib.get_close_matches(place, known, n=1) or [name for name in known if name.endswith(f"/{place}")]
    return f"did you mean {near[0]}?" if near else "docs/reference/checks.md lists the places"


def check_given(where: str, rule: Place, value: Any, unit: object) -> None:
    """Raise SettingsError unless a value and its units are what a place asks for.

    Parameters
    ----------
    where : str
        Template, line and place, for the message.
    rule : Place
        What the place asks for.
    value : object
        The value.
    unit : str
        Its units, or nothing.
    """
    if rule.is_group:
        raise SettingsError(f"{where} is a group", mend=f"give a field in it, such as {rule.place}/name")
    if rule.name in ("data", "pixel_mask", "flatfield"):
        raise SettingsError(f"{where} is made of images", mend="a template gives single values")
    if not _fits(rule, value):
        raise SettingsError(f"{where} is {value!r}, not {TYPES[rule.type]}", mend=f"for example {_toml(rule.example)}")
    n = len(value) if isinstance(value, list) else 1
    if rule.size and n not in rule.size:
        wanted = " or ".join(map(str, rule.size))
        raise SettingsError(f"{where} has {n} values, not {wanted}", mend=f"for example {_toml(rule.example)}")
    why = why_no_time(rule.type, value) if rule.type in ("date", "zone") else ""
    if why:
        raise SettingsError(f"{where} is {value!r}, {why}", mend=f"for example {_toml(rule.example)}")
    if rule.values and value not in rule.values:
        raise SettingsError(f"{where} is {value!r}", mend=f"it must be {' or '.join(rule.values)}")
    if rule.positive and not np.all(np.asarray(value, dtype=np.float64) > 0):
        raise SettingsError(f"{where} is {value!r}, not greater than 0", mend=f"for example {_toml(rule.example)}")
    _check_units(where, rule, value, unit)


def _check_units(where: str, rule: Place, value: Any, unit: object) -> None:
    if rule.units:
        known = list(units()[rule.units])
        if not isinstance(unit, str) or unit.lower() not in known:
            what = f"has units {unit!r}, no known ones of {rule.units}" if unit else "has no units"
            mend = f'write {{ value = {_toml(value)}, units = "..." }} with one of {", ".join(known[:6])}'
            raise SettingsError(f"{where} {what}", mend=mend)
    elif unit:
        raise SettingsError(
            f"{where} has units, but is a mere {'text' if rule.type == 'text' else 'number'}", mend="leave them out"
        )


def _fits(rule: Place, value: Any) -> bool:
    many = isinstance(value, list) and bool(value) and (bool(rule.size) or 1 in rule.rank or rule.type == "int")
    values = value if many else [value]
    if rule.type in WORDS:
        return all(isinstance(one, str) and one.strip() for one in values)
    if rule.type == "bool":
        return isinstance(value, bool)
    kinds = int if rule.type == "int" else int | float
    return all(isinstance(one, kinds) and not isinstance(one, bool) and np.isfinite(one) for one in values)


def _toml(value: Any) -> str:
    # JSON's strings, numbers, truth values and lists are TOML's too.
    return json.dumps(value, ensure_ascii=False)
