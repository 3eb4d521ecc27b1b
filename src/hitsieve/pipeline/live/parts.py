"""Hits of a series that still comes: a file for each thousand images, by what is known so far."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from hitsieve.model import Closing
from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live.finishing import Job, sieve_apart
from hitsieve.settings import IndexSettings, RunSettings
from hitsieve.write import Outputs, Part

_log = logging.getLogger(__name__)


class Parts(Closing):
    """Who writes them, in a process of its own, one after the other; use it in a `with` statement."""

    def __init__(self) -> None:
        self._apart = Apart()
        self._pool = ThreadPoolExecutor(1, "parts")

    def begin(self, part: Part, known: Known, settings: RunSettings, longest: float) -> Future[None]:
        """Have the hits of a part written; the future is done when they are, or cannot be, which is logged.

        Parameters
        ----------
        part : Part
        known : Known
            Of the whole series, as far as it came.
        settings : RunSettings
            Those of the series, with the number of spots that is enough.
        longest : float
            Time (s) without progress after which it is taken for hung.
        """
        job = Job(part.master, _settings(settings), _known(part, known), keep=True, longest=longest)
        return self._pool.submit(self._write, job, part)

    def _write(self, job: Job, part: Part) -> None:
        stem = part.master.name.removesuffix("_master.h5")
        outputs = Outputs.of(job.settings.write.output, stem)
        try:
            sieved = sieve_apart(self._apart, job)
            if sieved.failed:
                _log.warning("%s: the hits of this part are not written before the end: %s", stem, sieved.failed)
                return
            # The rest is of the whole series, and comes with it.
            for path in (outputs.annotated, outputs.images, outputs.summary):
                path.unlink(missing_ok=True)
        except Exception as error:  # noqa: BLE001 - the end of the series writes all hits, whatever becomes of a part
            _log.warning("%s: %s: %s", stem, type(error).__name__, error)
            return
        finally:
            # Whoever looks for runs where what was received is kept would find its images twice.
            with suppress(OSError):
                part.master.unlink(missing_ok=True)
        last = part.first + part.n - 1
        _log.info("%d hits of images %d to %d: %s", sieved.counts["hit"], part.first, last, outputs.hits)

    def close(self) -> None:
        """Write no more than has begun."""
        self._pool.shutdown()
        self._apart.close()


class Arriving:
    """Which data files of a series are full: all their images have come."""

    def __init__(self) -> None:
        self._came: Counter[int] = Counter()
        self.writing: list[Future[None]] = []
        """Parts that are written."""

    def is_full(self, part: int, size: int) -> bool:
        """Count an image that has come; whether it was the last of its part."""
        self._came[part] += 1
        return self._came[part] == size

    def wait(self) -> None:
        """Wait for those that are written: what they are made from goes at the end."""
        for future in self.writing:
            future.result()


def _settings(settings: RunSettings) -> RunSettings:
    """Spots alone decide, nothing but hits is kept, and nobody is told: that comes with the whole series."""
    write = settings.write.model_copy(update={"misses": "sample", "audit_min": 0, "audit_fraction": 0.0})
    no_pump = {"pump": None, "pump_dataset": None, "pump_csv": None}
    return settings.model_copy(
        update={
            "write": write.model_copy(update={"split_pump": False}),
            "source": settings.source.model_copy(update=no_pump),
            "index": IndexSettings(indexing="off"),
            "verdict": settings.verdict.model_copy(update={"rule": "either", "second_look": 0}),
            "catalogue": settings.catalogue.model_copy(update={"no_catalogue": True}),
        }
    )


def _known(part: Part, known: Known) -> Known:
    """What is known of the images of a part, by their places in it."""
    found = []
    for images, searched in known.found:
        # A pack is in order of its images.
        first, end = np.searchsorted(images, [part.first, part.first + part.n]).tolist()
        if first < end:
            found.append((images[first:end] - part.first, searched.part(first, end)))
    here = range(part.first, part.first + part.n)
    return Known(tuple(found), {i - part.first: why for i, why in known.missing.items() if i in here})
