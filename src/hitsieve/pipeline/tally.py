"""What a run's summary needs to remember of each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, State

if TYPE_CHECKING:
    from typing_extensions import Self

Counts = npt.NDArray[np.int32]
Levels = npt.NDArray[np.float32]
COLUMNS = (
    "state",
    "n_spots",
    "n_spots_counted",
    "n_spots_ice",
    "n_saturated",
    "max_count",
    "background",
    "resolution",
    "n_lattices",
    "n_indexed",
)


SHOWN = 5
"""Reasons that are remembered."""


@dataclass(slots=True)
class Tally:
    """A few numbers an image, filled in batch by batch; as in ImageResults, shape (images,) each."""

    state: npt.NDArray[np.uint8]
    n_spots: Counts
    n_spots_counted: Counts
    n_spots_ice: Counts
    n_saturated: Counts
    max_count: npt.NDArray[np.int64]
    background: Levels
    resolution: Levels
    n_lattices: Counts
    n_indexed: Counts
    done: int = 0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(State), dtype=np.int64))
    """Images of each state so far."""
    first_reason: str = ""
    """Why the first image that could not be searched could not."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Why the first images that could not be read could not."""
    cells: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """Cells of the lattices, in parts of shape (m, 6)."""
    residuals: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """Their residuals (1/angstrom)."""

    @classmethod
    def of(cls, n: int) -> Self:
        """For a run of n images."""
        number = np.full(n, -1, dtype=np.int32)
        unknown = np.full(n, np.nan, dtype=np.float32)
        return cls(
            state=np.zeros(n, dtype=np.uint8),
            n_spots=number,
            n_spots_counted=number.copy(),
            n_spots_ice=number.copy(),
            n_saturated=number.copy(),
            max_count=number.astype(np.int64),
            background=unknown,
            resolution=unknown.copy(),
            n_lattices=number.copy(),
            n_indexed=number.copy(),
        )

    def add(self, results: ImageResults) -> None:
        """Take in the next images."""
        here = slice(self.done, self.done + len(results))
        for name in COLUMNS:
            getattr(self, name)[here] = getattr(results, name)
        self.done += len(results)
        self.counts += np.bincount(results.state, minlength=len(State))
        if len(results.lattices):
            self.cells.append(results.lattices.cell)
            self.residuals.append(results.lattices.residual)
        if not self.first_reason and results.reasons:
            image = min(results.reasons)
            self.first_reason = f"image {image}: {results.reasons[image]}"
        spoiled = results.image[results.state == State.UNREADABLE].tolist()
        self.unreadable |= {image: results.reasons[image] for image in spoiled[: SHOWN - len(self.unreadable)]}

    def images(self, state: State) -> npt.NDArray[np.int64]:
        """Indices of the images in a state."""
        return np.flatnonzero(self.state[: self.done] == state)
