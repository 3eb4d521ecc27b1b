"""What a user should doubt after a run, and what to do about it."""

from __future__ import annotations

from hitsieve.model import Problem, Run, State
from hitsieve.pipeline.survey import Survey
from hitsieve.pipeline.tally import Tally
from hitsieve.write import IndexSummary

FEW = 20
"""Tried images from which on a low share that is indexed is doubted."""
DOUBTFUL = 0.3


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


def doubts(where: str, index: IndexSummary | None) -> tuple[Problem, ...]:
    """What the lattices say against the cell or the geometry."""
    found = []
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
