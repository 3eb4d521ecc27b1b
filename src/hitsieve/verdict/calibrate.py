"""Finds the least number of spots that blanks hardly ever have, from the counts of the run itself.

The blanks of a run are the lowest mode of its distribution of counted spots. The distributions of blanks that explain
that mode, given hits beside it, give the threshold and the share of false hits by their tails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.verdict.blankfit import Counts, Floats, Mode, fit, likely, upper_tail
from hitsieve.verdict.brightness import as_bright, jet_running, level_between
from hitsieve.verdict.mixture import DROP_95, MOST, Also, Explained, explain

Bools = npt.NDArray[np.bool_]

FLOOR = 5
"""Fewest spots that can be enough: fewer say nothing, not even a resolution."""
DEFAULT_MIN_SPOTS = 8
"""Enough spots where the blanks cannot tell."""
MIN_BLANKS = 50
"""Fewest blanks that a threshold is found from."""
MAX_MEAN = 40.0
"""Mean number of spots above which a mode is not one of blanks."""

_COVER = 0.98
"""Share of the fitted distribution that lies in its window."""
_WIDEST = 0.6
"""Largest standard deviation of a mode of blanks over its mean, where that is above DEFAULT_MIN_SPOTS."""
_GOOD = 0.02
"""Misfit, above that of chance, up to which the window may grow."""
_MISFIT = 0.06
"""Misfit, above that of chance, from which a mode is not trusted."""
_NARROW = 2.0
"""Ratio of the quartiles of counts below which they may be of blanks."""
_SECOND = 0.15
"""Share of the images above which such a second mode matters."""
_MINOR = 0.25
"""Share of the images below which the lowest mode is not the one of the running jet, if the rest may be of blanks."""
_STRAY = 0.02
"""Share of the images, those of fewest spots, that make no mode of their own."""
_NEXT = 5
"""Counts after one that are held against it."""
_NONE = "the images have no mode of few spots, as blanks would make"
_DROP = 1.0
"""Log likelihood, below the best, of the fits to the mode alone that the threshold need not pass."""
_GONE = 1e-3
"""Share of a mode that lies beyond its end."""
_HANDICAP = 6.0
"""Value by which the fit to a mode that ends may be worse than an explanation by blanks and hits."""
_BROAD = 2
"""Most frequent count of blanks from which they are not quiet."""
_HEAP = 0.6
"""Share of the images of a mode that are blanks where it is explained by blanks and hits."""
_FEW = 0.02
"""Images, over blanks, that are too few to lower the threshold for: they would be of blanks as soon as of hits."""
_QUIET = 0.1
"""Mean number of spots of blanks that are quiet: of those, none is in doubt."""
_COMPARED = 65_536
"""Most images whose background is held against their spots."""
_LATTICES = 20
"""Lattices from which on the cell is one of the run: a mode of hits would have lattices among its images."""
_HARDLY = 0.05
"""Those among its counts, over its images, that a mode of blanks has at most."""
_FIFTH = 0.2
"""Likewise, from which on a mode is one of hits."""
_EITHER = "which may be of blanks (the jet stopped for a while) or of weak hits"
_RISE = 3.0
"""Standard deviations by which they have more images where another mode begins."""


@dataclass(frozen=True, slots=True)
class Blanks:
    """Blanks of a run, by their counted spots."""

    n: int
    """Images taken as blanks."""
    mean: float
    """Mean number of counted spots."""
    dispersion: float
    """Variance over mean; 1 for a Poisson distribution."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and where it comes from."""

    min_spots: int
    """Fewest spots that are enough."""
    origin: Literal["blanks", "default"]
    reason: str
    """In words."""
    blanks: Blanks | None
    """None where no mode of blanks was found."""


@dataclass(frozen=True, slots=True)
class FalseHits:
    """How often a blank has enough spots."""

    n: int
    """Images taken as blanks."""
    mean: float
    """Mean number of counted spots of a blank."""
    rate: float
    """Expected share of blanks with enough spots."""
    interval: tuple[float, float]
    """95 % interval (low, high) of it."""


@dataclass(frozen=True, slots=True)
class _Found:
    explained: Explained
    alone: tuple[Floats, ...]
    """Tails of the distributions that fit the mode alone, where any do: with hits in it they reach too far."""
    histogram: Counts
    trouble: str
    """Why the mode cannot be trusted; empty where it can."""

    @property
    def blanks(self) -> Blanks:
        best = self.explained
        return Blanks(best.images, round(float(best.mean[0]), 6), round(1.0 + float(best.excess[0]), 6))

    def wanted(self, rate: float) -> int:
        """The least number of spots that at most this share of the blanks have."""
        # The end of the likely range rather than its middle: a threshold too low makes false hits of many blanks.
        told, *alone = (int((tails > rate).sum(axis=1).max()) for tails in (self.explained.tails, *self.alone))
        if not alone or alone[0] <= told:
            return alone[0] if alone else told
        between = int(self.histogram[told : alone[0]].sum())
        few = between <= _FEW * self.explained.images and self.blanks.mean >= _QUIET
        return alone[0] if few else told


def calibrate(
    n_counted: npt.NDArray[np.integer],
    *,
    indexed: Bools | None = None,
    background: npt.NDArray[np.floating] | None = None,
    false_hit_rate: float = 1e-3,
) -> Calibration:
    """Find the least number of spots that at most `false_hit_rate` of the blanks have.

    Parameters
    ----------
    n_counted : array of int, shape (n,)
        Counted spots of each searched image.
    indexed : array of bool, shape (n,), optional
        Images with a lattice: never blanks.
    background : array of float, shape (n,), optional
        Background of each image; tells blanks of a stopped jet, which have fewer spots, from those of a running one.
    false_hit_rate : float
    """
    found = _find(n_counted, indexed, background)
    if isinstance(found, str):
        return Calibration(DEFAULT_MIN_SPOTS, "default", found, None)
    wanted = found.wanted(false_hit_rate)
    least = max(FLOOR, wanted)
    blanks = found.blanks
    if found.trouble:
        return Calibration(max(least, DEFAULT_MIN_SPOTS), "default", found.trouble, blanks)
    reason = (
        f"{blanks.n} blanks have {blanks.mean:.3g} spots on average (variance over mean {blanks.dispersion:.2g}): at "
        f"most {false_hit_rate:g} of them are expected to have {max(wanted, 1)} or more"
    )
    if wanted < FLOOR:
        reason += f"; fewer than {FLOOR} are never enough"
    return Calibration(least, "blanks", reason, blanks)


def false_hits(
    n_counted: npt.NDArray[np.integer],
    min_spots: int,
    *,
    indexed: Bools | None = None,
    background: npt.NDArray[np.floating] | None = None,
) -> FalseHits | None:
    """Estimate the share of the blanks of a running jet with `min_spots` counted spots or more.

    The arrays are as those of `calibrate`. The interval is the range of the share over all distributions whose log
    likelihood is within 1.92 of the best.

    Returns
    -------
    FalseHits or None
        None where no mode of blanks can be told.
    """
    found = _find(n_counted, indexed, background)
    if isinstance(found, str) or found.trouble:
        return None
    blanks = found.blanks
    # Beyond that the share is nothing in any case.
    tails = found.explained.tails[:, min(min_spots, MOST - 1)]
    return FalseHits(blanks.n, blanks.mean, float(tails[0]), (float(tails.min()), float(tails.max())))


def _find(
    n_counted: npt.NDArray[np.integer], indexed: Bools | None, background: npt.NDArray[np.floating] | None
) -> _Found | str:
    keep = np.asarray(n_counted) >= 0
    levels = None if background is None else np.asarray(background, dtype=np.float64)
    if levels is not None:
        keep &= jet_running(levels, keep)
    with_lattice = np.zeros(len(keep), dtype=np.bool_) if indexed is None else np.asarray(indexed) & keep
    counts, keep = np.minimum(n_counted, MOST - 1), keep & ~with_lattice
    lattices = np.bincount(counts[with_lattice], minlength=MOST)
    found = _told(counts, keep, lattices, levels)
    if isinstance(found, str) or levels is None:
        return found
    # Of very many images some tell as much, in less time.
    some = slice(None, None, len(counts) // _COMPARED + 1)
    many, kept = counts[some] > _last(found.explained), keep[some]
    cut = level_between(levels[some][kept & ~many], levels[some][kept & many])
    if cut is None:
        return found
    # The mode may be one of a stopped jet: blanks of the running one lie among the brighter images then.
    brighter = _told(counts, keep & ~(levels < cut), lattices, levels)
    if isinstance(brighter, str) or brighter.trouble or brighter.blanks.mean <= found.blanks.mean:
        return found
    # Where crystals make images brighter, their mode has lattices all over, not only beyond the end of it.
    blanks, told = brighter.blanks, lattices.sum() >= _LATTICES
    within = int(lattices[: _last(brighter.explained) + 1].sum())
    if told and within >= _FIFTH * blanks.n:
        return found
    if within <= _HARDLY * blanks.n if told else blanks.mean <= FLOOR:
        return brighter
    return replace(found, trouble=f"brighter images have a mode of {blanks.mean:.2g} spots, {_EITHER}")


def _told(counts: Counts, keep: Bools, lattices: Counts, levels: Floats | None) -> _Found | str:
    """The mode of blanks of these images, which background may clear of doubt."""
    found = _lowest_mode(np.bincount(counts[keep], minlength=MOST), lattices)
    if isinstance(found, _Found) and found.trouble and levels is not None:
        many = counts > _last(found.explained)
        if as_bright(levels[keep & ~many], levels[keep & many]):
            return replace(found, trouble="")
    return found


def _lowest_mode(histogram: Counts, lattices: Counts) -> _Found | str:
    """The mode of blanks, or why there is none."""
    n = int(histogram.sum())
    if n < MIN_BLANKS:
        return f"{n} images without a lattice are too few blanks to tell: {MIN_BLANKS} are needed"
    if _peak(histogram, 0) > MAX_MEAN:
        return _NONE
    mode, told = _explained(histogram, lattices, 0)
    if told.images < _MINOR * n and _narrow(histogram, _last(told) + 1):
        mode, told = _explained(histogram, lattices, _last(told) + 1)
    within = int(lattices[mode.first : int(told.mean[0]) + 1].sum())
    fits = mode.misfit <= _MISFIT + _noise(mode.images, mode.mean, mode.excess, mode.last - mode.first + 1)
    alone = (upper_tail(*likely(histogram, mode, _DROP), MOST),) if fits else ()
    trouble = _trouble(histogram, told, int(lattices.sum()))
    return _why_none(mode, told, within) or _Found(told, alone, histogram, trouble)


def _why_none(mode: Mode, told: Explained, n_lattices: int) -> str:
    """Why the mode is not one of blanks; empty where nothing says so."""
    if told.images < MIN_BLANKS:
        return f"{told.images} images of few spots are too few blanks to tell: {MIN_BLANKS} are needed"
    mean, excess = float(told.mean[0]), float(told.excess[0])
    if mean > MAX_MEAN or (mode.mean > DEFAULT_MIN_SPOTS and sqrt((1.0 + mode.excess) / mode.mean) > _WIDEST):
        return _NONE
    # Half of the blanks, but hardly any hits, have no more spots than blanks have on average.
    if 4 * n_lattices > told.images:
        return "many images of the lowest mode of spot counts have a lattice: it is not one of blanks"
    if told.misfit > _MISFIT + _noise(told.images, mean, excess):
        return "blanks and hits of few spots merge: no distribution of blanks fits the lowest mode of spot counts"
    return ""


def _explained(histogram: Counts, lattices: Counts, first: int) -> tuple[Mode, Explained]:
    """The lowest mode alone, and what explains it besides hits."""
    peak = _peak(histogram, first)
    mode = _grow(histogram, lattices, first, peak)
    alone = likely(histogram, mode, DROP_95)
    handicap = _HANDICAP if _ends(histogram + lattices, mode) else 0.0
    told = explain(histogram, lattices, mode.first, peak, Also(*alone, handicap))
    if peak >= _BROAD and told.images < _HEAP * mode.images:
        # Blanks of many spots spread as widely as hits: where they seem to be few, the mode may be all theirs.
        told = replace(told, tails=np.concatenate([told.tails, upper_tail(*alone, MOST)]))
    return mode, told


def _ends(everything: Counts, mode: Mode) -> bool:
    """Whether hardly any images follow where the mode should end: no hits lie among its counts, then."""
    tail = upper_tail(np.array(mode.mean), np.array(mode.excess), MOST)
    end = int((tail > _GONE).sum())
    return bool(everything[end : end + _NEXT].sum() <= 2 + _GONE * mode.images)


def _last(told: Explained) -> int:
    """The count up to which the blanks reach."""
    return int((told.tails[0] > 1.0 - _COVER).sum()) - 1


def _trouble(histogram: Counts, told: Explained, n_lattices: int) -> str:
    """Why the mode may not be the one of blanks of the running jet; empty where nothing says so."""
    above = int(histogram[_last(told) + 1 :].sum())
    if above > _SECOND * histogram.sum() and _narrow(histogram, _last(told) + 1) and n_lattices < _FIFTH * above:
        return f"besides a mode of {told.mean[0]:.2g} spots there is another of few spots, {_EITHER}"
    return ""


def _noise(images: int, mean: float, excess: float, counts: float = inf) -> float:
    """About the misfit that chance makes in a window of so many counts."""
    return 0.5 * sqrt(min(counts, 4.0 * sqrt(mean * (1 + excess)) + 2) / max(images, 1))


def _narrow(histogram: Counts, first: int) -> bool:
    """Whether the counts from `first` up are so few and alike that they may be blanks."""
    seen = histogram[first:]
    if seen.sum() < MIN_BLANKS:
        return False
    share = np.cumsum(seen) / seen.sum()
    low, median, high = (first + int(np.searchsorted(share, q)) for q in (0.25, 0.5, 0.75))
    return median <= MAX_MEAN and high < _NARROW * max(low, 1)


def _peak(histogram: Counts, first: int) -> int:
    """The top of the lowest mode from count `first` on."""
    smooth, seen = _smooth(histogram), np.cumsum(histogram[first:])
    peak, before = first + int(np.searchsorted(seen, _STRAY * seen[-1])), -1
    while peak != before:
        before = peak
        peak = first + int(smooth[first : peak + FLOOR + ceil(sqrt(peak))].argmax())
    return peak


def _grow(histogram: Counts, lattices: Counts, first: int, peak: int) -> Mode:
    """Fit the lowest mode from count `first` on alone, with a window that grows with the fit."""
    smooth = _smooth(histogram)
    # A few images below it (of a stopped jet) are not of this mode.
    first = max(first, peak - ceil(3.0 * sqrt(peak + 1)))
    end = _end(histogram + lattices, smooth, peak)
    last = min(max(first + FLOOR - 1, peak + ceil(sqrt(peak + 1))), end)
    mode = fit(histogram, (first, last))
    while mode.mean <= MAX_MEAN and last < end:
        tail = upper_tail(np.array(mode.mean), np.array(mode.excess), MOST)
        enough = int((tail > 1.0 - _COVER).sum()) - 1
        if enough <= last:
            break
        last = min(enough, last + max(1, ceil(0.5 * sqrt(last))), end)
        wider = fit(histogram, (first, last))
        if wider.misfit > _GOOD + _noise(wider.images, wider.mean, wider.excess, last - first + 1):
            break
        mode = wider
    return mode


def _end(histogram: Counts, smooth: Floats, peak: int) -> int:
    """The count above the peak after which there are clearly more images again: those are of another mode."""
    total = np.concatenate([[0], np.cumsum(histogram)])
    # Of a mode that falls, the counts after k have no more images each than k; smoothing has moved the peak ahead.
    k = np.arange(peak + 1 + int(sqrt(peak) / 2), MOST - 1 - _NEXT)
    after, here = total[k + 1 + _NEXT] - total[k + 1], smooth[k]
    rises = after - _NEXT * here > _RISE * np.sqrt(after + _NEXT**2 * np.maximum(here, 1))
    return int(k[rises.argmax()]) if rises.any() else MOST - 1


def _smooth(histogram: Counts) -> Floats:
    """Mean over a window that widens as the root of the count."""
    total = np.concatenate([[0], np.cumsum(histogram)])
    k = np.arange(len(histogram))
    half = (np.sqrt(k) / 2).astype(np.int64)
    low, high = np.maximum(k - half, 0), np.minimum(k + half + 1, len(histogram))
    return np.asarray((total[high] - total[low]) / (high - low))
