"""Hands units of images to the workers of a Dask cluster, and takes in order what they find.

Images never pass through here or through the scheduler: workers read them by themselves, and send spots back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from distributed import Future, KilledWorker
from distributed import TimeoutError as Overdue

import hitsieve
from hitsieve.errors import ServerError
from hitsieve.model import Run
from hitsieve.pipeline.cards import engine_for
from hitsieve.pipeline.cluster.joining import Members, gone, joined
from hitsieve.pipeline.cluster.worker import Found, Job, Refused, search_unit
from hitsieve.pipeline.searcher import Images, Scan, filled
from hitsieve.pipeline.units import SIZE, dwindling, fingerprint
from hitsieve.settings import RunSettings
from hitsieve.spots import Searched

AHEAD = 2
"""Units a thread that are under way: one is searched while the next one waits for it."""
TRIES = 2
"""How often a unit is given out whose workers die: each time Dask gives it to four."""
ASK = 1.0
"""Time (s) to wait for an answer before it is looked whether anybody is there."""
_log = logging.getLogger(__name__)


@contextmanager
def searching_elsewhere(run: Run, paths: Sequence[Path], settings: RunSettings, here: Scan) -> Iterator[Scan]:
    """Give the scan that a cluster does for a `with` statement.

    Parameters
    ----------
    run : Run
        As it was opened here.
    paths : sequence of Path
        What it was opened from.
    settings : RunSettings
        They ask for a cluster.
    here : Scan
        The scan that this process does, for images that a worker cannot read, or does not answer for.

    Raises
    ------
    SettingsError
        The cluster is not one that can be made.
    ServerError
        The scheduler does not answer, or no worker comes.
    """
    job = Job(
        paths=tuple(path.absolute() for path in paths),
        source=settings.source,
        spots=settings.spots,
        version=hitsieve.__version__,
        fingerprint=fingerprint(run),
        engine=engine_for(settings.engine, len(run)),
    )
    with joined(settings) as members:
        yield lambda of, images: _Scanning(members, (job, of, images), here)


@contextmanager
def begun(settings: RunSettings) -> Iterator[RunSettings]:
    """Begin the cluster that settings ask for, and give settings by which run after run is searched by it.

    Raises
    ------
    SettingsError, ServerError
        As for one run; or a worker has another version of hitsieve.
    """
    with joined(settings) as members:
        members.check_versions()
        update = {"scheduler": members.client.scheduler.address, "slurm": False}
        yield settings.model_copy(update={"cluster": settings.cluster.model_copy(update=update)})


@dataclass(slots=True)
class _Unit:
    """Images that are given out."""

    images: Images
    future: Future
    tries: int = 1


class _Scanning:
    """A search by a cluster that is under way."""

    def __init__(self, members: Members, what: tuple[Job, Run, Images], here: Scan) -> None:
        self._members, self._here = members, here
        self._job, self._run, images = what
        self._left = (images[part] for part in dwindling(self._run, images, self._takers))
        self._under_way: deque[_Unit] = deque()
        self._hung: list[Future] = []
        self._give_out()

    def __iter__(self) -> Iterator[Searched]:
        return self

    def __next__(self) -> Searched:
        self._give_out()
        if not self._under_way:
            raise StopIteration
        found = [self._answer(self._under_way[0])]
        n = len(self._under_way.popleft().images)
        # Whoever is behind with writing gets more at a time, which takes it little longer.
        while self._under_way and self._under_way[0].future.done():
            n += len(self._under_way[0].images)
            if n > SIZE:
                break
            found.append(self._answer(self._under_way[0]))
            self._under_way.popleft()
        return found[0] if len(found) == 1 else Searched.joined(found)

    def close(self) -> None:
        """Take back what is under way."""
        with suppress(OSError, Overdue, RuntimeError):
            self._members.client.cancel([*self._hung, *(unit.future for unit in self._under_way)])
        self._under_way.clear()
        self._left.close()

    def _give_out(self) -> None:
        """So much that all are busy, and no more: what is found waits here until it is written."""
        wanted = AHEAD * self._takers() + 1 - len(self._under_way)
        for images in islice(self._left, max(wanted, 0)):
            self._under_way.append(_Unit(images, self._submit(images)))

    def _takers(self) -> int:
        return max(self._members.look(), 1)

    def _submit(self, images: Images) -> Future:
        # The same images may be asked for twice, when workers have died: nothing is to be remembered by name.
        return self._members.client.submit(search_unit, self._job, images, pure=False)

    def _answer(self, unit: _Unit) -> Searched:
        began = time.monotonic()
        while True:
            try:
                answer = unit.future.result(timeout=ASK)
            except Overdue:
                self._members.look()
                if time.monotonic() - began > self._members.wait:
                    return self._instead(unit)
            except KilledWorker as error:
                if unit.tries >= TRIES:
                    what = f"workers die again and again with images {_named(unit.images)}: {error}"
                    raise ServerError(what, mend="see the log of a worker; hitsieve run without a cluster") from None
                _log.warning("workers died with images %s; they are given out again", _named(unit.images))
                unit.tries += 1
                unit.future = self._submit(unit.images)
            except Exception as error:  # noqa: BLE001 - whatever a worker raised is raised here
                if unit.future.cancelled() or (isinstance(error, OSError) and unit.future.status != "error"):
                    raise gone(error) from None
                what = f"a worker failed on images {_named(unit.images)}: {type(error).__name__}: {error}"
                mend = "see that hitsieve is installed where the workers are"
                raise ServerError(what, mend=mend) from None
            else:
                return self._taken(answer, unit.images)

    def _taken(self, answer: Found | Refused, images: Images) -> Searched:
        """What a worker found; images that it cannot read may be read here, where its file system has gone."""
        if isinstance(answer, Refused):
            raise ServerError(f"the worker on {answer.where} {answer.what}", mend=answer.mend)
        self._members.tell(answer)
        lost = [i for i, why in answer.searched.reasons.items() if why]
        if not lost:
            return answer.searched
        again = self._search(images[lost])
        if len(again.reasons) < len(lost) and answer.where not in self._members.blind:
            self._members.blind.add(answer.where)
            why = answer.searched.reasons[lost[0]]
            _log.warning("a worker on %s cannot read what is read here: %s", answer.where, why)
        return filled(answer.searched, lost, [again])

    def _instead(self, unit: _Unit) -> Searched:
        """What is found here on images that a worker keeps for itself."""
        what = "no answer for %g s about images %s; they are searched here"
        _log.warning(what, self._members.wait, _named(unit.images))
        # Whoever holds them counts as busy, and gets no more, as long as this is kept.
        self._hung.append(unit.future)
        return self._search(unit.images)

    def _search(self, images: Images) -> Searched:
        with closing(self._here(self._run, images)) as scan:
            return Searched.joined(list(scan))


def _named(images: Images) -> str:
    asked = images[images >= 0]
    return f"{asked[0]} to {asked[-1]}" if len(asked) else "none"
