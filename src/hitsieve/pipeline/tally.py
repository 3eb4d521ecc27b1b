"""What a run's summary needs to remember of each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, State

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(slots=True)
class Tally:
    """A few numbers an image, filled in batch by batch."""

    state: npt.NDArray[np.uint8]
    n_spots: npt.NDArray[np.int32]
    background: npt.NDArray[np.float32]
    resolution: npt.NDArray[np.float32]
    done: int = 0
    n_saturated_images: int = 0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(State), dtype=np.int64))
    """Images of each state so far."""
    first_reason: str = ""
    """Why the first image that could not be searched could not."""

    @classmethod
    def of(cls, n: int) -> Self:
        """For a run of n images."""
        unknown = np.full(n, np.nan, dtype=np.float32)
        return cls(np.zeros(n, dtype=np.uint8), np.full(n, -1, dtype=np.int32), unknown, unknown.copy())

    def add(self, results: ImageResults) -> None:
        """Take in the next images."""
        here = slice(self.done, self.done + len(results))
        self.state[here] = results.state
        self.n_spots[here] = results.n_spots
        self.background[here] = results.background
        self.resolution[here] = results.resolution
        self.done += len(results)
        self.n_saturated_images += int((results.n_saturated > 0).sum())
        self.counts += np.bincount(results.state, minlength=len(State))
        if not self.first_reason and results.reasons:
            image = min(results.reasons)
            self.first_reason = f"image {image}: {results.reasons[image]}"

    def images(self, state: State) -> npt.NDArray[np.int64]:
        """Indices of the images in a state."""
        return np.flatnonzero(self.state[: self.done] == state)
