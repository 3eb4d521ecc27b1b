"""What becomes of a series that has ended: it is sieved as a stored run, in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hitsieve.errors import HitsieveError, VerificationError
from hitsieve.model import State
from hitsieve.pipeline.apart import Apart, Died
from hitsieve.pipeline.deletion import delete
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live.spool import remove_series
from hitsieve.pipeline.release import ReleaseRequest, release
from hitsieve.pipeline.run import RunReport, run
from hitsieve.pipeline.verify import verify
from hitsieve.settings import RunSettings
from hitsieve.write import Outputs, remove_leftovers

ATTEMPTS = 2
"""Times that a series is sieved where the process that does it dies."""


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
    dropped: int = 0
    """Images of which nothing is kept any more."""


def sieve_apart(apart: Apart, job: Job) -> Sieved:
    """Sieve a series in another process, and wait; where that has died, another one tries once more."""
    outputs = Outputs.of(job.settings.write.output, job.master.name.removesuffix("_master.h5"), misses=True)
    for _ in range(ATTEMPTS):
        try:
            return apart.do(sieve, job)
        except Died:
            remove_leftovers(outputs)
        if any(path.exists() for path in outputs):
            why = "who sieved it has died after outputs had appeared: are they whole? see hitsieve release"
            return Sieved({}, None, (), (), why)
    return Sieved({}, None, (), (), "the process that sieved it has died twice, for want of memory perhaps")


def sieve(job: Job) -> Sieved:
    """Sieve a series, and remove what was received once the outputs are whole."""
    try:
        return _sieved(job)
    except HitsieveError as error:
        return Sieved({}, None, (), (), str(error))


def _sieved(job: Job) -> Sieved:
    report = run([job.master], job.settings, known=job.known)
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
        failures = verify(outputs.hits, master).failures
        if failures:
            raise VerificationError(f"the hits are not as they were received: {failures[0]}", mend="keep both")
        return ()
    request = ReleaseRequest((master,), outputs.hits, outputs.misses)
    report = release(request)
    if report.proof is None:
        what = f"hits and misses do not give back all that was received: {report.reasons[0]}"
        raise VerificationError(what, mend="keep both")
    delete(report.proof, request.proof)
    return (request.proof,)


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
