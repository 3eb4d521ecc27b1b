"""The table that a run of the benchmarks prints, and the same as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

Numbers = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    reach: str = ""
    """What is to be reached; empty for information."""
    met: bool | None = None
    """None where nothing is to be reached, or nothing could be measured."""
    numbers: Numbers = field(default_factory=dict)
    """Everything behind `measured`, for the JSON file."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether two answers agree that must."""

    what: str
    agrees: bool
    detail: str = ""


@dataclass(slots=True)
class Report:
    """What a run of the benchmarks found."""

    facts: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def check(self, what: str, agrees: bool, detail: str = "") -> None:
        """Note whether answers agree; a run goes on, and fails at its end."""
        self.checks.append(Check(what, bool(agrees), detail))

    @property
    def agrees(self) -> bool:
        """Whether all answers agree that must."""
        return all(check.agrees for check in self.checks)

    def markdown(self) -> str:
        """Facts, table and checks."""
        facts = [f"- {name}: {value}" for name, value in self.facts.items()]
        cells = [(row.what, row.measured, row.reach, _word(row)) for row in self.rows]
        table = _aligned([("what", "measured", "reach", "met"), *cells])
        checks = [
            f"- {'agree' if check.agrees else 'DISAGREE'}: {check.what}{check.detail and f' ({check.detail})'}"
            for check in self.checks
        ]
        return "\n".join([*facts, "", *table, "", *checks, ""])

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Leave the report as JSON and as Markdown in a folder."""
        as_json, as_markdown = folder / "benchmarks.json", folder / "benchmarks.md"
        as_json.write_text(json.dumps(asdict(self), indent=2, default=float) + "\n")
        as_markdown.write_text(self.markdown())
        return as_json, as_markdown


def _word(row: Row) -> str:
    return "" if row.met is None else "yes" if row.met else "NO"


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = tuple("-" * width for width in widths)
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    ]
