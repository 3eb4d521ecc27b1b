"""Columns of numbers that grow together in an HDF5 group, a block at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.filters import register_filters
from hitsieve.model import SPOT_FLAGS, Looked, Run, State

register_filters()

Array = npt.NDArray[Any]

# Filters that every HDF5 library has: columns can be read without plug-ins.
_PACKING = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

STATE_TYPE: np.dtype[Any] = h5py.enum_dtype({state.name.lower(): state.value for state in State}, basetype="u1")
_LOOKED_TYPE: np.dtype[Any] = h5py.enum_dtype({looked.name.lower(): looked.value for looked in Looked}, basetype="u1")
TEXT: np.dtype[Any] = h5py.string_dtype()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, type, meaning and, where it has one, its unit."""

    name: str
    dtype: Any
    description: str
    units: str | None = None
    shape: tuple[int, ...] = ()
    """Of one row."""

    def describe(self, dataset: h5py.Dataset) -> None:
        """Give the dataset its attributes."""
        dataset.attrs["description"] = self.description
        if self.units is not None:
            dataset.attrs["units"] = self.units

    def table_metadata(self) -> dict[str, str]:
        """Give description and unit for the table, where what is unknown is null."""
        described = {"description": re.sub(r"(-1|NaN) (where|without)", r"null \2", self.description)}
        return described if self.units is None else described | {"units": self.units}


IMAGE_COLUMNS: tuple[Column, ...] = (
    Column("state", STATE_TYPE, "hit, miss, unreadable or missing"),
    Column("n_spots", "i4", "spots found; -1 where the image was not searched"),
    Column("n_spots_counted", "i4", "spots that count for the verdict; -1 where not searched"),
    Column("n_spots_ice", "i4", "spots in ice bands; -1 where not searched"),
    Column("n_strong", "i4", "strong pixels; -1 where not searched"),
    Column("n_saturated", "i4", "saturated good pixels; -1 where not searched"),
    Column("max_count", "i8", "largest count of a good pixel; -1 where not searched", "counts"),
    Column("background", "f4", "mean counts a pixel in the background ring; NaN where not searched", "counts"),
    Column("resolution", "f4", "resolution estimate d; NaN without enough spots or geometry", "angstrom"),
    Column("n_lattices", "i4", "lattices found; -1 where not searched, or where the run is not indexed"),
    Column("n_indexed", "i4", "spots indexed, of all lattices; -1 where not searched, or where the run is not indexed"),
)
CELL_LENGTHS = Column("unit_cell_abc", "f8", "a, b, c of the unit cell", "angstrom")
CELL_ANGLES = Column("unit_cell_alphabetagamma", "f8", "alpha, beta, gamma of the unit cell", "degrees")
"""Under the names, and with the units, that NXsample has for them: a field has one unit."""
PUMP_COLUMN = Column("pump", "i2", "pump state, as index in pump_names; -1 where it is unknown")
SECOND_LOOK_COLUMN = Column(
    "second_look",
    _LOOKED_TYPE,
    "what a second look at it showed, where it is one of those drawn from the misses",
)
_FLAGS = ", ".join(f"{bit} {name}" for name, bit in SPOT_FLAGS.items())
SPOT_COLUMNS: tuple[Column, ...] = (
    Column("x", "f4", "centroid along the fast axis; the first pixel has its centre at 0.5", "pixels"),
    Column("y", "f4", "centroid along the slow axis; the first pixel has its centre at 0.5", "pixels"),
    Column("intensity", "f4", "counts above background, summed over the spot", "counts"),
    Column("background", "f4", "local background, counts a pixel", "counts"),
    Column("snr", "f4", "intensity over the background's standard deviation on the spot"),
    Column("n_pixels", "i4", "pixels of the spot"),
    Column("peak", "f4", "counts of the brightest pixel", "counts"),
    Column("resolution", "f4", "d of the centroid; NaN where the geometry is unknown", "angstrom"),
    Column("flags", "u1", f"bits: {_FLAGS}"),
    Column("lattice", "i1", "which of the image's lattices indexes the spot, from 0; -1 where none does"),
    Column("h", "i2", "Miller index in that lattice; 0 where there is none"),
    Column("k", "i2", "Miller index in that lattice; 0 where there is none"),
    Column("l", "i2", "Miller index in that lattice; 0 where there is none"),
)


def image_columns(run: Run) -> tuple[Column, ...]:
    """Columns with one row an image that the outputs of a run have."""
    return IMAGE_COLUMNS if run.pump is None else (*IMAGE_COLUMNS, PUMP_COLUMN)


def plottable(group: h5py.Group, signal: str, rank: int = 1) -> None:
    """Make a group of columns NXdata, which programs that know nothing of hits can plot."""
    group.attrs["NX_class"] = "NXdata"
    group.attrs["signal"] = signal
    group.attrs["axes"] = ["."] * rank


class GrowingColumns:
    """Extendible datasets of equal length; rows wait in memory until a block is full.

    Parameters
    ----------
    group : h5py.Group
        Where the datasets are made.
    columns : sequence of Column
        What they are.
    block : int
        Rows that are written at once; also the chunk length.
    """

    def __init__(self, group: h5py.Group, columns: Sequence[Column], block: int = 8192) -> None:
        self._block = block
        self._waiting: list[Mapping[str, Array]] = []
        self._n_waiting = 0
        self._length = 0
        self._datasets: dict[str, h5py.Dataset] = {}
        for column in columns:
            packing: dict[str, Any] = {} if column.dtype is TEXT else dict(_PACKING)
            dataset = group.create_dataset(
                column.name,
                shape=(0, *column.shape),
                maxshape=(None, *column.shape),
                dtype=column.dtype,
                chunks=(block, *column.shape),
                rdcc_nbytes=1,  # whole chunks are written: the cache of a column, 8 MiB by default, would only fill up
                **packing,
            )
            column.describe(dataset)
            self._datasets[column.name] = dataset

    def __len__(self) -> int:
        return self._length + self._n_waiting

    def add(self, length: int, rows: Mapping[str, Array]) -> None:
        """Append `length` rows, one array a column."""
        if length == 0:
            return
        self._waiting.append(rows)
        self._n_waiting += length
        if self._n_waiting >= self._block:
            self._write(self._n_waiting - self._n_waiting % self._block)

    def flush(self) -> None:
        """Write all rows that wait."""
        self._write(self._n_waiting)

    def _write(self, length: int) -> None:
        if length == 0:
            return
        rest: dict[str, Array] = {}
        for name, dataset in self._datasets.items():
            values = np.concatenate([rows[name] for rows in self._waiting])
            dataset.resize(self._length + length, axis=0)
            dataset[self._length :] = values[:length]
            rest[name] = values[length:].copy()
        self._length += length
        self._n_waiting -= length
        self._waiting = [rest] if self._n_waiting else []

    def read(self, name: str, start: int, stop: int) -> Array:
        """Rows start to stop of a column that were written."""
        values: Array = self._datasets[name][start:stop]
        return values
