"""The spot finder of a run: the compiled core, set up for a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve._core import Batch, Scan, SpotFinder
from hitsieve.errors import SettingsError, SourceError
from hitsieve.model import Codec, Run
from hitsieve.settings import SpotSettings
from hitsieve.spots.bins import Bins, rings, tiles

IntArray = npt.NDArray[np.int64]
NOT_STORED = -1
"""File number of an image that `Finder.scan` passes over."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What the core found on n consecutive images, as columns; spots of image i are offsets[i] to offsets[i + 1]."""

    reasons: dict[int, str]
    """Why an image, by position, could not be searched; its numbers are -1."""
    n_spots: npt.NDArray[np.int32]
    n_strong: npt.NDArray[np.int32]
    n_saturated: npt.NDArray[np.int32]
    max_count: npt.NDArray[np.int64]
    background: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    intensity: npt.NDArray[np.float32]
    spot_background: npt.NDArray[np.float32]
    snr: npt.NDArray[np.float32]
    n_pixels: npt.NDArray[np.int32]
    peak: npt.NDArray[np.float32]
    flags: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.n_spots)

    @classmethod
    def of(cls, batch: Batch) -> Searched:
        """The columns of a batch of the core."""
        return cls(**{name: getattr(batch, name) for name in ("reasons", "offsets", *IMAGE_COLUMNS, *SPOT_COLUMNS)})

    def one(self, i: int) -> Searched:
        """The i-th image alone."""
        return self.part(i, i + 1)

    def part(self, first: int, end: int) -> Searched:
        """Images from `first` to before `end` alone."""
        spots = slice(int(self.offsets[first]), int(self.offsets[end]))
        reasons = {i - first: why for i, why in self.reasons.items() if first <= i < end}
        return Searched(
            reasons=reasons,
            offsets=self.offsets[first : end + 1] - self.offsets[first],
            **{name: getattr(self, name)[first:end] for name in IMAGE_COLUMNS},
            **{name: getattr(self, name)[spots] for name in SPOT_COLUMNS},
        )

    def take(self, which: IntArray) -> Searched:
        """Images by their positions, in the order given."""
        lengths = np.diff(self.offsets)[which]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        spots = np.repeat(self.offsets[which] - offsets[:-1], lengths) + np.arange(offsets[-1])
        known = self.reasons
        return Searched(
            reasons={n: known[i] for n, i in enumerate(which.tolist()) if i in known} if known else {},
            offsets=offsets,
            **{name: getattr(self, name)[which] for name in IMAGE_COLUMNS},
            **{name: getattr(self, name)[spots] for name in SPOT_COLUMNS},
        )

    @classmethod
    def joined(cls, parts: Sequence[Searched]) -> Searched:
        """Consecutive parts as one."""
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in (*IMAGE_COLUMNS, *SPOT_COLUMNS)
        }
        starts = np.cumsum([0, *(len(part) for part in parts)])
        reasons = {
            int(start) + i: why for start, part in zip(starts, parts, strict=False) for i, why in part.reasons.items()
        }
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(reasons=reasons, offsets=np.concatenate([[0], np.cumsum(lengths)]), **columns)

    @classmethod
    def failed(cls, reason: str) -> Searched:
        """One image that could not be searched."""
        one = np.full(1, -1, dtype=np.int32)
        none = np.zeros(0, dtype=np.float32)
        return cls(
            reasons={0: reason},
            n_spots=one,
            n_strong=one,
            n_saturated=one,
            max_count=one.astype(np.int64),
            background=np.full(1, np.nan, dtype=np.float32),
            offsets=np.zeros(2, dtype=np.int64),
            x=none,
            y=none,
            intensity=none,
            spot_background=none,
            snr=none,
            n_pixels=none.astype(np.int32),
            peak=none,
            flags=none.astype(np.uint8),
        )


IMAGE_COLUMNS = ("n_spots", "n_strong", "n_saturated", "max_count", "background")
SPOT_COLUMNS = ("x", "y", "intensity", "spot_background", "snr", "n_pixels", "peak", "flags")


class Scanning(Iterator[Searched]):
    """A search under way; close it to stop its workers."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan

    def __next__(self) -> Searched:
        return Searched.of(next(self._scan))

    def close(self) -> None:
        """Stop the workers."""
        self._scan.close()


@dataclass(frozen=True, slots=True)
class Ground:
    """What a finder needs of a run: which pixels count, and the bin of each."""

    bins: Bins
    bin_width: float
    valid: npt.NDArray[np.bool_]
    panels: npt.NDArray[np.uint16] | None
    dtype: str
    underload: int
    saturation: int | None
    error_value: int | None


class Finder:
    """Finds the spots of a run's images; may be shared between threads.

    It is set up when it is first used: where all is known of all images, that is never.

    Parameters
    ----------
    ground : callable
        Gives what it needs of the run.
    settings : SpotSettings
    """

    def __init__(self, ground: Callable[[], Ground], settings: SpotSettings) -> None:
        self.settings = settings
        self._find_ground = ground
        self._lock = Lock()
        self._made: tuple[Ground, SpotFinder] | None = None

    def set_up(self) -> tuple[Ground, SpotFinder]:
        """Set it up, if it is not."""
        with self._lock:
            if self._made is None:
                ground = self._find_ground()
                self._made = (ground, _core(ground, self.settings))
            return self._made

    @property
    def ground(self) -> Ground:
        """What it needs of the run."""
        return self.set_up()[0]

    @property
    def core(self) -> SpotFinder:
        """The finder of the compiled core."""
        return self.set_up()[1]

    @property
    def bins(self) -> Bins:
        """Bin of each pixel."""
        return self.ground.bins

    def retuned(self, settings: SpotSettings) -> Finder:
        """A finder for the same images with other settings.

        Raises
        ------
        ValueError
            The bins are others.
        """
        if settings.bin_width != self.settings.bin_width:
            raise ValueError(f"bins of {settings.bin_width} pixels are not those of {self.settings.bin_width}")
        return Finder(lambda: self.ground, settings)

    def find(self, image: npt.NDArray[np.generic]) -> Searched:
        """Search one image of unpacked counts, shape (slow, fast)."""
        return Searched.of(self.core.find(image))

    def find_stored(self, stored: bytes | npt.NDArray[np.uint8], codec: Codec) -> Searched:
        """Search one image in its stored form."""
        return Searched.of(self.core.find_stored(stored, codec))

    def scan(self, run: Run, images: npt.NDArray[np.int64], workers: int, batch: int) -> Scanning:
        """Search some images of a run that are stored in a form the core reads, `batch` of them an item, in order.

        Those that are not come as failed with an empty reason, and so do negative numbers; positions stay those of
        `images`. Workers start at once; closing what is returned stops them.

        Raises
        ------
        SettingsError
            The system does not let this user start a single thread.
        """
        file, offset, size = stored_places(run, images)
        paths, codecs = [str(file.path) for file in run.files], [file.codec or "bslz4" for file in run.files]
        try:
            return Scanning(self.core.scan(paths, codecs, file, offset, size, workers, batch))
        except OSError as error:
            mend = "end other programs of this user, or raise the limit (ulimit -u)"
            raise SettingsError(str(error), mend=mend) from None


def stored_places(run: Run, images: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], IntArray, IntArray]:
    """File, offset and size of the stored form of images; file `NOT_STORED` where there is none that the core reads."""
    table = run.images
    readable = table.offset >= 0
    for known in (table.missing, table.unreadable):
        if known:
            readable[np.fromiter(known, dtype=np.int64)] = False
    asked = np.maximum(images, 0)
    wanted = (images >= 0) & readable[asked]
    return (
        np.where(wanted, table.file[asked], NOT_STORED).astype(np.int32),
        np.where(wanted, table.offset[asked], 0),
        np.where(wanted, table.size[asked], 0),
    )


def build_finder(run: Run, settings: SpotSettings) -> Finder:
    """The finder for a run's detector and pixel type.

    Raises
    ------
    SourceError
        The pixels are not integers of at most 32 bits.
    """
    if run.dtype.kind not in "iu" or run.dtype.itemsize > 4:
        raise SourceError(f"{run.path}: pixels are {run.dtype}", mend="images of integer counts are needed")
    return Finder(lambda: _ground(run, settings.bin_width), settings)


def _ground(run: Run, bin_width: float) -> Ground:
    detector = run.detector
    valid = np.ones(detector.shape, dtype=np.bool_) if detector.pixel_mask is None else detector.pixel_mask == 0
    panels = None
    if detector.panels:
        panel_map = detector.panel_map()
        valid &= panel_map < len(detector.panels)
        panels = panel_map if len(detector.panels) > 1 else None
        bins = rings(detector, run.beam, bin_width, valid)
    else:
        bins = tiles(detector)
    return Ground(
        bins=bins,
        bin_width=bin_width,
        valid=valid,
        panels=panels,
        dtype=run.dtype.newbyteorder("=").name,
        underload=_underload(run),
        saturation=_saturation(run),
        error_value=_error_value(run),
    )


def _core(ground: Ground, settings: SpotSettings) -> SpotFinder:
    return SpotFinder(
        bins=ground.bins.number,
        valid=ground.valid,
        dtype=ground.dtype,
        underload=ground.underload,
        saturation=ground.saturation,
        error_value=ground.error_value,
        background_bins=ground.bins.background,
        panels=ground.panels,
        **settings.model_dump(exclude={"bin_width"}),
    )


def good_pixels(run: Run, image: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which pixels of an unpacked image the search uses, shape (slow, fast)."""
    detector = run.detector
    good: npt.NDArray[np.bool_] = np.asarray(image >= _underload(run), dtype=np.bool_)
    error_value = _error_value(run)
    if error_value is not None:
        good &= image != error_value
    if detector.pixel_mask is not None:
        good &= detector.pixel_mask == 0
    if detector.panels:
        good &= detector.panel_map() < len(detector.panels)
    return good


def _underload(run: Run) -> int:
    """Negative counts mark pixels without data unless the source says where data begin."""
    return 0 if run.detector.underload_value is None else run.detector.underload_value


def _saturation(run: Run) -> int | None:
    """The least saturated count: NXmx calls counts up to and including its saturation_value valid.

    A limit beyond the pixel type cannot be reached, but the largest count without a sign then stands for overflow.
    """
    value, largest = run.detector.saturation_value, _largest(run)
    if value is None or value < 0:
        return None
    if value < largest:
        return value + 1
    return largest if run.dtype.kind == "u" else None


def _error_value(run: Run) -> int | None:
    """The count that marks pixels without data: as stated, else the lowest signed or the largest unsigned one.

    The largest unsigned one is overflow, not an error, where a mask takes out the pixels without data and the source
    says from where on counts are saturated.
    """
    if run.detector.error_value is not None:
        return run.detector.error_value
    if run.dtype.kind == "i":
        return -_largest(run) - 1
    told_apart = run.detector.pixel_mask is not None and _saturation(run) is not None
    return None if told_apart else _largest(run)


def _largest(run: Run) -> int:
    bits = 8 * run.dtype.itemsize - (run.dtype.kind == "i")
    return (1 << bits) - 1
