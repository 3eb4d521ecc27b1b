"""Reads back what a run of hitsieve left: the results of any of its images, and its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Closing, ImageResults, PumpStates, SecondLook, Spots, State
from hitsieve.settings import RunSettings
from hitsieve.write.belonging import Admit, check_one_run, pump_state_of
from hitsieve.write.columns import CELL_ANGLES, CELL_LENGTHS, IMAGE_COLUMNS, PUMP_COLUMN, SECOND_LOOK_COLUMN
from hitsieve.write.lattices import LATTICE_COLUMNS, lattices_of
from hitsieve.write.layout import faults_of
from hitsieve.write.metadata import entry_of
from hitsieve.write.outputs import Outputs, find_outputs, read_summary
from hitsieve.write.perimage import read_rows
from hitsieve.write.places import open_output
from hitsieve.write.positions import scan_positions
from hitsieve.write.summary import Summary

_PROVENANCE = ("source_file", "source_row")
_TYPES: dict[str, npt.DTypeLike] = {
    "state": np.uint8,
    "max_count": np.int64,
    "background": np.float32,
    "resolution": np.float32,
    "pump": np.int16,
    "source_row": np.int64,
}
Images = npt.NDArray[np.int64]


def open_results(path: str | Path, admit: Admit = nullcontext) -> StoredResults:
    """Open the results of a finished run, read-only.

    Parameters
    ----------
    path : str or Path
        Any of the run's outputs, or a folder that holds the outputs of one run. The hit-only file of one pump state
        gives its hits as `hits`.
    admit : callable, optional
        For whoever may open some files only: gives a path by which the file of hits is opened, or none.

    Returns
    -------
    StoredResults

    Raises
    ------
    SourceError
        There is no such run, or there are several; its annotated master or its summary is absent or damaged, or of
        another version of the schema; or the files are not of one run.
    """
    path = Path(path)
    outputs = find_outputs(path)
    summary = read_summary(outputs.summary)
    states = () if summary.pump is None else summary.pump.states
    folder = outputs.summary.parent
    outputs = replace(outputs, pump_hits=tuple(folder / state.hits_file for state in states if state.hits_file))
    file = open_output(outputs.annotated, "*_annotated.h5")
    try:
        named = path if path.is_file() else outputs.summary
        return StoredResults(outputs, summary, (file, named), admit)
    except BaseException:
        file.close()
        raise


class StoredResults(Closing):
    """Results of a finished run; close it, or use it in a `with` statement.

    Its length is the number of images of the run. Nothing but what is asked for is read.
    """

    def __init__(self, outputs: Outputs, summary: Summary, opened: tuple[h5py.File, Path], admit: Admit) -> None:
        self.outputs = outputs
        self.summary = summary
        file, named = opened
        self._file = file
        with self._reading():
            self._process: h5py.Group = file[f"{entry_of(file)}/hit_finding"]
            date, n = self._process["date"].asstr()[()], len(self._process["state"])
        if f"lattices/{LATTICE_COLUMNS[0].name}" not in self._process:
            raise SourceError(
                f"{outputs.annotated}: was written by an older version of hitsieve",
                mend="run hitsieve run again on the original files, or use that version",
            )
        check_one_run(outputs, summary, (date, n), admit)
        with self._reading():
            fault = next(faults_of(self._process, len(self)), None)
        if fault:
            what = f"{outputs.annotated}: is damaged: {fault}"
            raise SourceError(what, mend="copy it again, or write it again with hitsieve run")
        self.pump_state = pump_state_of(named, outputs, summary)
        """Of the hits of `hits_file`, where it holds those of one state only."""
        self.hits_file = outputs.hits if self.pump_state is None else named
        """Hit-only file in use: that of all hits, or that of one pump state if the user named it."""

    def __len__(self) -> int:
        return self.summary.n_images

    @cached_property
    def settings(self) -> RunSettings:
        """Settings of the run.

        Raises
        ------
        SourceError
            They are not settings of this version of hitsieve.
        """
        try:
            return RunSettings.model_validate(self.summary.settings)
        except ValueError as error:
            raise SourceError(
                f"{self.outputs.summary}: its settings are not those of this version of hitsieve: {error}",
                mend="run hitsieve run again on the original files",
            ) from error

    @cached_property
    def source_files(self) -> tuple[Path, ...]:
        """Files that hold the images of the run, absolute; `column("source_file")` counts them."""
        return self._paths("source_files")

    @cached_property
    def source_datasets(self) -> tuple[str, ...]:
        """Dataset in each of the source files; empty for formats that are not HDF5."""
        with self._reading():
            return tuple(str(name) for name in self._process["source_datasets"].asstr()[()])

    @cached_property
    def source_paths(self) -> tuple[Path, ...]:
        """What to open, together, to open the original run again; absolute."""
        return self._paths("source_paths")

    @cached_property
    def geometry(self) -> str | None:
        """Text of the geometry file of the run, as it was then; None where none was given."""
        if "geometry" not in self._process:
            return None
        with self._reading():
            return str(self._process["geometry/data"].asstr()[()])

    @cached_property
    def mask_sha256(self) -> str | None:
        """Digest of the pixel mask as it was used; None where there was no mask."""
        if "mask_sha256" not in self._process:
            return None
        with self._reading():
            return str(self._process["mask_sha256"].asstr()[()])

    @cached_property
    def pump(self) -> PumpStates | None:
        """Pump states of the images; None where the run is not time-resolved."""
        if "pump_names" not in self._process:
            return None
        with self._reading():
            names = tuple(str(name) for name in self._process["pump_names"].asstr()[()])
            origin = str(self._process["pump_origin"].asstr()[()])
        return PumpStates(names, self.column("pump"), origin)

    @cached_property
    def second_look(self) -> SecondLook | None:
        """What a second look at misses found; None where there was none."""
        if SECOND_LOOK_COLUMN.name not in self._process:
            return None
        with self._reading():
            dataset = self._process[SECOND_LOOK_COLUMN.name]
            return SecondLook(np.asarray(dataset[()]).astype(np.uint8), str(dataset.attrs["how"]))

    @property
    def of_pump_state(self) -> npt.NDArray[np.bool_]:
        """Whether each image is of the pump state of `hits_file`; all are, where that holds all hits."""
        if self.pump is None or self.pump_state is None:
            return np.ones(len(self), dtype=np.bool_)
        return np.asarray(self.pump.code == self.pump.names.index(self.pump_state))

    @cached_property
    def hits(self) -> Images:
        """Image (index in the run) of each row of `hits_file`."""
        return np.flatnonzero((self.column("state") == State.HIT) & self.of_pump_state)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One number of every image of the run.

        Parameters
        ----------
        name : str
            A column of ImageResults, or source_file or source_row.

        Returns
        -------
        array, shape (images,)

        Raises
        ------
        ValueError
            There is no such column.
        """
        return self._column(name, None)

    def read_column(self, name: str, images: npt.ArrayLike) -> npt.NDArray[Any]:
        """One number of some images, in the order given; of a name as in `column`, shape (n,)."""
        return self._column(name, np.asarray(images, dtype=np.int64))

    def read(self, images: npt.ArrayLike) -> ImageResults:
        """Results, spots and lattices of some images.

        Parameters
        ----------
        images : array of int, shape (n,)
            Index in the run of each; any order, also more than once. Memory grows with their spots: read the images
            of a long run in blocks.

        Returns
        -------
        ImageResults
            In the order given.

        Raises
        ------
        SourceError
            The run has no such image.
        """
        wanted = np.atleast_1d(np.asarray(images, dtype=np.int64))
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(outside):
            what = f"{self.outputs.annotated}: has no image {outside[0]}, only {len(self)}"
            raise SourceError(what, mend="count from 0")
        with self._reading():
            offsets, spots = self._ragged(self._process["spots"], wanted, [field.name for field in fields(Spots)])
            names = [column.name for column in LATTICE_COLUMNS]
            lattice_offsets, lattices = self._ragged(self._process["lattices"], wanted, names)
        return ImageResults(
            image=wanted,
            **{column.name: self._column(column.name, wanted) for column in (*IMAGE_COLUMNS, PUMP_COLUMN)},
            reasons=self._reasons(wanted),
            offsets=offsets,
            spots=Spots(**spots),
            lattice_offsets=lattice_offsets,
            lattices=lattices_of(lattices),
        )

    def spots_between(self, first: int, stop: int, names: Sequence[str]) -> tuple[Images, dict[str, npt.NDArray[Any]]]:
        """Some columns of the spots of images first to stop; those of the i-th are offsets[i] to offsets[i + 1].

        Returns
        -------
        offsets : int64, shape (stop - first + 1,)
        columns : dict of str to array
        """
        with self._reading():
            group = self._process["spots"]
            ends = np.asarray(group["offsets"][first : stop + 1], dtype=np.int64)
            return ends - ends[0], {name: group[name][ends[0] : ends[-1]] for name in names}

    def cells(self) -> tuple[Images, npt.NDArray[np.float32]]:
        """Cells of all lattices of the run; those of image i are rows offsets[i] to offsets[i + 1].

        Returns
        -------
        offsets : int64, shape (images + 1,)
        cells : float32, shape (lattices, 6)
            a, b, c (angstrom), alpha, beta, gamma (degrees).
        """
        with self._reading():
            group = self._process["lattices"]
            parts = [np.asarray(group[column.name][()], dtype=np.float32) for column in (CELL_LENGTHS, CELL_ANGLES)]
            return np.asarray(group["offsets"][()], dtype=np.int64), np.hstack(parts)

    def positions(self) -> dict[str, npt.NDArray[np.float64]]:
        """Where the sample was at each image, by the name of the axis of its move; see `scan_positions`."""
        with self._reading():
            return scan_positions(self._file, len(self))

    def fileno(self) -> int:
        """Descriptor of the annotated master."""
        return int(self._file.id.get_vfd_handle())

    def _column(self, name: str, images: Images | None) -> npt.NDArray[Any]:
        if name == "image":
            return np.arange(len(self)) if images is None else images
        if name not in (known := [*(column.name for column in IMAGE_COLUMNS), PUMP_COLUMN.name, *_PROVENANCE]):
            raise ValueError(f"there is no column {name}, only image, {', '.join(known)}")
        dtype = np.dtype(_TYPES.get(name, np.int32))
        if name not in self._process:
            return np.full(len(self) if images is None else len(images), -1, dtype=dtype)
        with self._reading():
            dataset = self._process[name]
            values = np.asarray(dataset[()] if images is None else read_rows(dataset, images)).astype(dtype)
            least, beyond = self._bounds(name)
            if beyond is not None and len(values) and not least <= values.min() <= values.max() < beyond:
                raise ValueError(f"{name} has values beyond {least} to {beyond - 1}")
            return values

    def _bounds(self, name: str) -> tuple[int, int | None]:
        """The least value of a column that counts something, and the first beyond its largest; None: it has none."""
        if name == "state":
            return 0, max(State) + 1
        of = {"source_file": "source_files", PUMP_COLUMN.name: "pump_names"}.get(name)
        return -1, None if of is None else len(self._process[of])

    def _ragged(self, group: h5py.Group, images: Images, names: list[str]) -> tuple[Images, dict[str, Any]]:
        """Offsets and columns of what some images have several of."""
        ends = read_rows(group["offsets"], np.concatenate([images, images + 1]))
        starts, lengths = ends[: len(images)], np.diff(ends.reshape(2, -1), axis=0)[0]
        if len(images) and (lengths.min() < 0 or starts.min() < 0 or (starts + lengths).max() > len(group[names[0]])):
            raise IndexError(f"the offsets of {group.name} lead out of its rows")
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return offsets, {name: read_rows(group[name], rows) for name in names}

    @cached_property
    def _reason_images(self) -> Images:
        with self._reading():
            return np.asarray(self._process["reason_image"][()], dtype=np.int64)

    def _reasons(self, images: Images) -> dict[int, str]:
        rows = np.flatnonzero(np.isin(self._reason_images, images))
        with self._reading():
            texts = read_rows(self._process["reason_text"], rows)
        return {int(self._reason_images[row]): text.decode() for row, text in zip(rows, texts, strict=True)}

    def _paths(self, name: str) -> tuple[Path, ...]:
        with self._reading():
            return tuple(Path(path) for path in self._process[name].asstr()[()])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Damage that HDF5 meets becomes a SourceError."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise SourceError(
                f"{self.outputs.annotated}: cannot be read as an annotated master of hitsieve ({reason})",
                mend="copy it again, or write it again with hitsieve run",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
