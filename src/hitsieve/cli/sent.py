"""What was sent to SciCat, and what waits to be, as lines or JSON on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitsieve.catalogue.scicat import Entry, Registered, Report
    from hitsieve.pipeline.ingest import Sent

_SAID = {
    "created": "created",
    "changed": "was there; what it lacked was added",
    "there": "was there as it is",
    "left alone": "left as it is",
}


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each, a line on stderr."""
    for text in warnings:
        print("hitsieve: warning:", " ".join(text.split()), file=sys.stderr, flush=True)


def print_report(report: Report) -> None:
    """Print what is in SciCat for a run now."""
    rows = [("raw", _dataset(report.raw)), ("hits", _dataset(report.derived))]
    if report.picture is not None:
        rows.append(("picture", _SAID[report.picture]))
    if report.archive is not None:
        rows.append(("archive job", _SAID[report.archive]))
    for name, value in rows:
        if value:
            print(f"{name:<12}{value}")


def _dataset(one: Registered | None) -> str:
    if one is None:
        return ""
    files = ""
    if one.n_files:
        files = f"; {_count(one.n_files, 'file')} listed, in {_count(one.n_blocks, 'block')}"
    elif one.n_listed:
        files = f"; {_count(one.n_listed, 'file')} listed before"
    return f"{one.pid}: {_SAID[one.did]}{files}"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def report_as_json(report: Report) -> dict[str, Any]:
    """The report as a table of JSON."""
    return asdict(report)


def print_sent(one: Sent, *, quiet: bool) -> None:
    """Print what became of one errand; what went wrong on stderr, also where nothing else is printed."""
    if one.report is not None:
        print_warnings(one.report.warnings)
    if one.error is not None:
        print("hitsieve: error:", " ".join(str(one.error).split()), file=sys.stderr)
    elif not quiet:
        print(one.errand.place)
        if one.report is None:
            print("another process is bringing it")
        else:
            print_report(one.report)


def sent_as_json(one: Sent) -> dict[str, Any]:
    """What became of one errand."""
    told = {"run": one.errand.run, "place": one.errand.place, "server": one.errand.server}
    report = None if one.report is None else report_as_json(one.report)
    return {**told, "report": report, "error": None if one.error is None else str(one.error)}


def entry_as_json(entry: Entry) -> dict[str, Any]:
    """An errand of the outbox."""
    errand = entry.errand
    told = {"run": errand.run, "place": errand.place, "server": errand.server}
    return {**told, "state": entry.state, "reason": entry.reason, "added": entry.added, "tries": entry.n_tries}


def print_entries(entries: Sequence[Entry], place: object) -> None:
    """Print what waits and what was refused."""
    for entry in entries:
        print(f"{entry.state:<9}{entry.errand.place}  to {entry.errand.server}, since {entry.added}")
        if entry.reason:
            print(f"{'':<9}{entry.reason}")
    n = {state: sum(entry.state == state for entry in entries) for state in ("waiting", "refused")}
    print(f"{n['waiting']:,} waiting, {n['refused']:,} refused: {place}")
