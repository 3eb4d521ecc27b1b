"""What becomes of a series that has ended: it is sieved as a stored run, in a process of its own."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hitsieve.errors import HitsieveError, VerificationError
from hitsieve.model import State
from hitsieve.pipeline.apart import SLOWEST, Apart, Died, Hung, goes_on
from hitsieve.pipeline.deletion import delete
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live.spool import remove_series
from hitsieve.pipeline.release import ReleaseRequest, release
from hitsieve.pipeline.run import RunReport, run
from hitsieve.pipeline.verify import verify
from hitsieve.settings import RunSettings
from hitsieve.write import Outputs, remove_leftovers

_log = logging.getLogger(__name__)
ATTEMPTS = 2
"""Times that a series is sieved where the process that does it dies, or hangs."""
ANSWER = 60.0
"""Time (s) within which the disk of the outputs answers, if it does at all."""


@dataclass(frozen=True, slots=True)
class Job:
    """A series to be sieved."""

    master: Path
    settings: RunSettings
    known: Known
    keep: bool
    """Keep what was received."""
    longest: float | None = None
    """Time (s) without progress after which it is taken for hung; None: it may take any time."""

    @property
    def outputs(self) -> Outputs:
        """Files that it makes, but for those of single pump states."""
        return Outputs.of(self.settings.write.output, self.stem, misses=True)

    @property
    def stem(self) -> str:
        """What their names begin with."""
        return self.master.name.removesuffix("_master.h5")


@dataclass(frozen=True, slots=True)
class Sieved:
    """What came of it."""

    counts: dict[str, int]
    min_spots: int | None
    outputs: tuple[Path, ...]
    problems: tuple[str, ...]
    failed: str = ""
    dropped: int = 0
    """Images of which nothing is kept any more."""


def longest_silence(hung: float, n_bytes: int) -> float:
    """Time (s) without progress after which the sieving of so many received bytes is taken for hung."""
    return hung + n_bytes / SLOWEST


def sieve_apart(apart: Apart, job: Job) -> Sieved:
    """Sieve a series in another process, and wait; where that has died, or hung, another one tries once more."""
    why = ""
    ends: list[Died] = []
    for attempt in range(ATTEMPTS):
        try:
            return apart.do(sieve, job, job.longest)
        except Died as died:
            ends.append(died)
            why = _why(ends)
            again = ", and another one tries once more" if attempt + 1 < ATTEMPTS else ""
            _log.warning("%s: %s%s", job.stem, died, again)
        try:
            # The disk of the outputs may be what does not answer: it is asked there, too.
            appeared = apart.do(_swept, job.outputs, ANSWER)
        except Died:
            return Sieved({}, None, (), (), f"{why}, and the disk of the outputs does not answer: {job.stem}")
        if appeared:
            why = "who sieved it has died after outputs had appeared: are they whole? see hitsieve release"
            return Sieved({}, None, (), (), why)
    return Sieved({}, None, (), (), why)


def _why(ends: Sequence[Died]) -> str:
    """Why there are no outputs, should it have been the last time."""
    if any(isinstance(died, Hung) for died in ends):
        return "the process that sieved it did not go on, and was ended; does a disk or share not answer?"
    return f"the process that sieved it has died{' twice' if len(ends) > 1 else ''}, for want of memory perhaps"


def _swept(outputs: Outputs) -> bool:
    """Remove what a process that died has left; whether outputs had appeared."""
    remove_leftovers((*outputs, *_of_states(outputs)))
    return any(path.exists() for path in outputs)


def _of_states(outputs: Outputs) -> set[Path]:
    """Files of hits of single pump states, by what is left of them: which states there are, only the run knows."""
    stem = outputs.hits.name.removesuffix("_hits.h5")
    left = re.compile(rf"\.({re.escape(stem)}_[A-Za-z0-9.+=-]+_hits\.h5)\.[0-9a-f]{{8}}\.tmp")
    with suppress(OSError), os.scandir(outputs.hits.parent) as entries:
        return {outputs.hits.with_name(of[1]) for entry in entries if (of := left.fullmatch(entry.name))}
    return set()


def sieve(job: Job) -> Sieved:
    """Sieve a series, and remove what was received once the outputs are whole."""
    try:
        return _sieved(job)
    except HitsieveError as error:
        return Sieved({}, None, (), (), str(error))


def _sieved(job: Job) -> Sieved:
    report = run([job.master], job.settings, known=job.known, step=goes_on)
    summary, outputs = report.summary, report.outputs
    states = {
        State.HIT: summary.n_hits,
        State.MISS: summary.n_misses,
        State.UNREADABLE: summary.n_unreadable,
        State.MISSING: summary.n_missing,
    }
    sieved = Sieved(
        counts={state.name.lower(): n for state, n in states.items()},
        min_spots=summary.rule.min_spots,
        outputs=tuple(outputs),
        problems=tuple(map(str, report.problems)),
        dropped=len(job.known.dropped.images),
    )
    if job.keep:
        return sieved
    if summary.veto is not None and summary.n_unreadable:
        what = f"{summary.n_unreadable} images cannot be read, which no veto drops; what was received is kept"
        return replace(sieved, problems=(*sieved.problems, f"{what}: {job.master}"))
    return _without_received(sieved, report, job.master)


def _without_received(sieved: Sieved, report: RunReport, master: Path) -> Sieved:
    """Remove what was received, once all that is to be kept of it is proven to be in the outputs."""
    outputs = report.outputs
    try:
        proof = _proven(master, outputs)
    except HitsieveError as error:
        return replace(sieved, problems=(*sieved.problems, f"{error.what}; what was received is kept: {master}"))
    # It would show blanks in place of images that are gone.
    left = [*_removed(outputs.annotated), *_removed(master.parent)]
    kept = tuple(path for path in (*outputs, *proof) if path != outputs.annotated)
    return replace(sieved, outputs=kept, problems=(*sieved.problems, *left), dropped=report.summary.n_dropped)


def _proven(master: Path, outputs: Outputs) -> tuple[Path, ...]:
    """Prove that received images can be removed, and say so in a file where all of them are kept.

    Parameters
    ----------
    master : Path
        What was received.
    outputs : Outputs
        With a file of misses, every byte and value of what was received must be in hits and misses; without it, every
        hit and every image of the random sample must be as it was received.

    Raises
    ------
    HitsieveError
        That is not so, or nobody can say.
    """
    if outputs.misses is None:
        failures = verify(outputs.hits, master, step=goes_on).failures
        if failures:
            raise VerificationError(f"the hits are not as they were received: {failures[0]}", mend="keep both")
        return ()
    request = ReleaseRequest((master,), outputs.hits, outputs.misses)
    report = release(request, progress=_goes_on)
    if report.proof is None:
        what = f"hits and misses do not give back all that was received: {report.reasons[0]}"
        raise VerificationError(what, mend="keep both")
    delete(report.proof, request.proof, _goes_on)
    return (request.proof,)


def _goes_on(done: int, total: int) -> None:
    del done, total
    goes_on()


def _removed(path: Path) -> tuple[str, ...]:
    """Remove a file, or the folder of a series; why it stays, nothing where it is gone."""
    try:
        if path.is_dir():
            remove_series(path)
        else:
            path.unlink()
    except OSError as error:
        return (f"{path}: cannot be removed: {error.strerror}; the outputs are whole, remove it by hand",)
    return ()
