"""Whether hit rate, indexing rate, resolution or spots differ between pump states, or drift along the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.model import PumpStates, State
from hitsieve.verdict.blocks import (
    FEWEST_BLOCKS,
    MOST_BLOCKS,
    TREND_BLOCKS,
    Codes,
    Values,
    along_run,
    between_states,
    merged,
    ranked,
    rounds,
)

Quantity = Literal["hit rate", "indexing rate", "resolution", "spots"]
Across = Literal["pump state", "run"]

ALPHA = 0.01
"""Probability below which, after Holm's correction, a difference is stated."""
PER_BLOCK = 5
"""Fewest hits (or misses, if they are fewer) a block has on average in a test for a trend."""
PER_BLOCK_AND_STATE = 2
"""Likewise in a test between states, of each state."""
SPARE_BLOCKS = 6
"""Blocks that a test between states has more than states, at least."""
SLOW = 100
"""Images a state waits for its next turn, from which on a difference is stated with a warning."""
MOST_LISTED = 6
"""Most states that a statement lists one by one."""


@dataclass(frozen=True, slots=True)
class BiasFinding:
    """One test, or why it was left out."""

    quantity: Quantity
    across: Across
    test: str
    """Name of the statistical test; empty where it was left out."""
    p: float | None
    """Probability of a difference as large by chance; None where the test was left out."""
    differs: bool
    """p is below 0.01, after Holm's correction for the number of tests."""
    statement: str
    """In plain words, with the numbers."""


@dataclass(frozen=True, slots=True)
class _Series:
    """One quantity of n images, in the order of the run."""

    quantity: Quantity
    image: npt.NDArray[np.int64]
    values: Values
    """0 and 1 for a rate."""
    tested: Values
    """The values, or their ranks."""
    lacks: str = ""
    """Why there are no values; empty where there are."""

    @property
    def is_rate(self) -> bool:
        return self.quantity in ("hit rate", "indexing rate")

    @property
    def subject(self) -> str:
        words = {"spots": "number of spots of the hits", "resolution": "resolution of the hits"}
        return words.get(self.quantity, self.quantity)

    def events(self) -> int:
        """How much can be told: values, or the rarer of 1 and 0."""
        if not self.is_rate:
            return len(self.values)
        ones = int(self.values.sum())
        return min(ones, len(self.values) - ones)

    def shown(self, which: npt.NDArray[np.bool_] | slice) -> str:
        """Rate or median of some images, in words."""
        values = self.values[which]
        if self.is_rate:
            return f"{100 * values.mean():.3g} %"
        unit = " angstrom" if self.quantity == "resolution" else ""
        return f"{np.median(values):.3g}{unit}"

    def rarer(self) -> str:
        """What limits a test, counted."""
        few = self.events()
        mostly = bool(self.values.sum() > few)
        of = {"hit rate": ("hits", "misses"), "indexing rate": ("indexed hits", "hits without a lattice")}
        return f"{few} {of.get(self.quantity, ('hits', 'hits'))[mostly]}"

    def alike(self) -> str:
        """Why values that are all alike give no test; empty where they are not."""
        if self.values.min() < self.values.max():
            return ""
        return f"it is {self.shown(slice(None))} for all of them"


@dataclass(frozen=True, slots=True)
class _Trial:
    """A test that was done, or left out."""

    series: _Series
    across: Across
    test: str
    p: float | None
    numbers: str
    """What was compared; of a test left out, why."""
    caution: str = ""
    """What else could make such a difference."""


def bias_report(
    pump: PumpStates | None,
    state: npt.NDArray[np.uint8],
    n_lattices: npt.NDArray[np.int32],
    n_spots: npt.NDArray[np.int32],
    resolution: npt.NDArray[np.float32],
    running: npt.NDArray[np.bool_] | None = None,
) -> tuple[BiasFinding, ...]:
    """Test for differences between pump states and for drifts along the run.

    Hits come in bursts, so images side by side are no independent witnesses: all tests judge by the scatter between
    blocks of images, as docs/reference/time-resolved.md defines.

    Parameters
    ----------
    pump : PumpStates or None
        None: only drifts are tested.
    state : array of uint8, shape (images,)
        Values of State.
    n_lattices, n_spots, resolution : array, shape (images,)
        As in ImageResults.
    running : array of bool, shape (images,), optional
        False for images to leave out, such as those without jet.

    Returns
    -------
    tuple of BiasFinding
        Each quantity between pump states, where there are any, and along the run; what was not measured, or could
        not be tested, has no p, and says why.
    """
    used = (state == State.HIT) | (state == State.MISS)
    if running is not None:
        used &= running
    trials: list[_Trial] = []
    for series in _series(used, state, n_lattices, n_spots, resolution):
        if pump is not None:
            trials.append(_by_state(series, pump))
        trials.append(_by_run(series))
    differing = _differing([trial.p for trial in trials])
    n_tests = sum(trial.p is not None for trial in trials)
    return tuple(_finding(trial, number in differing, n_tests) for number, trial in enumerate(trials))


def _series(
    used: npt.NDArray[np.bool_],
    state: npt.NDArray[np.uint8],
    n_lattices: npt.NDArray[np.int32],
    n_spots: npt.NDArray[np.int32],
    resolution: npt.NDArray[np.float32],
) -> Iterator[_Series]:
    """All quantities, with what was measured of them."""
    image = np.flatnonzero(used)
    hit = (state[image] == State.HIT).astype(np.float64)
    searched = bool(((state == State.HIT) | (state == State.MISS)).any())
    idle = "no image was searched while the jet ran" if searched else "no image was searched"
    yield _Series("hit rate", image, hit, hit, "" if len(image) else idle)
    hits = image[hit > 0]
    none = "there are no hits"
    tried = hits[n_lattices[hits] >= 0]
    indexed = (n_lattices[tried] > 0).astype(np.float64)
    lacks = "" if len(tried) else "the run is not indexed" if len(hits) else none
    yield _Series("indexing rate", tried, indexed, indexed, lacks)
    known = hits[np.isfinite(resolution[hits])]
    lacks = "" if len(known) else "no hit has a resolution estimate" if len(hits) else none
    yield _values("resolution", known, resolution, lacks)
    yield _values("spots", hits, n_spots, "" if len(hits) else none)


def _values(
    quantity: Quantity, image: npt.NDArray[np.int64], column: npt.NDArray[np.float32 | np.int32], lacks: str
) -> _Series:
    values = column[image].astype(np.float64)
    return _Series(quantity, image, values, ranked(values) / max(len(values), 1), lacks)


def _by_run(series: _Series) -> _Trial:
    n_blocks = min(TREND_BLOCKS, series.events() // PER_BLOCK)
    if series.lacks or n_blocks < FEWEST_BLOCKS:
        return _Trial(series, "run", "", None, series.lacks or f"{series.rarer()} are too few")
    if why := series.alike():
        return _Trial(series, "run", "", None, why)
    p = along_run(series.tested, n_blocks)
    fifth = max(1, len(series.values) // 5)
    numbers = f"{series.shown(slice(fifth))} in its first fifth, {series.shown(slice(-fifth, None))} in its last"
    test = f"Spearman's correlation of {n_blocks} block means{'' if series.is_rate else ' of ranks'} with position"
    return _Trial(series, "run", test, p, numbers)


def _by_state(series: _Series, pump: PumpStates) -> _Trial:
    code = pump.code[series.image].astype(np.int64)
    counts = np.bincount(code[code >= 0], minlength=len(pump.names))
    # A block should hold hits of every state; a state of too few images would leave too few blocks for all.
    expected = counts * (series.events() / max(len(series.values), 1))
    enough = expected >= PER_BLOCK_AND_STATE * FEWEST_BLOCKS
    compared = np.flatnonzero(enough)
    here = np.isin(code, compared)
    code = np.searchsorted(compared, code[here])
    part = replace(series, image=series.image[here], values=series.values[here], tested=series.tested[here])
    why = series.lacks or _one_sided(series, counts, pump.names)
    if not why and len(compared) < 2:
        why = f"{series.rarer()} are too few to compare two states"
    why = why or part.alike()
    if why:
        return _Trial(series, "pump state", "", None, why)
    block = _blocks(part, code, int(expected[compared].min()) // PER_BLOCK_AND_STATE)
    n_blocks = int(block[-1]) + 1
    if n_blocks < max(FEWEST_BLOCKS, len(compared) + SPARE_BLOCKS):
        why = "they take turns too seldom to tell them from changes along the run"
        return _Trial(series, "pump state", "", None, f"{why} ({n_blocks} blocks with hits of all states)")
    p = between_states(part.tested, code, part.image / len(pump.code), block)
    scores = "Cochran-Mantel-Haenszel" if series.is_rate else "van Elteren"
    numbers = _listed(part, code, [pump.names[number] for number in compared])
    absent = [pump.names[number] for number in np.flatnonzero((counts > 0) & ~enough)]
    if absent:
        numbers += f"; too few images of {', '.join(absent[:MOST_LISTED])}" + " and others" * (
            len(absent) > MOST_LISTED
        )
    test = f"{scores} scores, Hotelling's T2 over {n_blocks} blocks"
    return _Trial(series, "pump state", test, p, numbers, _caution(pump, compared))


def _one_sided(series: _Series, counts: Codes, names: Sequence[str]) -> str:
    """Why there is nothing to compare where fewer than two states occur; empty where two do."""
    present = np.flatnonzero(counts)
    if len(present) > 1:
        return ""
    what = "images" if series.quantity == "hit rate" else "hits"
    return f"there are {what} of {names[present[0]]} only" if len(present) else f"no state of the {what} is known"


def _caution(pump: PumpStates, compared: Codes) -> str:
    """Say so where states take turns so slowly that a jet could well swing with them."""
    known = pump.code[pump.code >= 0]
    turns = np.bincount(known[np.flatnonzero(np.diff(known, prepend=-1))], minlength=len(pump.names))[compared]
    wait = round(len(known) / int(turns.min()))
    if wait < SLOW:
        return ""
    return f"; a state waits {wait} images for its next turn, and what swings with this period looks the same"


def _blocks(series: _Series, code: Codes, most: int) -> Codes:
    """Blocks of whole rounds of all states, with about as many hits each."""
    n_states = int(code.max()) + 1
    starts = rounds(code, n_states)
    if not len(starts):
        return np.zeros(len(code), dtype=np.int64)
    weight = np.ones(len(code))
    if series.is_rate:
        ones = series.values.sum()
        weight = series.values if ones <= len(code) - ones else 1 - series.values
    return merged(starts, weight, min(most, max(MOST_BLOCKS, 4 * n_states)))


def _listed(series: _Series, code: Codes, names: Sequence[str]) -> str:
    """Each state's number; of many states the lowest and the highest."""
    if len(names) <= MOST_LISTED:
        return ", ".join(f"{name} {series.shown(code == number)}" for number, name in enumerate(names))
    summary = np.mean if series.is_rate else np.median
    level = [float(summary(series.values[code == number])) for number in range(len(names))]
    low, high = int(np.argmin(level)), int(np.argmax(level))
    return (
        f"from {names[low]} {series.shown(code == low)} to {names[high]} {series.shown(code == high)}, "
        f"{len(names)} states"
    )


def _differing(probabilities: Sequence[float | None]) -> set[int]:
    """Which tests show a difference, after Holm's step-down correction (Scand. J. Stat. 6 (1979) 65)."""
    tests = sorted((p, number) for number, p in enumerate(probabilities) if p is not None)
    found: set[int] = set()
    for rank, (p, number) in enumerate(tests):
        if p * (len(tests) - rank) >= ALPHA:
            break
        found.add(number)
    return found


def _finding(trial: _Trial, differs: bool, n_tests: int) -> BiasFinding:
    subject = trial.series.subject
    if trial.across == "pump state":
        claim, sign = (
            f"{subject} differs between pump states",
            f"no sign that the {subject} differs between pump states",
        )
    else:
        claim, sign = f"{subject} drifts along the run", f"no sign of a steady drift of the {subject} along the run"
    if trial.p is None:
        statement = f"not tested whether the {claim}: {trial.numbers}"
    elif differs:
        statement = f"{claim}: {trial.numbers} ({_probability(trial.p)}){trial.caution}"
    else:
        alone = f", not enough among {n_tests} tests" if trial.p < ALPHA else ""
        statement = f"{sign}: {trial.numbers} ({_probability(trial.p)}{alone})"
    return BiasFinding(trial.series.quantity, trial.across, trial.test, trial.p, differs, statement)


def _probability(p: float) -> str:
    if p >= 1e-3:
        return f"p = {p:.2g}"
    if p < 1e-99:
        return "p < 1e-99"
    mantissa, _, exponent = f"{p:.0e}".partition("e")
    return f"p = {mantissa}e{int(exponent)}"
