"""What is known of running series from the messages of `hitsieve live --publish`: a bounded state, whatever comes."""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.source.cbor import loads

STATES = ("hit", "miss", "unreadable", "missing", "later")
KEPT = 10_000
"""Verdicts of a series that are remembered one by one."""
MOST_BINS = 100
MOST_SERIES = 20
"""Series that are remembered, the last that were heard of."""
LAGS = 1000
"""Verdicts of which the delay is remembered."""
SECONDS = 60
"""For so long the images of each second are counted."""
RECENT = 10
"""Seconds over which the rate is taken."""
GIVEN_UP = 600.0
"""Time (s) without a word after which a series is taken as lost: its receiver would have ended it."""
LONGEST = 300
"""Letters of a text, and items of a list, that are kept."""
_BIN_SIZES = (1, 2, 5, 10, 20, 50, 100)
_LARGEST = 10**12


@dataclass(slots=True)
class HeardSeries:
    """One series, as far as it was heard of."""

    number: int
    """No two series have the same, also where they have one name."""
    name: str
    series_id: int
    unique: str
    began: float
    """When it was first heard of (s since 1970)."""
    announced: int | None = None
    from_start: bool = False
    """Its start was heard; else images came before."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    last_heard: float = 0.0
    min_spots: int | None = None
    last_image: int = -1
    last_hit: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    """What its last message says; None while it runs."""
    orphan: bool = False
    """Its publisher has started again, and has said nothing of it since."""
    changed: int = 0
    """Which change of all series was its last."""
    _codes: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(KEPT, np.uint8))
    _lags: deque[float] = field(default_factory=lambda: deque(maxlen=LAGS))
    _seconds: deque[list[int]] = field(default_factory=lambda: deque(maxlen=SECONDS))
    """(second, images) of each of the last seconds in which one came."""

    @property
    def judged(self) -> int:
        """Verdicts that were heard."""
        return sum(self.counts.values())

    def add(self, image: dict[str, Any], now: float) -> None:
        """Take in a verdict."""
        self._codes[self.judged % KEPT] = STATES.index(image["state"])
        self.counts[image["state"]] += 1
        self.last_image = max(self.last_image, image["image_id"])
        self.min_spots = image["min_spots"] if image["min_spots"] is not None else self.min_spots
        if image["seconds"]:
            self._lags.append(image["seconds"])
        if not self._seconds or self._seconds[-1][0] != int(now):
            self._seconds.append([int(now), 0])
        self._seconds[-1][1] += 1
        if image["state"] == "hit":
            self.last_hit = {**image, "at": now}

    def told(self, now: float) -> dict[str, Any]:
        """Everything about it, as JSON has it."""
        searched = self.counts["hit"] + self.counts["miss"]
        lags = np.sort(np.array(self._lags)) if self._lags else None
        size, bins = self._binned()
        return {
            "number": self.number,
            "name": self.name,
            "series_id": self.series_id,
            "unique": self.unique,
            "began": self.began,
            "announced": self.announced,
            "from_start": self.from_start,
            "counts": dict(self.counts),
            "judged": self.judged,
            "hit_rate": self.counts["hit"] / searched if searched else None,
            "images_per_second": self._rate(now),
            "each_second": self._each_second(now),
            "lag": None if lags is None else [float(lags[int(q * (len(lags) - 1))]) for q in (0.5, 0.95)],
            "ago": max(0.0, now - self.last_heard),
            "min_spots": self.min_spots,
            "last_image": self.last_image,
            "last_hit": self.last_hit,
            "end": self.end,
            "lost": self.end is None and (self.orphan or now - self.last_heard > GIVEN_UP),
            "bin_size": size,
            "bins": bins,
        }

    def _rate(self, now: float) -> float:
        """Images a second of late; of a series that has just begun, since then."""
        if self.end is not None:
            return 0.0
        came = sum(n for second, n in self._seconds if now - RECENT <= second)
        return came / min(max(now - self.began, 1.0), RECENT)

    def _each_second(self, now: float) -> list[int]:
        """Images of each of the last seconds, that of now left out: it is not over."""
        came = {second: n for second, n in self._seconds}  # noqa: C416 - pairs are lists
        return [came.get(second, 0) for second in range(int(now) - SECONDS + 1, int(now))]

    def _binned(self) -> tuple[int, list[list[int]]]:
        """Verdicts a bin, and the last verdicts by state in the order in which they came; the last bin may be short."""
        n = self.judged
        size = next((size for size in _BIN_SIZES if n <= size * MOST_BINS), _BIN_SIZES[-1])
        # Bins stay where they are while verdicts come: they begin at multiples of their size.
        first = 0 if n <= size * MOST_BINS else -(-(n - KEPT) // size) * size
        codes = self._codes[np.arange(first, n) % KEPT]
        places = np.arange(len(codes)) // size * len(STATES) + codes
        n_bins = -(-len(codes) // size)
        return size, np.bincount(places, minlength=n_bins * len(STATES)).reshape(n_bins, len(STATES)).tolist()


class Heard:
    """The state of all series; not to be shared between threads without a lock."""

    def __init__(self) -> None:
        self.changes = 0
        """Messages that have changed something."""
        self.n_foreign = 0
        """Messages that are none of `hitsieve live`, or damaged: not used."""
        self.n_missed = 0
        """Messages that were published and did not come, by their numbers."""
        self.refused = {"bad": 0, "late": 0, "doubled": 0}
        """Messages of the detector that were not used."""
        self.last_heard: float | None = None
        self._series: OrderedDict[int, HeardSeries] = OrderedDict()
        self._open: dict[tuple[str, int, str], HeardSeries] = {}
        self._made = 0
        self._sequence: int | None = None

    def take(self, frames: list[bytes], now: float | None = None) -> None:
        """Take in a message; one that is not understood is counted, and changes nothing."""
        now = time.time() if now is None else now
        message = _message(frames)
        if message is None:
            self.n_foreign += 1
            return
        self.last_heard = now
        self._count_missed(message["sequence"])
        self.changes += 1
        if message["type"] == "refused":
            self.refused[message["kind"]] += 1
            return
        series = self._find(message, now)
        series.last_heard, series.changed, series.orphan = now, self.changes, False
        if message["type"] == "start":
            series.announced, series.from_start = message["number_of_images"], True
        elif message["type"] == "image":
            series.add(message["image"], now)
        else:
            series.end = message["end"] | {"at": now}
            del self._open[_key(message)]

    def told(self, since: int = -1, now: float | None = None) -> dict[str, Any]:
        """Everything, as JSON has it; of series only those that have changed since so many changes."""
        now = time.time() if now is None else now
        every = list(self._series.values())
        return {
            "changes": self.changes,
            "now": now,
            "ago": None if self.last_heard is None else max(0.0, now - self.last_heard),
            "n_foreign": self.n_foreign,
            "n_missed": self.n_missed,
            "refused": dict(self.refused),
            "order": [series.number for series in reversed(every)],
            "series": [series.told(now) for series in every if series.changed > since or series.end is None],
        }

    def name_of(self, number: int) -> str | None:
        """Name of a series; None of one unknown."""
        series = self._series.get(number)
        return None if series is None else series.name

    def _count_missed(self, sequence: int | None) -> None:
        if sequence is not None and self._sequence is not None:
            if sequence > self._sequence:
                self.n_missed += sequence - self._sequence - 1
            else:
                # The publisher has started again, and what it told of before is gone with it.
                for series in self._open.values():
                    series.orphan = True
        self._sequence = sequence

    def _find(self, message: dict[str, Any], now: float) -> HeardSeries:
        """The series that a message is of; another start of one that runs is that of another one."""
        key = _key(message)
        found = self._open.get(key)
        if found is None or (message["type"] == "start" and (found.from_start or found.judged)):
            if found is not None:
                found.orphan = True
            found = HeardSeries(self._made, *key, began=now)
            self._made += 1
            self._series[found.number] = self._open[key] = found
            while len(self._series) > MOST_SERIES:
                self._forget()
        return found

    def _forget(self) -> None:
        _, oldest = self._series.popitem(last=False)
        key = (oldest.name, oldest.series_id, oldest.unique)
        if self._open.get(key) is oldest:
            del self._open[key]


def _key(message: dict[str, Any]) -> tuple[str, int, str]:
    return message["name"], message["series_id"], message["series_unique_id"]


def _message(frames: list[bytes]) -> dict[str, Any] | None:
    """A message with what is used of it; None where it is none of `hitsieve live`."""
    if len(frames) != 1:
        return None
    try:
        # A map of CBOR begins otherwise.
        said = json.loads(frames[0]) if frames[0][:1] == b"{" else loads(frames[0])
        kind = said["type"]
        found: dict[str, Any] = {"type": kind, "sequence": _optional(said.get("sequence"))}
        if kind == "refused":
            found["kind"] = _one_of(said["kind"], ("bad", "late", "doubled"))
            return found
        found |= {"name": _text(said["name"]), "series_id": _whole(said["series_id"], -_LARGEST)}
        found["series_unique_id"] = _text(said["series_unique_id"])
        if kind == "start":
            found["number_of_images"] = _optional(said["number_of_images"])
        elif kind == "image":
            found["image"] = _image(said)
        elif kind == "end":
            found["end"] = _end(said)
        else:
            return None
    except Exception:  # noqa: BLE001 - a decoder of hostile bytes may raise what it likes
        return None
    return found


def _image(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": _whole(said["image_id"]),
        "state": _one_of(said["state"], STATES),
        "n_spots": _whole(said["n_spots"], -1),
        "n_spots_counted": _whole(said["n_spots_counted"], -1),
        "n_saturated": _whole(said["n_saturated"], -1),
        "background": _real(said["background"]),
        "resolution": _real(said["resolution"]),
        "min_spots": _optional(said["min_spots"]),
        "final": said["final"] is True,
        "seconds": _real(said["seconds"]),
    }


def _end(said: dict[str, Any]) -> dict[str, Any]:
    counts = {state: _whole(n) for state, n in said["counts"].items() if state in STATES}
    numbers = {name: _whole(said[name]) for name in ("received", "doubled", "later", "dropped")}
    lists = {name: [_text(text) for text in said[name][:LONGEST]] for name in ("outputs", "problems")}
    texts = {name: _text(said[name]) for name in ("why", "failed")}
    return {"counts": counts, "min_spots": _optional(said["min_spots"]), **numbers, **lists, **texts}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return "".join(letter if letter.isprintable() else " " for letter in value[:LONGEST])


def _whole(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= _LARGEST:
        raise ValueError("no number that can be")
    return value


def _optional(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _real(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= _LARGEST:
        raise ValueError("no number that can be")
    return float(value)


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError("an unknown word")
    return str(value)
