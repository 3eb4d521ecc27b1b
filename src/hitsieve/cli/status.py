"""`hitsieve status`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitsieve.cli.config import read_beamline
from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.screen import number_of
from hitsieve.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitsieve.pipeline.watch import Alive, RunRow, Step

TROUBLE = ("failed", "held")
SAYS = {
    "done": "done",
    "running": "at work",
    "waiting": "waiting",
    "failed": "to be tried again",
    "held": "held: they wait for you",
    "replaced": "replaced by others before they were done",
    "forgotten": "forgotten",
}
ERRORS = "errors"
MARKS = {"done": "done", "running": "now", "waiting": "-", "failed": "again", "held": "HELD"}


def status(
    *,
    config: Path | None = None,
    journal: Path | None = None,
    failed: Switch = False,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Show what hitsieve watch has done, what it is doing, what failed, and what mends it.

    Works while it runs, and when it does not. The exit code is 3 where a run failed or is held.

    Parameters
    ----------
    config
        Settings of the beamline, which may name the journal.
    journal
        The journal; by default what HITSIEVE_JOURNAL names, else watch.sqlite beside the local catalogue.
    failed
        Only runs that failed or are held.
    json
        Print all that is known as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    from hitsieve.pipeline.watch import Journal

    with Journal(place_of(config, journal), create=False) as opened:
        rows, watchers = opened.rows(), opened.watchers()
    shown = [row for row in rows if row.state in TROUBLE] if failed else rows
    if json:
        import json as encoder

        told = {"watchers": [asdict(one) for one in watchers], "runs": [_plain(row) for row in shown]}
        print(encoder.dumps(told, indent=2, default=str))
    else:
        if shown:
            _print(shown)
        _print_totals(rows, watchers)
    return SourceError.exit_code if any(row.state in TROUBLE for row in rows) else 0


def place_of(config: Path | None, journal: Path | None) -> Path:
    """The journal that is meant."""
    from hitsieve.pipeline.watch import default_journal

    if journal is not None:
        return journal.absolute()
    return (read_beamline(config).watch.journal if config is not None else None) or default_journal()


def _plain(row: RunRow) -> dict[str, Any]:
    return {**asdict(row), "state": row.state}


def _print(rows: Sequence[RunRow]) -> None:
    from hitsieve.pipeline.watch import STEPS

    table: list[tuple[str, ...]] = [("run", "found", *STEPS, "images", "hits", "master")]
    for row in rows:
        marks = {step.name: ERRORS if _found_errors(step) else MARKS[step.state] for step in row.steps}
        numbers = ("" if n is None else f"{n:,}" for n in (row.n_images, row.n_hits))
        cells = (marks.get(name, "") for name in STEPS)
        note = f"  ({row.gone})" if row.gone else ""
        table.append((str(row.key), _clock(row.found), *cells, *numbers, f"{row.path}{note}"))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]) - 1)]
    for line in table:
        print("  ".join((*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1])))
    print()
    for row in rows:
        told = [step for step in row.steps if _found_errors(step)]
        if row.next is not None and (row.next.said or row.next.state == "running"):
            told.append(row.next)
        for step in () if row.gone else told:
            print(f"run {row.key}: {_told(step)}")


def _found_errors(step: Step) -> bool:
    """Whether a check is done, and found errors: they fail no run, and are told all the same."""
    return step.name == "check" and step.state == "done" and " errors in " in step.said


def _told(step: Step) -> str:
    if step.state == "running":
        return f"{step.name} now: since {_clock(step.started or 0.0)}, attempt {step.attempts}"
    what = {"waiting": "waits", "done": "found"}.get(step.state, step.state)
    lines = [f"{step.name} {what}: {step.said}"]
    if step.mend:
        lines.append(f"    mend: {step.mend}")
    if step.state == "failed":
        when = "as soon as the watcher runs" if step.next_try <= time.time() else f"at {_clock(step.next_try)}"
        lines.append(f"    tried {step.attempts} times; again {when}")
    return "\n".join(lines)


def _print_totals(rows: Sequence[RunRow], watchers: Sequence[Alive]) -> None:
    counts = Counter(str(row.state) for row in rows)
    said = [f"{counts[state]:,} {says}" for state, says in SAYS.items() if counts[state]]
    images, hits = sum(row.n_images or 0 for row in rows), sum(row.n_hits or 0 for row in rows)
    found = f"{number_of(images, 'image')}, {number_of(hits, 'hit')}"
    print(f"{number_of(len(rows), 'run')}: {', '.join(said) or 'none yet'}; {found}")
    for one in watchers:
        print(
            f"watched: {one.top}, by process {one.pid} since {_clock(one.started)}, last heard of at {_clock(one.seen)}"
        )
    if not watchers:
        print("nobody watches: start hitsieve watch")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
