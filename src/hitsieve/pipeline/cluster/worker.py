"""What runs in a worker: it opens the run once, and searches the units that it is given."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import hitsieve
from hitsieve.errors import HitsieveError
from hitsieve.model import Run
from hitsieve.pipeline.searcher import BATCH, Images
from hitsieve.pipeline.units import fingerprint
from hitsieve.settings import SourceSettings, SpotSettings
from hitsieve.source import open_run
from hitsieve.spots import Finder, Searched, build_finder

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


@dataclass(frozen=True, slots=True)
class Found:
    """What a worker found on a unit."""

    where: str
    """Computer."""
    searched: Searched


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a worker cannot search: it would not find the same."""

    where: str
    what: str
    mend: str


_opened: dict[Job, tuple[Run, Finder, str]] = {}
"""Runs with their fingerprints."""
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
        run, finder, mark = _prepared(job)
    except HitsieveError as error:
        return Refused(here, f"cannot open the run: {error.what}", error.mend)
    except OSError as error:
        return Refused(here, f"cannot open the run: {error}", "give it the same file systems")
    if mark != job.fingerprint:
        return Refused(here, f"sees other files as {job.paths[0]}", "give it the same file systems")
    with closing(finder.scan(run, images, 1, BATCH)) as scan:
        return Found(here, Searched.joined(list(scan)))


def _prepared(job: Job) -> tuple[Run, Finder, str]:
    with _lock:
        if job not in _opened:
            while len(_opened) >= KEPT:
                del _opened[next(iter(_opened))]
            with open_run(list(job.paths), job.source) as source:
                finder = build_finder(source.run, job.spots)
                _opened[job] = (source.run, finder, fingerprint(source.run))
        return _opened[job]
