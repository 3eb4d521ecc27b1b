"""Images of a series that is received, searched and judged as they come."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Condition, Lock

import numpy as np
import numpy.typing as npt

from hitsieve.model import Detector, PackedImage, Run, SeriesKey, SeriesStart
from hitsieve.pipeline.live.watching import Verdict
from hitsieve.pipeline.searcher import Images
from hitsieve.pipeline.veto import Veto
from hitsieve.settings import RunSettings, VerdictSettings
from hitsieve.spots import Finder, Searched, build_finder
from hitsieve.verdict import DEFAULT_MIN_SPOTS, calibrate, rate_spots
from hitsieve.write import ReceivedSeries

_log = logging.getLogger(__name__)
FIRST = 64
"""Images from which on a threshold is found, where none is given; then at twice as many, and so on."""
PACK = 256
"""Images whose spots are put together: many small arrays take more room than what they hold."""
MOST_WAITING = 1 << 28
"""Bytes of images that may wait for their verdict; others get theirs at the end of the series."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What the search of a series hangs on, but for settings, which are the same for all."""

    shape: tuple[int, int]
    dtype: np.dtype[np.generic]
    detector: Detector | None
    wavelength: float | None

    @classmethod
    def of(cls, start: SeriesStart | None, received: ReceivedSeries) -> Ground:
        """That of a series with this start and images of this kind."""
        stated = (None, None) if start is None else (start.detector, start.wavelength)
        return cls(received.shape, received.dtype, *stated)

    def same(self, other: Ground) -> bool:
        """Whether images are searched alike."""
        mine, others = ((x.shape, x.dtype, x.wavelength) for x in (self, other))
        if self.detector is None:
            return mine == others and other.detector is None
        return mine == others and self.detector.same(other.detector)


class Workers:
    """Those who search; they keep what they need for the last series, as the next mostly has the same detector.

    Parameters
    ----------
    pool : ThreadPoolExecutor
    tell : callable
        Called with each verdict, by those who search.
    """

    def __init__(self, pool: ThreadPoolExecutor, tell: Callable[[Verdict], None]) -> None:
        self.pool = pool
        self.tell = tell
        self._last: tuple[Ground, Run, Finder] | None = None

    def equipped(self, ground: Ground) -> tuple[Run, Finder] | None:
        """Run and finder that fit; None where the last series was another."""
        return self._last[1:] if self._last is not None and self._last[0].same(ground) else None

    def equip(self, ground: Ground, run: Run, settings: RunSettings) -> tuple[Run, Finder]:
        """Set up the finder for the detector, beam and pixel type of a run."""
        finder = build_finder(run, settings.spots)
        finder.set_up()
        self._last = (ground, run, finder)
        return self._last[1:]


class Judge:
    """Searches images of one series and says at once what they seem to be; remembers what it found.

    Parameters
    ----------
    equipment : (Run, Finder)
        Detector and beam, which are those of the series, and the finder for its images.
    named : (str, SeriesKey)
        The series.
    settings : RunSettings
    workers : Workers
    veto : Veto, optional
        By which images that are held are dropped.
    """

    def __init__(
        self,
        equipment: tuple[Run, Finder],
        named: tuple[str, SeriesKey],
        settings: RunSettings,
        workers: Workers,
        veto: Veto | None = None,
    ) -> None:
        self._run, self._finder = equipment
        self._named = named
        self._settings = settings.verdict
        self._pool = workers.pool
        self._tell = workers.tell
        self._threshold = Threshold(settings.verdict)
        self._sure = settings.verdict.min_spots is not None and sure(settings)
        self.veto = veto
        self.dropped: list[int] = []
        """Images that were held, and are not to be written."""
        self._decided: deque[tuple[int, PackedImage]] = deque()
        self._waiting = 0
        self._bytes = 0
        self._changed = Condition()
        self._found = _Found()

    @property
    def waiting(self) -> int:
        """Images that have no verdict yet."""
        return self._waiting

    def submit(self, image: int, packed: PackedImage, at: float, *, held: bool = False) -> bool:
        """Have an image searched that arrived at the time `at`; False where too many wait already.

        One that is held is not written yet: it comes out of `decided`, or is one of the `dropped`.
        """
        with self._changed:
            if self._bytes + len(packed.data) > MOST_WAITING and self._waiting:
                return False
            self._waiting += 1
            self._bytes += len(packed.data)
        self._pool.submit(self._judge, image, packed, at, held=held)
        return True

    def decided(self) -> tuple[int, PackedImage] | None:
        """An image that was held and is to be written; None where there is none now."""
        if not self._decided:
            return None
        image, packed = self._decided.popleft()
        with self._changed:
            self._bytes -= len(packed.data)
        return image, packed

    def so_far(self) -> tuple[tuple[Images, Searched], ...]:
        """What was found on the images that have a verdict."""
        return self._found.take()

    @property
    def min_spots(self) -> int:
        """Spots that are enough, as far as is known."""
        return self._threshold.min_spots

    def finish(self) -> tuple[tuple[Images, Searched], ...]:
        """Wait for all verdicts; what was found on the images."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)
        return self._found.take()

    def _judge(self, image: int, packed: PackedImage, at: float, *, held: bool) -> None:
        drop = False
        try:
            searched = search_packed(self._finder, packed)
            verdict = self._verdict(image, searched, at)
            vetoed = held and self._vetoes(verdict)
            self._tell(replace(verdict, dropped=True) if vetoed else verdict)
            self._found.add(image, searched)
            # Only an image of which all is known may go.
            drop = vetoed
        except Exception:  # noqa: BLE001 - the end of the series judges it again; nobody waits for this answer
            _log.exception("%s: image %d could not be judged at once", self._named[0], image)
        finally:
            with self._changed:
                if drop:
                    self.dropped.append(image)
                if held and not drop:
                    self._decided.append((image, packed))
                else:
                    self._bytes -= len(packed.data)
                self._waiting -= 1
                self._changed.notify_all()

    def _vetoes(self, verdict: Verdict) -> bool:
        """Whether an image is a miss whatever comes, and not one of the random sample."""
        sure_miss = verdict.state == "miss" and verdict.final
        return sure_miss and self.veto is not None and not self.veto.samples(verdict.image)

    def _verdict(self, image: int, searched: Searched, at: float) -> Verdict:
        name, key = self._named
        if searched.reasons:
            why = searched.reasons[0]
            return Verdict(name, key, image, "unreadable", why, final=True, seconds=time.monotonic() - at)
        counted, resolution = self._rated(image, searched)
        background = float(searched.background[0])
        min_spots = self._threshold.of(counted, background)
        hit = counted >= min_spots
        return Verdict(
            name,
            key,
            image,
            "hit" if hit else "miss",
            n_spots=int(searched.n_spots[0]),
            n_spots_counted=counted,
            n_saturated=int(searched.n_saturated[0]),
            background=background if np.isfinite(background) else None,
            resolution=resolution if np.isfinite(resolution) else None,
            min_spots=min_spots,
            final=self._sure or (hit and self._settings.min_spots is not None and self._settings.rule == "either"),
            seconds=time.monotonic() - at,
        )

    def _rated(self, image: int, searched: Searched) -> tuple[int, float]:
        """Counted spots and resolution of one image; without spots there is nothing to look at."""
        if not len(searched.x):
            return 0, float("nan")
        centroids, geometry = (searched.x, searched.y), (self._run.detector, self._run.beam)
        rated = rate_spots(np.array([image]), searched.offsets, centroids, geometry, self._settings)
        return int(rated.n_spots_counted[0]), float(rated.resolution[0])


def sure(settings: RunSettings) -> bool:
    """Whether spots alone decide, so that a number of them that is given makes verdicts final."""
    return settings.verdict.rule == "spots" or settings.index.indexing == "off"


def search_packed(finder: Finder, packed: PackedImage) -> Searched:
    """Find the spots of an image that is in memory."""
    if packed.codec is not None:
        return finder.find_stored(np.frombuffer(packed.data, np.uint8), packed.codec)
    return finder.find(np.frombuffer(packed.data, packed.dtype).reshape(packed.shape))


class Threshold:
    """How many spots are enough, as far as the images so far tell; safe to share between threads."""

    def __init__(self, settings: VerdictSettings) -> None:
        self._settings = settings
        self.min_spots = DEFAULT_MIN_SPOTS if settings.min_spots is None else settings.min_spots
        self._counts: list[int] = []
        self._backgrounds: list[float] = []
        self._next = FIRST
        self._lock = Lock()

    def of(self, counted: int, background: float) -> int:
        """Take in an image; the threshold for it."""
        if self._settings.min_spots is not None:
            return self.min_spots
        with self._lock:
            self._counts.append(counted)
            self._backgrounds.append(background)
            if len(self._counts) < self._next:
                return self.min_spots
            self._next *= 2
            counts: npt.NDArray[np.int32] = np.array(self._counts, dtype=np.int32)
            backgrounds = np.array(self._backgrounds, dtype=np.float32)
        found = calibrate(counts, background=backgrounds, false_hit_rate=self._settings.false_hit_rate)
        self.min_spots = found.min_spots
        return self.min_spots


class _Found:
    """What was found, packed; safe to share between threads."""

    def __init__(self) -> None:
        self._images: list[int] = []
        self._searched: list[Searched] = []
        self._packs: list[tuple[Images, Searched]] = []
        self._lock = Lock()

    def add(self, image: int, searched: Searched) -> None:
        with self._lock:
            self._images.append(image)
            self._searched.append(searched)
            if len(self._images) >= PACK:
                self._pack()

    def take(self) -> tuple[tuple[Images, Searched], ...]:
        with self._lock:
            if self._images:
                self._pack()
            return tuple(self._packs)

    def _pack(self) -> None:
        order = np.argsort(self._images)
        images = np.array(self._images, dtype=np.int64)[order]
        self._packs.append((images, Searched.joined([self._searched[i] for i in order.tolist()])))
        self._images, self._searched = [], []
