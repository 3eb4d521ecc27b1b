"""Numbers about watched runs, for Prometheus: counted in the journal whenever somebody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hitsieve.errors import HitsieveError
from hitsieve.model import Closing
from hitsieve.pipeline.prometheus import Served
from hitsieve.pipeline.watch.counting import Counts, count
from hitsieve.pipeline.watch.rows import STEPS, Gone, State

STATES = (*get_args(State), *filter(None, get_args(Gone)))


class Metrics(Closing):
    """Serves the numbers over HTTP; use it in a `with` statement.

    Parameters
    ----------
    address : str
        [HOST]:PORT; without a host, all of the machine's.
    journal : Path
    top : Path
        The folder that is watched.

    Raises
    ------
    SettingsError
        The address makes no sense or is taken.
    """

    def __init__(self, address: str, journal: Path, top: Path) -> None:
        registry = CollectorRegistry()
        registry.register(_Numbers(journal, top))
        self._served = Served(address, registry)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._served.port

    def close(self) -> None:
        """Serve no more."""
        self._served.close()


class _Numbers(Collector):
    def __init__(self, journal: Path, top: Path) -> None:
        self._journal, self._top = journal, top

    def collect(self) -> Iterator[Metric]:
        try:
            counts = count(self._journal, self._top)
        except HitsieveError:
            counts = None
        yield _gauge("journal_readable", "Whether the journal can be read: 1, or 0", float(counts is not None))
        if counts is not None:
            yield from _numbers(counts, time.time())


def _numbers(counts: Counts, now: float) -> Iterator[Metric]:
    runs = GaugeMetricFamily("hitsieve_watch_runs", "Runs by state", labels=["state"])
    for state in STATES:
        runs.add_metric([state], counts.runs.get(state, 0))
    yield runs
    troubled = GaugeMetricFamily(
        "hitsieve_watch_troubled_runs", "Runs of which a step failed or is held", labels=["step", "state"]
    )
    in_vain = CounterMetricFamily(
        "hitsieve_watch_attempts_in_vain", "Attempts at a step that came to nothing", labels=["step"]
    )
    for step in STEPS:
        in_vain.add_metric([step], counts.in_vain.get(step, 0))
        for state in ("failed", "held"):
            troubled.add_metric([step, state], counts.troubled.get((step, state), 0))
    yield troubled
    yield in_vain
    age = 0.0 if counts.oldest is None else max(0.0, now - counts.oldest)
    yield _gauge(
        "oldest_seconds", "Since the oldest run was found that is neither done nor held; 0: there is none", age
    )
    yield _gauge("images", "Images of the runs that were sieved", counts.images)
    yield _gauge("hits", "Hits among them", counts.hits)
    if counts.heard is not None:
        yield _gauge("alive_seconds", "Since the watcher last said that it is alive", max(0.0, now - counts.heard))


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hitsieve_watch_{name}", about, value=value)
