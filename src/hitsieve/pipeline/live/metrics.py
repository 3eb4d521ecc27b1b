"""Numbers about a receiver, for Prometheus."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from hitsieve.model import Closing, SeriesKey
from hitsieve.pipeline.live.watching import Ended, Load, Verdict
from hitsieve.pipeline.prometheus import Served

LATENCIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper ends (s) of the histogram's bins."""


class Metrics(Closing):
    """Counts what a Watcher is told, and serves the counts over HTTP; use it in a `with` statement.

    Parameters
    ----------
    address : str
        [HOST]:PORT; without a host, all of the machine's.

    Raises
    ------
    SettingsError
        The address makes no sense or is taken.
    """

    def __init__(self, address: str) -> None:
        registry = CollectorRegistry()
        self._images = Counter(
            "hitsieve_images", "Images by state, as they were judged when they came", ["state"], registry=registry
        )
        self._bytes = Counter("hitsieve_received_bytes", "Bytes of messages with images", registry=registry)
        self._refused = Counter("hitsieve_refused_messages", "Messages not used", ["kind"], registry=registry)
        self._series = Counter("hitsieve_series", "Series by what became of them", ["result"], registry=registry)
        self._final = Counter("hitsieve_final_images", "Images by final state", ["state"], registry=registry)
        self._dropped = Counter("hitsieve_dropped_images", "Images of which nothing is kept", registry=registry)
        self._latency = Histogram(
            "hitsieve_latency_seconds", "From message to verdict", buckets=LATENCIES, registry=registry
        )
        named = {
            "held": ("hitsieve_held_bytes", "Bytes that wait to be written and searched"),
            "waiting": ("hitsieve_waiting_images", "Images that wait for their verdict"),
            "open": ("hitsieve_open_series", "Series that have begun and not ended"),
            "finishing": ("hitsieve_finishing_series", "Series whose outputs are being written"),
            "free": ("hitsieve_spool_free_bytes", "Bytes free where received images lie"),
        }
        self._load = {name: Gauge(*about, registry=registry) for name, about in named.items()}
        self._served = Served(address, registry)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._served.port

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        """Count nothing: `load` tells of open series."""

    def arrived(self, size: int) -> None:
        """Count the bytes of an image."""
        self._bytes.inc(size)

    def judged(self, verdict: Verdict) -> None:
        """Count an image."""
        self._images.labels(verdict.state).inc()
        if verdict.seconds:
            self._latency.observe(verdict.seconds)

    def ended(self, ended: Ended) -> None:
        """Count a series and its images."""
        self._series.labels("failed" if ended.failed else "sieved").inc()
        self._dropped.inc(ended.dropped)
        for state, n in ended.counts.items():
            self._final.labels(state).inc(n)

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        """Count a message that was not used."""
        self._refused.labels(kind).inc()

    def load(self, load: Load) -> None:
        """Set the gauges."""
        for name, gauge in self._load.items():
            gauge.set(getattr(load, name))

    def close(self) -> None:
        """Serve no more."""
        self._served.close()
