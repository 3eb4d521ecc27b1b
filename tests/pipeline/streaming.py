"""Series that are sent and received, through real sockets, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Literal

import cbor2
import h5py
import numpy as np
import pyarrow.parquet as pq

from hitsieve.model import SeriesKey
from hitsieve.pipeline.live import Ended, Load, Verdict, Watcher, receive
from hitsieve.settings import LiveSettings, RunSettings
from hitsieve.source import open_run
from hitsieve.testing.stream import StreamedSeries, StreamSender

PATIENCE = 240.0
"""Longest time (s) that a test waits for what must come."""


class Seen:
    """A Watcher that remembers."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.verdicts: list[Verdict] = []
        self.ends: list[Ended] = []
        self.refusals: list[tuple[str, str]] = []
        self.bytes = 0
        self._lock = Lock()

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        self.names.append(name)

    def arrived(self, size: int) -> None:
        self.bytes += size

    def judged(self, verdict: Verdict) -> None:
        with self._lock:
            self.verdicts.append(verdict)

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        self.refusals.append((kind, what))

    def load(self, load: Load) -> None:
        pass


class Receiving:
    """A receiver in a thread; leaving the `with` statement waits for the series it wants, or stops it."""

    def __init__(
        self, addresses: Sequence[str], settings: RunSettings, *others: Watcher, stop: bool = False, **live: Any
    ) -> None:
        self.patience = PATIENCE
        self.seen = Seen()
        self.ended: list[Ended] = []
        self.stop = Event()
        self._stops = stop
        self._error: Exception | None = None
        # What comes through one socket may be far behind what comes through another.
        chosen = LiveSettings.model_validate({"end_wait": PATIENCE} | live)

        def go() -> None:
            try:
                self.ended = receive(addresses, settings, chosen, watchers=[*others, self.seen], stop=self.stop)
            except Exception as error:  # noqa: BLE001 - raised where the test waits
                self._error = error

        self._thread = Thread(target=go)

    def __enter__(self) -> Receiving:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None or self._stops:
            self.stop.set()
        self._thread.join(self.patience)
        assert not self._thread.is_alive()
        if error is None and self._error is not None:
            raise self._error


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    waited = Event()
    for _ in range(int(PATIENCE / 0.02)):
        if true():
            return
        waited.wait(0.02)
    raise AssertionError("it never came to be")


def into(folder: Path, **write: object) -> RunSettings:
    rooms = {"write": {"output": folder} | write, "verdict": {"min_spots": 8, "second_look": 0}}
    return RunSettings.model_validate(rooms | {"catalogue": {"no_catalogue": True}, "workers": 2})


def series_of(master: Path, series_id: int) -> StreamedSeries:
    with open_run(master) as opened:
        return StreamedSeries.of(opened, series_id)


def states(table: Path) -> list[str]:
    column: list[str] = pq.read_table(table)["state"].to_pylist()
    return column


def end(sender: StreamSender, series_id: int, unique: str = "") -> None:
    sender.raw(cbor2.dumps({"type": "end", "series_id": series_id, "series_unique_id": unique}))


def kept_chunks(hits: Path) -> dict[int, bytes]:
    """SHA-256 of the chunk of each hit, by image."""
    with h5py.File(hits) as file:
        process = file["entry/hit_finding"]
        return dict(zip(process["source_image"][()].tolist(), process["sha256"][()].tolist(), strict=True))


def peaks(hits: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Everything about the peaks of the hits."""
    with h5py.File(hits) as file:
        return {name: file["entry/MX"][name][()] for name in file["entry/MX"]}
