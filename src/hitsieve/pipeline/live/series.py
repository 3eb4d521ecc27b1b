"""One series while it is received: what came, where it is kept, and who judges it."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hitsieve.errors import OutputError
from hitsieve.model import PackedImage, SeriesImage, SeriesKey, SeriesStart
from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live.finishing import Job, Sieved, longest_silence, sieve_apart
from hitsieve.pipeline.live.judging import Ground, Judge, Workers
from hitsieve.pipeline.live.lost import keep_numbers
from hitsieve.pipeline.live.parts import Arriving, Parts
from hitsieve.pipeline.live.watching import Ended, Verdict
from hitsieve.pipeline.veto import Dropped, Veto
from hitsieve.settings import RunSettings
from hitsieve.source import open_run
from hitsieve.write import ReceivedSeries

_log = logging.getLogger(__name__)
AHEAD = 100_000
"""How far the number of an image may be beyond those announced and those received."""


@dataclass(frozen=True, slots=True)
class Means:
    """What all series share."""

    settings: RunSettings
    spool: Path
    keep: bool
    in_doubt: RunSettings | None
    """Sure misses are not written; how a series is sieved of which none is sure. None: all images are written."""
    workers: Workers
    apart: Apart
    hung: float
    """Time (s) without progress after which sieving a series is taken for hung; more where it is large."""
    parts: Parts | None = None
    """Who writes hits while a series comes; None: nobody does."""


@dataclass(slots=True)
class Series:
    """A series that has begun and not ended; belongs to the thread that receives."""

    key: SeriesKey
    name: str
    means: Means
    last: float
    """When something of it came, by `time.monotonic`."""
    start: SeriesStart | None = None
    began_on: set[int] = field(default_factory=set)
    """Sockets that its start came through."""
    end_came: bool = False
    again: bool = False
    """Another series had the same key: only sockets that its start came through tell of it."""
    left_on: set[int] = field(default_factory=set)
    """Sockets that its end, or the start of a later series, came through: no more of it can come there."""
    closing: float | None = None
    """When it ends, whether or not more comes; None: not yet."""
    why: str = ""
    """What will have ended it."""
    n_received: int = 0
    n_doubled: int = 0
    n_later: int = 0
    _seen: bytearray = field(default_factory=bytearray)
    _missing: dict[int, str] = field(default_factory=dict)
    _received: ReceivedSeries | None = None
    _judge: Judge | None = None
    _unkept: str = ""
    """Why images cannot be kept, as it was told."""
    _odd: tuple[SeriesImage, float] | None = None
    """The first image, and when it arrived, where it is not as the start states."""
    _arriving: Arriving = field(default_factory=Arriving)
    _differs: bool = False
    """Other sockets state other geometry or another mask."""

    @property
    def whole(self) -> bool:
        """All images that were announced have come."""
        return self.start is not None and self.start.n_images is not None and self.n_received >= self.start.n_images

    @property
    def waiting(self) -> int:
        """Images that wait for their verdict."""
        return 0 if self._judge is None else self._judge.waiting

    def adopt(self, start: SeriesStart) -> None:
        """Take a start that came through one more socket; the first counts, and what was found without it does not."""
        if self.start is not None:
            mine = self.start.detector
            same = start.detector is None if mine is None else mine.same(start.detector)
            self._differs |= not same or start.wavelength != self.start.wavelength
            return
        self.start = start
        if self._received is not None:
            self._received.restate(start)
            self._judge = self._begun(self._received)

    def takes(self, number: int) -> str:
        """Why there can be no image of this number now; empty where there can."""
        announced = (self.start.n_images if self.start else None) or 0
        if number >= max(announced, self.n_received + AHEAD):
            return f"{self.name}: image {number} is far beyond the {announced} announced"
        if number < len(self._seen) and self._seen[number]:
            return f"{self.name}: image {number} came again"
        return ""

    def add(self, image: SeriesImage, at: float) -> None:
        """Keep an image that arrived at the time `at`, and have it judged."""
        number = image.number
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        self._seen[number] = 1
        self.n_received += 1
        for one, came in self._in_order(image, at):
            self._take(one, came)
        if self.means.parts is not None:
            self._write_part(self.means.parts, number)

    def _write_part(self, parts: Parts, number: int) -> None:
        """Have hits written, where this image was the last that was to come of its part."""
        place, size = ReceivedSeries.part_of(number)
        # Images are counted before any of them can be kept, too.
        is_full, received = self._arriving.is_full(place, size), self._received
        if not is_full or received is None or self._judge is None:
            return
        try:
            part = received.part(place)
        except OutputError as error:
            _log.warning("%s: hits are not written before the end: %s", self.name, error)
            return
        if part is not None:
            update = {"verdict": self.means.settings.verdict.model_copy(update={"min_spots": self._judge.min_spots})}
            settings = self.means.settings.model_copy(update=update)
            known = Known(self._judge.so_far(), self._missing.copy())
            longest = longest_silence(self.means.hung, received.n_bytes)
            self._arriving.writing.append(parts.begin(part, known, settings, longest))

    def _in_order(self, image: SeriesImage, at: float) -> list[tuple[SeriesImage, float]]:
        """What is to be taken now: the first image tells what the others must be like; an odd one waits for another."""
        if image.packed is None:
            return [(image, at)]
        odd, self._odd = self._odd, None
        if odd is None and self._received is None and self._is_odd(image.packed):
            self._odd = (image, at)
            return []
        if odd is None:
            return [(image, at)]
        return [odd, (image, at)] if self._is_odd(image.packed) else [(image, at), odd]

    def _is_odd(self, packed: PackedImage | None) -> bool:
        """Whether an image is not as the start of the series states."""
        if packed is None or self.start is None:
            return False
        size = None if self.start.detector is None else self.start.detector.shape
        kind = self.start.stated.get("image_dtype")
        return size not in (None, packed.shape) or (isinstance(kind, str) and kind != packed.dtype.name)

    def _take(self, image: SeriesImage, at: float) -> None:
        number = image.number
        held, reason = self._held(image, at), image.reason
        if not held and image.packed is not None:
            reason = self._keep(number, image.packed)
        if self._received is not None and not reason:
            self._received.values.add(number, image.values)
        if held:
            return
        if reason:
            self._lose(number, reason)
        elif image.packed is not None and not (self._judge and self._judge.submit(number, image.packed, at)):
            self.n_later += 1
            self.means.workers.tell(Verdict(self.name, self.key, number, "later"))

    def settle(self) -> None:
        """Write the images that were judged first, and are to be kept."""
        while self._judge is not None and (decided := self._judge.decided()) is not None:
            number, packed = decided
            if reason := self._keep(number, packed):
                self._lose(number, reason)

    def flush(self) -> None:
        """Make what was received safe from a crash of this program."""
        if self._received is not None and not self._unkept:
            try:
                self._received.flush()
            except OutputError as error:
                self._cannot_keep(error)

    def finish(self) -> Ended:
        """Wait for the verdicts, and sieve the series; called by the thread that ends series."""
        if self._odd is not None:
            self._take(*self._odd)
        self._arriving.wait()
        found = self._judge.finish() if self._judge is not None else ()
        self.settle()
        problems = tuple(map(str, self.start.problems if self.start else ()))
        if self._received is not None and (more := self._received.values.refused):
            problems += (f"{self.name}: images bring too many values; not kept are {', '.join(sorted(more))}",)
        if self.start is None:
            problems += (f"{self.name}: its start was missed: geometry, mask and number of images are unknown",)
        if self._differs:
            problems += (f"{self.name}: its sockets state different geometry or masks; what came first is used",)
        if self._received is None:
            sieved = Sieved({}, None, (), (), self._unkept or "no image came that can be read")
            with suppress(OSError):
                (self.means.spool / self.name).rmdir()
        else:
            sieved = self._sieved(self._received, Known(found, self._missing, self._dropped()))
        return Ended(
            self.name,
            self.key,
            self.why,
            sieved.counts,
            sieved.min_spots,
            received=self.n_received,
            doubled=self.n_doubled,
            later=self.n_later,
            dropped=sieved.dropped,
            outputs=sieved.outputs,
            problems=(*problems, *sieved.problems),
            failed=sieved.failed,
        )

    def _sieved(self, received: ReceivedSeries, known: Known) -> Sieved:
        try:
            received.finish(len(self._seen))
        except OutputError as error:
            return Sieved({}, None, (), (), f"{error}; what was received is in {received.folder}")
        longest = longest_silence(self.means.hung, received.n_bytes)
        job = Job(received.master, self._settings, known, self.means.keep, longest)
        sieved = sieve_apart(self.means.apart, job)
        if not sieved.failed:
            return sieved
        again = f"hitsieve run {received.master} --misses keep -o {self.means.settings.write.output}"
        told = f"{sieved.failed}; what was received is kept: {again}"
        numbers = keep_numbers(received.master, known, self._settings)
        if numbers is not None:
            told += f"; what is known of {len(known.dropped.images):,} images that were dropped is in {numbers}"
        return replace(sieved, failed=told)

    def _held(self, image: SeriesImage, at: float) -> bool:
        """Have an image judged before it is written; False where it must be written first."""
        judge, received = self._judge, self._received
        if judge is None or judge.veto is None or received is None:
            return False
        if image.packed is None or received.why_not(image.packed):
            return False
        return judge.submit(image.number, image.packed, at, held=True)

    def _lose(self, number: int, reason: str) -> None:
        """Nothing of an image is kept: there is no image, not one that cannot be read."""
        self._missing[number] = reason
        self.means.workers.tell(Verdict(self.name, self.key, number, "missing", reason, final=True))

    @property
    def _settings(self) -> RunSettings:
        """How it is sieved: where the veto could not work, misses are kept, unless the user wants a sample of them."""
        sure = self._judge is not None and self._judge.veto is not None
        return self.means.settings if sure or self.means.in_doubt is None else self.means.in_doubt

    def _dropped(self) -> Dropped:
        rest = not self.means.keep and self._settings.write.misses == "sample"
        if self._judge is None or self._judge.veto is None:
            return Dropped(rest=rest)
        return Dropped(self._judge.veto, np.sort(np.array(self._judge.dropped, dtype=np.int64)), rest)

    def _keep(self, number: int, packed: PackedImage) -> str:
        """Keep the bytes of an image; why that is not possible, empty where it was."""
        try:
            if self._received is None:
                self._received = ReceivedSeries(self.means.spool / self.name, self.name, packed, self.start)
                self._received.add(number, packed)
                self._judge = self._begun(self._received)
            elif why := self._received.why_not(packed):
                return why
            else:
                self._received.add(number, packed)
        except OutputError as error:
            return self._cannot_keep(error)
        self._unkept = ""
        return ""

    def _cannot_keep(self, error: OutputError) -> str:
        if not self._unkept:
            _log.error("%s: received images cannot be kept: %s", self.name, error)
        self._unkept = f"received, but not kept: {error.what}"
        return self._unkept

    def _begun(self, received: ReceivedSeries) -> Judge | None:
        """Set up the search for this series' detector; None where that is not possible, which its end will tell."""
        workers, settings = self.means.workers, self.means.settings
        veto, least = None, settings.verdict.min_spots
        if self.means.in_doubt is not None and self.start is not None and least is not None:
            # Without geometry and mask of the series nothing is sure.
            veto = Veto.of(settings, least, self.start.n_images)
            received.dropping = str(veto)
        ground = Ground.of(self.start, received)
        equipment = workers.equipped(ground)
        try:
            if equipment is None:
                received.flush()
                # States of the pump are of the whole series.
                no_pump = {"pump": None, "pump_dataset": None, "pump_csv": None}
                with open_run(received.master, settings.source.model_copy(update=no_pump)) as opened:
                    equipment = workers.equip(ground, opened.run, settings)
        except Exception as error:  # noqa: BLE001 - images are kept all the same, and their end tells
            _log.error("%s: its images are not judged before its end: %s", self.name, error)
            received.dropping = ""
            return None
        return Judge(equipment, (self.name, self.key), settings, workers, veto)
