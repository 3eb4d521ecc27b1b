"""The annotated master: NXmx over the original images, with the results of every image and all spots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Run, SecondLook, Spots
from hitsieve.write.chunks import write_file_table
from hitsieve.write.columns import (
    SECOND_LOOK_COLUMN,
    SPOT_COLUMNS,
    TEXT,
    Column,
    GrowingColumns,
    image_columns,
    plottable,
)
from hitsieve.write.frame import new_output
from hitsieve.write.lattices import LatticeColumns
from hitsieve.write.process import ALL, write_contents, write_process
from hitsieve.write.stream import OutputStream
from hitsieve.write.summary import Summary
from hitsieve.write.virtual import Mosaic, SourceArray, virtual_dataset

_PACKING: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_SPAN = 1 << 20
"""Most spots that are read at once."""


class AnnotatedFile:
    """Writes `<stem>_annotated.h5`; memory does not grow with the images.

    Parameters
    ----------
    stream : OutputStream
        File to write.
    run : Run
        The source.
    folder : Path
        Folder of the output, to which links are relative.
    """

    def __init__(self, stream: OutputStream, run: Run, folder: Path) -> None:
        self._run = run
        self._folder = folder
        with new_output(run, stream, folder) as self.frame:
            process = self.frame.process
            self._columns = image_columns(run)
            self._images = GrowingColumns(process, self._columns)
            self._reasons = GrowingColumns(
                process,
                (
                    Column("reason_image", "i8", "images (index in the run) that are unreadable or missing"),
                    Column("reason_text", TEXT, "why"),
                ),
                block=1024,
            )
            spots = process.create_group("spots")
            plottable(spots, "intensity")
            for axis in ("x", "y"):
                spots.attrs[f"{axis}_indices"] = 0
            spots.attrs["description"] = "spots of every image; those of image i are rows offsets[i] to offsets[i + 1]"
            self._offsets = GrowingColumns(spots, (Column("offsets", "i8", "first row of each image, and the end"),))
            self._offsets.add(1, {"offsets": np.zeros(1, np.int64)})
            self._spots = GrowingColumns(spots, SPOT_COLUMNS)
            self._lattices = LatticeColumns(process, "every image")

    @property
    def n_spots(self) -> int:
        """Spots so far."""
        return len(self._spots)

    def add(self, results: ImageResults) -> None:
        """Append the results and spots of one batch."""
        lengths = np.diff(results.offsets)
        ends = self.n_spots + np.cumsum(lengths)
        first, last = int(results.offsets[0]), int(results.offsets[-1])
        self._images.add(len(results), {column.name: getattr(results, column.name) for column in self._columns})
        self._offsets.add(len(results), {"offsets": ends})
        self._spots.add(
            last - first, {field.name: getattr(results.spots, field.name)[first:last] for field in fields(Spots)}
        )
        self._lattices.add(results)
        if results.reasons:
            images = sorted(results.reasons)
            texts = np.array([results.reasons[i] for i in images], dtype=object)
            self._reasons.add(len(images), {"reason_image": np.array(images, np.int64), "reason_text": texts})

    def flush(self) -> None:
        """Write everything that waits, so that spots can be read back."""
        for columns in (self._images, self._reasons, self._offsets, self._spots, self._lattices):
            columns.flush()

    def spots_of(
        self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], pads: Mapping[str, int]
    ) -> dict[str, npt.NDArray[Any]]:
        """Columns of the spots of some images, one row an image, padded to the longest of them as `pads` says."""
        width = int(lengths.max(initial=0))
        types = {column.name: column.dtype for column in SPOT_COLUMNS}
        rows = {name: np.full((len(starts), width), pad, types[name]) for name, pad in pads.items()}
        ends = starts + lengths
        together = len(starts) > 0 and int(ends.max() - starts.min()) <= _SPAN
        base = int(starts.min()) if together else 0
        for name, padded in rows.items():
            block = self._spots.read(name, base, int(ends.max())) if together else None
            for i in np.flatnonzero(lengths):
                start, end = int(starts[i]), int(ends[i])
                found = self._spots.read(name, start, end) if block is None else block[start - base : end - base]
                padded[i, : end - start] = found
        return rows

    def carry(self) -> None:
        """Link the images and write the per-image arrays of the source."""
        run = self._run
        if run.style == "images":
            self.frame.data.attrs["data_absent"] = (
                "the images are not HDF5 files and cannot be linked; source_files and source_row name them"
            )
        else:
            shape = run.detector.shape
            sources = [SourceArray(file.path, file.dataset, (file.n_images, *shape)) for file in run.files]
            absent = np.isin(np.arange(len(run)), list(run.images.missing))
            row = np.where(absent, -1, run.images.row)
            target = f"{self.frame.data.name}/data"
            mosaic = Mosaic(sources, run.images.file, row, run.dtype, shape)
            virtual_dataset(self.frame.data.file, target, mosaic, self._folder)
        self.frame.finish(None)

    def finish(self, summary: Summary, look: SecondLook | None) -> None:
        """Write provenance, totals, settings and the second look, and close the file; the metadata are carried."""
        self.flush()
        run, process = self._run, self.frame.process
        write_file_table(process, run)
        for name, values, description in (
            ("source_image", np.arange(len(run)), "index of the image in the run, from 0"),
            ("source_file", run.images.file, "index in source_files and source_datasets; -1 where no file is known"),
            ("source_row", run.images.row, "row in the source dataset; -1 where none is known"),
        ):
            made = process.create_dataset(name, data=values, **_PACKING)
            made.attrs["description"] = description
        if look is not None:
            column = SECOND_LOOK_COLUMN
            made = process.create_dataset(column.name, data=look.looked, dtype=column.dtype, **_PACKING)
            column.describe(made)
            made.attrs["how"] = look.how
        write_process(process, summary, run)
        write_contents(process, ALL)
        self.frame.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self.frame.close()
