"""What a user should doubt after a run, and what to do about it."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np

from hitsieve.model import Problem, Run, State
from hitsieve.pipeline.survey import Survey
from hitsieve.pipeline.tally import Tally
from hitsieve.verdict import MAX_MEAN
from hitsieve.write import HitRuleSummary, IndexSummary

FEW = 20
"""Tried images from which on a low share that is indexed is doubted."""
DOUBTFUL = 0.3
FEWEST_ALONE = 5
"""Hits by spots alone from which on a threshold that blanks did not give is doubted."""
ALONE = 0.25
"""Likewise, their share of the images without a lattice."""
_NARROW = 2.0
"""Ratio of the quartiles of spots below which all these may be blanks; the spots of crystals spread wider."""
_NEAR = 2
"""Times the threshold below which spots are near it..."""
_HANG = 0.05
"""...and share of the images without a lattice that have so many, from which on the verdict hangs on the default."""
_FAR = 4.0
"""Standard deviations above the median of blanks that they hardly ever are."""
_QUARTILE = 0.6745
"""Distance of a quartile from the median, in standard deviations."""
_BY_DEFAULT = "spots are enough by default"


def unreadable(run: Run, tally: Tally) -> tuple[Problem, ...]:
    """Name images that are there but could not be read."""
    n = int(tally.counts[State.UNREADABLE])
    if not n:
        return ()
    named = "; ".join(f"image {image} ({_file(run, image)}): {why}" for image, why in tally.unreadable.items())
    more = f"; and {n - len(tally.unreadable)} more" if n > len(tally.unreadable) else ""
    images = "1 image" if n == 1 else f"{n} images"
    return (Problem(str(run.path), f"{images} cannot be read: {named}{more}", "copy their files again"),)


def _file(run: Run, image: int) -> str:
    number = int(run.images.file[image])
    return run.files[number].path.name if number >= 0 else "file unknown"


def another_cell(run: Run, surveyed: Survey) -> tuple[Problem, ...]:
    """Say so where hits by themselves agree on another cell than the one given."""
    found, lattices = surveyed.another.result() if surveyed.another else None, surveyed.plan.lattices
    if found is None or lattices is None:
        return ()
    given, other = (" ".join(f"{value:.4g}" for value in cell.parameters) for cell in (lattices.cell, found.cell))
    given += f" {lattices.cell.centring} ({lattices.cell.origin})"
    what = f"the cell {given} is not the one that hits show by themselves"
    mend = f"{other} {found.cell.centring}: see `hitsieve cell`, or use --cell unknown"
    return (Problem(str(run.path), what, mend),)


def doubts(where: str, rule: HitRuleSummary, index: IndexSummary | None, tally: Tally) -> tuple[Problem, ...]:
    """What the spots say against the threshold, and the lattices against the cell or the geometry."""
    found = [*unsure_threshold(where, rule, tally)]
    if index is not None and index.geometry is not None and index.geometry.warning:
        found.append(Problem(where, index.geometry.warning, index.geometry.mend))
    if index is not None and index.n_tried >= FEW and index.n_indexed < DOUBTFUL * index.n_tried:
        cell = " ".join(f"{value:g}" for value in index.cell.parameters)
        what = f"only {index.n_indexed} of {index.n_tried} images with enough spots fit the cell {cell}"
        found.append(
            Problem(
                where, f"{what} ({index.cell.origin})", "see which cell `hitsieve cell` finds, and check the geometry"
            )
        )
    return tuple(found)


def unsure_threshold(where: str, rule: HitRuleSummary, tally: Tally) -> tuple[Problem, ...]:
    """Say so where the default makes hits of many images without a lattice: they may be blanks."""
    if rule.origin != "default" or rule.rule not in ("either", "spots"):
        return ()
    searched = (tally.state == State.HIT) | (tally.state == State.MISS)
    counts = tally.n_spots_counted[searched & (tally.n_lattices <= 0)]
    alone = counts[counts >= rule.min_spots]
    if len(alone) < FEWEST_ALONE or len(alone) <= ALONE * len(counts):
        return ()
    low, median, high = np.quantile(alone, (0.25, 0.5, 0.75))
    below = ""
    if high >= _NARROW * low or median > MAX_MEAN:
        # Crystals are among them: only those of the fewest spots may be blanks, and hang on the default.
        alone = alone[alone < _NEAR * rule.min_spots]
        if len(alone) < 2 or len(alone) <= _HANG * len(counts):
            return ()
        below = f" have fewer than {_NEAR * rule.min_spots} spots, and"
    low, median = (float(value) for value in np.quantile(alone, (0.25, 0.5)))
    what = f"{len(alone):,} of {len(counts):,} images without a lattice{below} are hits"
    what += f" because {rule.min_spots} {_BY_DEFAULT}; half of them have {median:.0f} spots or more"
    # What is above the median may be hits among blanks; what is below tells how the spots of blanks spread.
    least = 1 + ceil(median + _FAR * max(sqrt(median), (median - low) / _QUARTILE))
    mend = f"look at some with `hitsieve explain`; if they are blanks, `hitsieve rethink --min-spots {least}`"
    return (Problem(where, what, mend),)


def of_threshold(problem: str) -> bool:
    """Whether a problem is one of `unsure_threshold`: another threshold makes it void."""
    return _BY_DEFAULT in problem
