"""What runs in a worker: it opens the run once, and searches the units that it is given."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import hitsieve
from hitsieve.errors import HitsieveError, SettingsError
from hitsieve.model import Run
from hitsieve.pipeline.cards import Share, share_of_worker
from hitsieve.pipeline.searcher import BATCH, Images
from hitsieve.pipeline.units import fingerprint
from hitsieve.settings import SourceSettings, SpotSettings
from hitsieve.source import open_run
from hitsieve.spots import Finder, Searched, build_finder
from hitsieve.spots.gpu import Streams

KEPT = 4
"""Runs that stay open: several may be searched in turn by one cluster."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is searched by many."""

    paths: tuple[Path, ...]
    """Absolute; a worker sees the files under the same names."""
    source: SourceSettings
    spots: SpotSettings
    version: str
    """Version of hitsieve."""
    fingerprint: str
    """Of the run as whoever writes it has opened it."""
    engine: str = "cpu"
    """auto, cpu or gpu: whether a worker uses the cards of its computer."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a worker found on a unit."""

    where: str
    """Computer."""
    searched: Searched
    who: str
    """What of the computer searched, in words."""
    failures: tuple[str, ...]
    """Why its graphics card is used no more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a worker cannot search: it would not find the same."""

    where: str
    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class _Ready:
    """A run that is open, and what it is searched with."""

    run: Run
    finder: Finder
    fingerprint: str
    share: Share


_opened: dict[Job, _Ready] = {}
_on_card: list[Streams] = []
"""Those of the one run that has memory on the card."""
_lock = Lock()


def search_unit(job: Job, images: Images) -> Found | Refused:
    """Search some images of a run; the same run stays open for the next ones.

    Parameters
    ----------
    job : Job
    images : int64, shape (n,)
        Indices in the run; negative ones are passed over.

    Returns
    -------
    Found or Refused
    """
    here = socket.gethostname()
    if job.version != hitsieve.__version__:
        what = f"has hitsieve {hitsieve.__version__}, and the run is of {job.version}"
        return Refused(here, what, "install the same version everywhere")
    try:
        ready = _prepared(job)
    except SettingsError as error:
        return Refused(here, f"cannot search: {error.what}", error.mend)
    except HitsieveError as error:
        return Refused(here, f"cannot open the run: {error.what}", error.mend)
    except OSError as error:
        return Refused(here, f"cannot open the run: {error}", "give it the same file systems")
    if ready.fingerprint != job.fingerprint:
        return Refused(here, f"sees other files as {job.paths[0]}", "give it the same file systems")
    streams = ready.share.streams
    scan = ready.finder.scan(ready.run, images, 1, BATCH) if streams is None else streams.scan(images, BATCH)
    with closing(scan):
        searched = Searched.joined(list(scan))
    return Found(here, searched, ready.share.who, () if streams is None else streams.failures)


def _prepared(job: Job) -> _Ready:
    with _lock:
        if job not in _opened:
            while len(_opened) >= KEPT:
                gone = _opened.pop(next(iter(_opened))).share.streams
                if gone is not None:
                    gone.close()
            _opened[job] = _ready(job)
        ready = _opened[job]
        if ready.share.streams is not None and ready.share.streams not in _on_card:
            for other in _on_card:
                other.rest()
            _on_card[:] = [ready.share.streams]
        return ready


def _ready(job: Job) -> _Ready:
    with open_run(list(job.paths), job.source) as source:
        run = source.run
        finder = build_finder(run, job.spots)
        mark = fingerprint(run)
    # Who is to be refused takes no card from others.
    engine = job.engine if mark == job.fingerprint else "cpu"
    return _Ready(run, finder, mark, share_of_worker(run, finder, engine))
