"""Compares what hitsieve found in a simulated run with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

CLEAR_SPOTS = 15
"""A hit with at least this many spots of snr 6 or more is a clear one."""


@dataclass(frozen=True, slots=True)
class Score:
    """Answers of a run against its truth."""

    n_hits: int
    """Images with a crystal, however weak."""
    n_hits_found: int
    """Those called hits."""
    n_clear: int
    """Hits that nobody should lose: at least CLEAR_SPOTS spots of snr 6 or more."""
    n_clear_found: int
    """Those called hits."""
    n_blank: int
    """Images without a crystal."""
    n_blank_called_hits: int

    def __str__(self) -> str:
        return (
            f"found {self.n_clear_found} of the {self.n_clear} hits with {CLEAR_SPOTS} or more spots, "
            f"{self.n_hits_found} of all {self.n_hits} hits; "
            f"called {self.n_blank_called_hits} of {self.n_blank} blank images hits"
        )


def score(truth: Path, images: Path) -> Score:
    """Compare the per-image table of a run with the truth of its simulation.

    Parameters
    ----------
    truth
        `<name>_truth.parquet` of the simulation.
    images
        `<stem>_images.parquet` of the run.

    Returns
    -------
    Score

    Raises
    ------
    ValueError
        The two do not list the same images.
    """
    true = pq.read_table(truth, columns=["image", "state", "n_spots_snr6"]).sort_by("image")
    said = pq.read_table(images, columns=["image", "state"]).sort_by("image")
    if not true["image"].equals(said["image"]):
        msg = f"{truth} and {images} do not list the same images"
        raise ValueError(msg)
    called = np.array(said["state"].to_pylist()) == "hit"
    hit = np.array(true["state"].to_pylist()) == "hit"
    clear = hit & (true["n_spots_snr6"].to_numpy() >= CLEAR_SPOTS)
    return Score(
        n_hits=int(hit.sum()),
        n_hits_found=int((hit & called).sum()),
        n_clear=int(clear.sum()),
        n_clear_found=int((clear & called).sum()),
        n_blank=int((~hit).sum()),
        n_blank_called_hits=int((~hit & called).sum()),
    )
