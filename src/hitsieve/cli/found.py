"""Runs that a search finds, as a table, CSV or JSON on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hitsieve.cli.screen import number_of

if TYPE_CHECKING:
    from hitsieve.catalogue import Found

Form = Literal["table", "csv", "json"]

WIDEST = 24
"""Letters of a text in the table, but for the last column."""


def print_found(place: Path, query: str, kind: Form, limit: int | None = None) -> None:
    """Search a catalogue and print what is found.

    Raises
    ------
    SettingsError
        The query is wrong.
    SourceError
        There is no catalogue, or it cannot be read.
    """
    from hitsieve.catalogue import Catalogue
    from hitsieve.catalogue.query import parse

    # A wrong query is wrong also where there is no catalogue yet.
    parse(query)
    with Catalogue(place) as catalogue:
        found = catalogue.search(query)
        print_runs(found[:limit], kind, lambda one: catalogue.record(one.facts["id"]).model_dump(mode="json"))
        total = len(catalogue)
    among = f"{len(found):,} of {number_of(total, 'run')}" if found else f"no run found among {total:,}"
    told = f"{among} in {place}"
    print_count(told, len(found), kind, limit)


def print_runs(
    shown: Sequence[Found], kind: Form, whole: Callable[[Found], dict[str, Any]], *, place: str = "summary"
) -> None:
    """Print runs; as JSON all that `whole` gives of each. `place` is what the column of places is called."""
    if kind == "json":
        _print_json(shown, whole)
    elif kind == "csv":
        _print_csv(shown)
    elif shown:
        _print_table(shown, place)


def print_count(told: str, n_found: int, kind: Form, limit: int | None) -> None:
    """Say how many there are, and whether all were shown."""
    more = f", the first {limit:,} shown" if limit is not None and limit < n_found else ""
    # The line is for people; what a program reads stays clean.
    print(f"{told}{more}", file=sys.stdout if kind == "table" else sys.stderr)


def _print_json(found: Sequence[Found], whole: Callable[[Found], dict[str, Any]]) -> None:
    import json

    records = [whole(one) if one.strain is None else {**whole(one), "strain": one.strain} for one in found]
    print(json.dumps(records, indent=2))


def _print_csv(found: Sequence[Found]) -> None:
    import csv

    from hitsieve.catalogue.query import FIELDS

    strained = any(one.strain is not None for one in found)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*FIELDS, *(["strain"] if strained else [])])
    for one in found:
        row = [_plain(one.facts[name]) for name in FIELDS]
        writer.writerow([*row, *([one.strain] if strained else [])])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return "; ".join(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _print_table(found: Sequence[Found], place: str) -> None:
    rows = [{**_row(one), place: one.facts["place"]} for one in found]
    # A column of which nothing is known says nothing.
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names[:-1]}
    for row in ({name: name for name in names}, *rows):
        print("  ".join((*(f"{row[name]:<{widths[name]}}" for name in names[:-1]), row[names[-1]])).rstrip())
    print()


def _row(one: Found) -> dict[str, str]:
    facts = one.facts
    cell = [facts[name] for name in ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")]
    return {
        "date": f"{facts['date']:%Y-%m-%d %H:%M}",
        "run": _short(facts["stem"]),
        "sample": _short(facts["sample_name"] or facts["sample_id"] or ""),
        "images": f"{facts['n_images']:,}",
        "hit rate": _percent(facts["hit_rate"]),
        "indexed": _percent(facts["indexing_rate"]),
        "resolution": "" if facts["resolution"] is None else f"{facts['resolution']:.2f}",
        "cell": "" if None in cell else " ".join((*(f"{value:.4g}" for value in cell), facts["centring"] or "")),
        "strain": "" if one.strain is None else f"{100 * one.strain:.2f} %",
        "pump": _short(", ".join(facts["pump"] or ())),
    }


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
