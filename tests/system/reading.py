"""What a run left, read back with the libraries that others read it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the filters
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hitsieve.write import Summary

SUFFIXES = ("_hits.h5", "_annotated.h5", "_images.parquet", "_summary.json")
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Found:
    """The outputs of one run."""

    hits: Path
    annotated: Path
    table: pa.Table
    summary: Summary
    spots: dict[str, Array]
    """Columns of the spots of all images, from the annotated master."""
    offsets: Array

    def column(self, name: str) -> Array:
        return np.array(self.table[name].to_pylist())

    @property
    def state(self) -> list[str]:
        return [str(state) for state in self.table["state"].to_pylist()]

    def images(self, state: str) -> list[int]:
        return [i for i, s in enumerate(self.state) if s == state]

    def spots_of(self, image: int, name: str) -> Array:
        return self.spots[name][self.offsets[image] : self.offsets[image + 1]]

    def places(self, image: int) -> Array:
        """(x, y) of an image's spots, shape (n, 2)."""
        return np.stack([self.spots_of(image, "x"), self.spots_of(image, "y")], axis=1)


def read(folder: Path, stem: str) -> Found:
    """Read the four outputs; there must be no others, and they must agree on how many images there are."""
    hits, annotated, images, summary = (folder / f"{stem}{suffix}" for suffix in SUFFIXES)
    with h5py.File(annotated) as file:
        group = file["entry/hit_finding/spots"]
        spots = {name: group[name][()] for name in group if name != "offsets"}
        offsets = group["offsets"][()]
    found = Found(
        hits=hits,
        annotated=annotated,
        table=pq.read_table(images),
        summary=Summary.model_validate_json(summary.read_text()),
        spots=spots,
        offsets=offsets,
    )
    n = found.summary.n_images
    assert len(found.table) == len(offsets) - 1 == n
    assert found.table["image"].to_pylist() == list(range(n))
    return found


def names(folder: Path) -> set[str]:
    """Names of all files below a folder; empty where it is absent."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
