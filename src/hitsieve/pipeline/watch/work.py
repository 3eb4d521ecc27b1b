"""One run is seen to, in a process of its own: as many steps as can be done now, under a lock that dies with it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitsieve.errors import HitsieveError, OutputError
from hitsieve.pipeline.apart import goes_on, is_asked_to_stop
from hitsieve.pipeline.claim import claimed
from hitsieve.pipeline.watch.journal import Journal
from hitsieve.pipeline.watch.mending import Later, judge
from hitsieve.pipeline.watch.rows import RUN, RunRow, Stamp, is_folder
from hitsieve.pipeline.watch.settings import BeamlineSettings, root_of
from hitsieve.pipeline.watch.steps import DO, Stopped


@dataclass(frozen=True, slots=True)
class Job:
    """A run to be seen to."""

    journal: Path
    key: int
    settings: BeamlineSettings


@dataclass(frozen=True, slots=True)
class Worked:
    """What came of it."""

    what: Literal["seen to", "claimed", "stopped", "not begun"]
    why: str = ""
    """Why it could not be begun."""


def work(job: Job) -> Worked:
    """See to a run; what came of each step is in the journal."""
    try:
        with Journal(job.journal, create=False) as journal:
            return _seen_to(job, journal)
    except (HitsieveError, OSError) as error:
        # The journal itself cannot be written, or nothing can where the outputs go.
        return Worked("not begun", str(error))


def _seen_to(job: Job, journal: Journal) -> Worked:
    row = journal.row(job.key)
    if row is None or row.next is None or row.folder is None:
        return Worked("seen to")
    if _replaced(row, journal):
        return Worked("seen to")
    # It is known before the lock is asked for: that would make the folder.
    hindrance = _hindrance(row, job.settings)
    if hindrance is not None:
        return _hindered(row, journal, hindrance, job.settings)
    try:
        with claimed(row.folder, row.stem) as mine:
            if not mine:
                return Worked("claimed")
            while _one_step(job, journal):
                pass
    except OutputError as error:
        return _hindered(row, journal, error, job.settings)
    return Worked("stopped" if is_asked_to_stop() else "seen to")


def _hindered(row: RunRow, journal: Journal, why: HitsieveError, settings: BeamlineSettings) -> Worked:
    """Nothing can be done now; said in the journal, unless somebody who may be at work would be contradicted."""
    now = journal.row(row.key)
    if now is None or now.next is None or now.next.state == "running":
        return Worked("not begun", str(why))
    journal.begin(row.key, now.next.name)
    _settle(journal, row, why, settings)
    return Worked("seen to")


def _one_step(job: Job, journal: Journal) -> bool:
    """Do the next step, if there is one for now; whether another one may follow."""
    # Whoever had the run before may have done it.
    row = journal.row(job.key)
    if row is None or row.gone or is_asked_to_stop():
        return False
    step = row.next
    if step is None or not step.is_due(time.time()):
        return False
    journal.begin(row.key, step.name)
    goes_on()
    try:
        said = DO[step.name](row, job.settings, journal)
    except Stopped:
        journal.wait(row.key, step.name)
        return False
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes of this run alone
        _settle(journal, row, error, job.settings)
        return False
    journal.done(row.key, step.name, said)
    return True


def _settle(journal: Journal, row: RunRow, error: Exception, settings: BeamlineSettings) -> None:
    now = journal.row(row.key)
    if now is None or now.next is None or _replaced(now, journal):
        return
    outcome = judge(error, now, now.next, settings.watch)
    journal.fail(row.key, now.next.name, (outcome.said, outcome.mend), outcome.state, outcome.next_try)


def _replaced(row: RunRow, journal: Journal) -> bool:
    """Whether another master has taken the place of this one before the run was done; it is another run."""
    seen = Stamp.of(row.path)
    if seen is None or seen.identity == row.identity:
        return False
    journal.mark(row.key, "replaced")
    return True


def _hindrance(row: RunRow, settings: BeamlineSettings) -> Later | None:
    """Why nothing can be done now: a share is away."""
    if row.step(RUN).state != "done":
        if Stamp.of(row.path) is None:
            return Later(f"{row.path}: is not there", mend="bring back the share that it is on")
        root = root_of(settings.watch, row.top)
        if not is_folder(root):
            return Later(f"{root}: is not there", mend="make the folder, or bring back the share that it is on")
    elif row.folder is not None and not is_folder(row.folder):
        return Later(f"{row.folder}: is not there", mend="bring back the share that it is on")
    return None
