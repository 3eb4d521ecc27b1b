"""What becomes of a series that has ended: it is sieved as a stored run, in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType

from hitsieve.errors import HitsieveError
from hitsieve.model import State
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.run import run
from hitsieve.settings import RunSettings

HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
LOOK = 1.0
"""Time (s) between looks at whether the process that made this one lives."""
NICE = 5
"""What comes in goes before what has come in."""


_busy = Lock()


@dataclass(frozen=True, slots=True)
class Job:
    """A series to be sieved."""

    master: Path
    settings: RunSettings
    known: Known
    keep: bool
    """Keep what was received."""


@dataclass(frozen=True, slots=True)
class Sieved:
    """What came of it."""

    counts: dict[str, int]
    min_spots: int | None
    outputs: tuple[Path, ...]
    problems: tuple[str, ...]
    failed: str = ""


class Apart:
    """Another process, in which one series after the other is sieved; Ctrl-C and the like do not reach it.

    It shares neither Python's lock with those who receive, nor their memory, nor, should it die, their end. Use it in a
    `with` statement; leaving waits for what it does.
    """

    def __init__(self) -> None:
        self._pool = _begun()

    def sieve(self, job: Job) -> Sieved:
        """Sieve a series, and wait."""
        try:
            return self._pool.submit(sieve, job).result()
        except BrokenProcessPool:
            self._pool = _begun()
            return Sieved({}, None, (), (), "the process that sieved it has died, for want of memory perhaps")

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()


def _begun() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_settle, initargs=(os.getpid(),))
    # A process inherits what its maker holds back: no moment is left in which a signal could end it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        # What it imports takes time; the first series need not wait for that.
        pool.submit(_ready)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pool


def _settle(parent: int) -> None:
    """Begin in the other process."""
    os.nice(NICE)
    Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process when the one that made it has died without a word, but end first what was begun."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    with _busy:
        os._exit(0)


def _ready() -> None:
    """Do nothing: whoever is asked to has imported this module before."""


def sieve(job: Job) -> Sieved:
    """Sieve a series, and remove what was received once the outputs are whole."""
    with _busy:
        try:
            return _sieved(job)
        except HitsieveError as error:
            return Sieved({}, None, (), (), str(error))


def _sieved(job: Job) -> Sieved:
    report = run([job.master], job.settings, known=job.known)
    summary, outputs = report.summary, report.outputs
    kept = tuple(outputs)
    if not job.keep:
        # It would show blanks in place of images that are gone.
        outputs.annotated.unlink()
        kept = tuple(path for path in outputs if path != outputs.annotated)
        shutil.rmtree(job.master.parent)
    counts = (summary.n_hits, summary.n_misses, summary.n_unreadable, summary.n_missing)
    names = (State.HIT, State.MISS, State.UNREADABLE, State.MISSING)
    return Sieved(
        counts={state.name.lower(): n for state, n in zip(names, counts, strict=True)},
        min_spots=summary.rule.min_spots,
        outputs=kept,
        problems=tuple(str(problem) for problem in report.problems),
    )
