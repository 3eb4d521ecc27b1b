"""Results that are open from one request to the next; they are closed when others were asked for since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hitsieve.pipeline.view.image import Picture, RunImages
from hitsieve.pipeline.view.pyramid import Recent
from hitsieve.serve.refusals import Gone, NotFound
from hitsieve.serve.runs import Runs, Served

MOST_OPEN = 8
"""Runs whose results stay open; each has the mask, and perhaps the bins, of a detector in memory."""


@dataclass(slots=True)
class _Open:
    images: RunImages
    users: int = 0
    """Requests that use it now."""
    left: bool = False
    """No request is to get it any more: it is closed when the last one is done."""


class OpenedRuns:
    """Images of runs, for requests; may be shared between threads.

    Parameters
    ----------
    runs : Runs
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._recent: Recent[Picture] = Recent()
        self._lock = threading.Lock()
        self._opening: dict[Hashable, threading.Lock] = {}
        self._open: OrderedDict[tuple[Hashable, ...], _Open] = OrderedDict()

    @contextmanager
    def images(self, identity: str) -> Iterator[tuple[Served, RunImages]]:
        """Images of a run, for one request.

        Raises
        ------
        NotFound, Gone, Forbidden
            There is no such run, its results are gone, or they are not to be shown.
        SourceError
            Its results are damaged.
        """
        served = self._runs.served(identity)
        one = self._taken(served)
        try:
            yield served, one.images
        finally:
            self._give_back(one)

    def _taken(self, served: Served) -> _Open:
        rethought = served.summary.verdict_on
        if rethought is not None and not served.outputs.annotated.exists():
            what = f"{served.record.stem} was judged anew by hitsieve rethink, which wrote no results of single images"
            raise NotFound(
                what, mend=f"look at the images of the run itself, {rethought}, or call rethink again with --hits"
            )
        annotated = self._runs.allowed(served.outputs.annotated, of=served.record)
        try:
            told = [path.stat() for path in (served.outputs.summary, annotated)]
        except OSError:
            raise Gone(f"results of {served.record.stem} are not there any more", mend="bring them back") from None
        key = (served.record.id, annotated, *((one.st_mtime_ns, one.st_size, one.st_ino) for one in told))
        found = self._found(key)
        if found is not None:
            return found
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        # A run on a slow disk keeps none but its own visitors waiting.
        with opening:
            found = self._found(key)
            try:
                return self._entered(key, self._opened(served)) if found is None else found
            finally:
                with self._lock:
                    self._opening.pop(key, None)

    def _entered(self, key: tuple[Hashable, ...], images: RunImages) -> _Open:
        made = _Open(images, users=1)
        with self._lock:
            for other in [other for other in self._open if other[0] == key[0]]:
                self._leave(other)
            self._open[key] = made
            while len(self._open) > MOST_OPEN:
                self._leave(next(iter(self._open)))
        return made

    def _found(self, key: tuple[Hashable, ...]) -> _Open | None:
        with self._lock:
            found = self._open.get(key)
            if found is not None:
                self._open.move_to_end(key)
                found.users += 1
            return found

    def _opened(self, served: Served) -> RunImages:
        def hold(path: Path, source: bool) -> AbstractContextManager[Path]:
            return self._runs.holding(path, of=served.record, source=source)

        stored = self._runs.open_results(served)
        try:
            images = RunImages(stored, self._recent, hold, confined=self._runs.confined)
            # Read once, and not by each of the first requests at the same time.
            _ = images.run
        except BaseException:
            stored.close()
            raise
        return images

    def _leave(self, key: tuple[Hashable, ...]) -> None:
        one = self._open.pop(key)
        one.left = True
        if not one.users:
            one.images.stored.close()

    def _give_back(self, one: _Open) -> None:
        with self._lock:
            one.users -= 1
            if one.left and not one.users:
                one.images.stored.close()
