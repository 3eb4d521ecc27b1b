"""Whoever leaves while misses are being looked at again does not wait for them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import pytest

from hitsieve.errors import OutputError
from hitsieve.model import Run
from hitsieve.pipeline.searcher import BATCH, Searcher, working
from hitsieve.pipeline.second_look import look_again
from hitsieve.settings import RunSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.spots import build_finder
from hitsieve.testing import Simulated


class Slow:
    """A run that hands out its first image when no more work is taken, and remembers which it handed out."""

    def __init__(self, opened: OpenedRun, pool: ThreadPoolExecutor) -> None:
        self.opened = opened
        self.pool = pool
        self.asked = threading.Event()
        self.read: list[int] = []

    @property
    def run(self) -> Run:
        """The run."""
        return self.opened.run

    def stored(self, image: int) -> bytes:
        """The image, once the pool is being left."""
        self.read.append(image)
        self.asked.set()
        while True:
            try:
                self.pool.submit(int)
                time.sleep(0.001)
            except RuntimeError:
                return self.opened.stored(image)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError])
def test_leaving_drops_what_is_not_begun(simulated: Simulated, error: type[BaseException]) -> None:
    settings = RunSettings()
    images = np.arange(100)
    with open_run([simulated.master], settings.source) as opened:
        finder = build_finder(opened.run, settings.spots)
        with pytest.raises(error), working(1) as pool:
            slow = Slow(opened, pool)
            searcher = Searcher(
                cast("OpenedRun", slow), finder, lambda run, these: finder.scan(run, these, 1, BATCH), pool
            )
            look_again(searcher, images, images, None, settings)
            assert slow.asked.wait(240)
            raise error("stopped")
        assert slow.read == [0]
