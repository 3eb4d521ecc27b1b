"""What those who look on are told while series are received."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from hitsieve.model import SeriesKey

_log = logging.getLogger(__name__)
LiveState = Literal["hit", "miss", "unreadable", "missing", "later"]
"""As of images of a stored run; `later`: received and kept, and judged at the end of the series."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one image shortly after it came."""

    name: str
    """Of the series: prefix of its outputs."""
    key: SeriesKey
    image: int
    """Place in the series, from 0."""
    state: LiveState
    reason: str = ""
    """Why the image is unreadable or missing."""
    n_spots: int = -1
    """All spots; -1 where it was not searched, as below."""
    n_spots_counted: int = -1
    """Spots in the resolution range and outside ice bands."""
    n_saturated: int = -1
    background: float | None = None
    """Counts a pixel."""
    resolution: float | None = None
    """Estimate (angstrom)."""
    min_spots: int | None = None
    """Spots that were enough at that time."""
    final: bool = False
    """The end of the series cannot change the state."""
    dropped: bool = False
    """Nothing of the image is kept, by the veto."""
    seconds: float = 0.0
    """From the arrival of the message to the verdict."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A series is done."""

    name: str
    key: SeriesKey
    why: str
    """What ended it, in words."""
    counts: dict[str, int] = field(default_factory=dict)
    """Images of the series by final state: hit, miss, unreadable, missing; empty where it failed."""
    min_spots: int | None = None
    """Spots that are enough, in the final verdict."""
    received: int = 0
    """Images that came, doubles left out."""
    doubled: int = 0
    """Images that came again, and were left out."""
    later: int = 0
    """Images that were not judged when they came."""
    dropped: int = 0
    """Images of which nothing is kept any more: misses beyond the random sample, where that was asked for."""
    outputs: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    failed: str = ""
    """Why there are no outputs; empty where there are."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the receiver is."""

    held: int
    """Bytes that came and wait to be written and searched."""
    waiting: int
    """Images that wait for their verdict."""
    open: int
    """Series that have begun and not ended."""
    finishing: int
    """Series that have ended, and whose outputs are being written."""
    free: int
    """Bytes free where received images lie."""


class Watcher(Protocol):
    """Somebody who is told; calls come from several threads."""

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        """A series has begun."""

    def arrived(self, size: int) -> None:
        """An image of so many bytes came."""

    def judged(self, verdict: Verdict) -> None:
        """An image has its verdict."""

    def ended(self, ended: Ended) -> None:
        """A series is done."""

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        """A message was not used."""

    def load(self, load: Load) -> None:
        """How busy the receiver is, about once a second."""


class Everyone:
    """All who are told. One of them that fails is logged, once: it ends neither the series nor the others' news."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)
        self._failed: set[int] = set()

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        """A series has begun."""
        self._tell(lambda watcher: watcher.started(name, key, n_images))

    def arrived(self, size: int) -> None:
        """An image of so many bytes came."""
        self._tell(lambda watcher: watcher.arrived(size))

    def judged(self, verdict: Verdict) -> None:
        """An image has its verdict."""
        self._tell(lambda watcher: watcher.judged(verdict))

    def ended(self, ended: Ended) -> None:
        """A series is done."""
        self._tell(lambda watcher: watcher.ended(ended))

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        """A message was not used."""
        self._tell(lambda watcher: watcher.refused(kind, what))

    def load(self, load: Load) -> None:
        """How busy the receiver is."""
        self._tell(lambda watcher: watcher.load(load))

    def _tell(self, tell: Callable[[Watcher], None]) -> None:
        for number, watcher in enumerate(self._watchers):
            try:
                tell(watcher)
            except Exception:  # noqa: BLE001 - it is logged
                if number not in self._failed:
                    self._failed.add(number)
                    _log.exception("%s could not be told something; that is not said again", type(watcher).__name__)
