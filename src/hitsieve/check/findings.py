"""What a check finds: where, what is wrong, how bad it is, and the mend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

LONGEST = 300
"""Letters of a text from a file that are told."""


class Severity(IntEnum):
    """How bad a finding is."""

    NOTE = 0
    """Readers get on with it."""
    WARNING = 1
    """Something is lost, or some reader stumbles."""
    ERROR = 2
    """The file is not what the rules ask for, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with all places where it is."""

    severity: Severity
    rule: str
    """Of the rules, by its name in the tables: a place, or the name of a check."""
    rules: tuple[str, ...]
    """Rule sets that ask for it: nxmx, gold, hits."""
    places: tuple[str, ...]
    """Where in the file: paths, and after @ an attribute."""
    what: str
    mend: str
    absent: bool = False
    """Whether something is simply not there, so that a template can give it."""

    @property
    def place(self) -> str:
        """The first place."""
        return self.places[0]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "severity": self.severity.name.lower()}

    @classmethod
    def from_plain(cls, said: dict[str, Any]) -> Finding:
        """Make it from what `plain` gave."""
        severity = Severity[said["severity"].upper()]
        lists = {name: tuple(said[name]) for name in ("rules", "places")}
        return cls(severity, said["rule"], **lists, what=said["what"], mend=said["mend"], absent=said["absent"])


@dataclass(frozen=True, slots=True)
class Checked:
    """All that is found in one file, the worst first."""

    path: Path
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity | None:
        """Severity of the worst finding; None without any."""
        return max((finding.severity for finding in self.findings), default=None)

    def count(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)


def together(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Join findings that differ in nothing but the place, the worst first and otherwise in their order."""
    joined: dict[tuple[object, ...], Finding] = {}
    for finding in findings:
        key = (finding.severity, finding.rule, finding.rules, finding.what, finding.mend, finding.absent)
        before = joined.get(key)
        joined[key] = finding if before is None else replace(before, places=(*before.places, *finding.places))
    return tuple(sorted(joined.values(), key=lambda finding: -finding.severity))


def legible(text: object) -> str:
    """Text from a file as it can be told: without control characters and broken letters, and not too long."""
    letters = str(text)[: LONGEST + 1]
    shown = "".join(_letters(letters))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."


def _letters(text: str) -> Iterator[str]:
    for letter in text:
        yield letter if letter.isprintable() else letter.encode("utf-8", "surrogatepass").hex().join(("<", ">"))
