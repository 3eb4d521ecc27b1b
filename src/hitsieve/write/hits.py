"""The hit-only file: self-contained NXmx with the hits' chunks, their peaks and provenance, and the audit sample."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Run, State
from hitsieve.write.annotated import AnnotatedFile
from hitsieve.write.chunks import ImageChunks, write_file_table, write_provenance
from hitsieve.write.columns import Column, image_columns, plottable
from hitsieve.write.counts import correct_counts
from hitsieve.write.frame import new_output
from hitsieve.write.lattices import LatticeColumns
from hitsieve.write.process import HITS, write_contents, write_process
from hitsieve.write.stream import OutputStream
from hitsieve.write.summary import Summary

Image = bytes | npt.NDArray[Any]

_MILLER = "Miller index in that lattice; 0 where there is none"
_PEAKS = {
    "peakXPosRaw": Column("x", "f4", "pixel index along the fast axis: 0 is the centre of the first pixel", "pixels"),
    "peakYPosRaw": Column("y", "f4", "pixel index along the slow axis: 0 is the centre of the first pixel", "pixels"),
    "peakTotalIntensity": Column("intensity", "f4", "counts above background, summed over the spot", "counts"),
    "peakNPixels": Column("n_pixels", "f4", "pixels of the spot"),
    "peakMaximumValue": Column("peak", "f4", "counts of the brightest pixel", "counts"),
    "peakSNR": Column("snr", "f4", "intensity over the background's standard deviation on the spot"),
    "peakLattice": Column("lattice", "i1", "which of the image's lattices indexes the spot, from 0; -1: none"),
    "peakH": Column("h", "i2", _MILLER),
    "peakK": Column("k", "i2", _MILLER),
    "peakL": Column("l", "i2", _MILLER),
}
"""Spot columns under the names that CXI has for them, and, where it has none, under names in its style."""
PEAK_LISTS = ("nPeaks", *_PEAKS)
"""Datasets of MX with one row an image."""
_PADS = {column.name: -1 if column.name == "lattice" else 0 for column in _PEAKS.values()}
_POSITIONS = ("x", "y")
_BLOCK = 128


class HitsFile:
    """Writes `<stem>_hits.h5`, or that of one pump state; of each hit only a few numbers stay in memory.

    Parameters
    ----------
    stream : OutputStream
        File to write.
    run : Run
        The source.
    folder : Path
        Folder of the output, to which links are relative.
    pump : int, optional
        Pump state (index in Run.pump.names) of which it holds the hits; None: all hits, and an audit sample.
    """

    def __init__(self, stream: OutputStream, run: Run, folder: Path, pump: int | None = None) -> None:
        self.pump = pump
        self._run = run
        self._stream = stream
        with new_output(run, stream, folder) as self.frame:
            self.chunks = ImageChunks(self.frame.data, run, stream)
            self._lattices = LatticeColumns(self.frame.process, "every hit")
        self._columns: dict[str, list[npt.NDArray[Any]]] = {column.name: [] for column in image_columns(run)}
        self._starts: list[npt.NDArray[np.int64]] = []
        self._lengths: list[npt.NDArray[np.int64]] = []

    def chosen(self, results: ImageResults) -> npt.NDArray[np.bool_]:
        """Which images of a batch belong here."""
        hits = results.state == State.HIT
        return np.asarray(hits if self.pump is None else hits & (results.pump == self.pump))

    def add(self, results: ImageResults, n_spots_before: int) -> None:
        """Append the numbers of the hits of one batch; their images are added to `chunks`.

        Parameters
        ----------
        results : ImageResults
            The batch.
        n_spots_before : int
            Spots of the run before this batch.
        """
        chosen = self.chosen(results)
        for name, values in self._columns.items():
            values.append(getattr(results, name)[chosen])
        starts = results.offsets[:-1] - results.offsets[0] + n_spots_before
        self._starts.append(starts[chosen])
        self._lengths.append(np.diff(results.offsets)[chosen])
        self._lattices.add(results, chosen)

    def carry(self) -> None:
        """Write the source's per-image arrays, cut to the hits; no more hits can be added."""
        self.chunks.close()
        self.frame.finish(self.chunks.images)

    def finish(self, summary: Summary, audit: Iterable[tuple[int, Image]] | None, annotated: AnnotatedFile) -> None:
        """Write peaks, results, provenance, audit sample and totals, and close the file; the metadata are carried.

        Parameters
        ----------
        summary : Summary
            The numbers of the run, or of the images of the pump state.
        audit : iterable of (int, bytes or array), optional
            Index in the run, and image, of each miss that is kept; None: there is no such sample.
        annotated : AnnotatedFile
            Holds the spots; flushed.
        """
        self._peaks(annotated)
        self._lattices.flush()
        process = self.frame.process
        for column in image_columns(self._run):
            parts = self._columns[column.name]
            values = np.concatenate(parts) if parts else np.zeros(0)
            column.describe(process.create_dataset(column.name, data=values.astype(column.dtype), dtype=column.dtype))
        write_file_table(process, self._run)
        write_provenance(process, self._run, self.chunks)
        if audit is not None:
            self._audit(process, summary, audit)
        if self.pump is not None and self._run.pump is not None:
            state = process.create_dataset("pump_state", data=self._run.pump.names[self.pump])
            state.attrs["description"] = "pump state of the hits; totals and rates are of the images of this state"
        write_process(process, summary, self._run)
        write_contents(process, HITS)
        correct_counts(self.frame.entry, process, len(self.chunks))
        self.frame.close()

    def _peaks(self, annotated: AnnotatedFile) -> None:
        """Peak lists as CXI has them, in pixel indices: CrystFEL adds half a pixel to them."""
        group = self.frame.entry.create_group("MX")
        group.attrs["NX_class"] = "NXcollection"
        group.attrs["description"] = "peak lists in CXI style; row i belongs to image i of /entry/data/data"
        empty = np.zeros(0, np.int64)
        starts = np.concatenate(self._starts) if self._starts else empty
        lengths = np.concatenate(self._lengths) if self._lengths else empty
        n, width = len(starts), max(1, int(lengths.max(initial=0)))
        group.create_dataset("nPeaks", data=lengths.astype(np.int64)).attrs["description"] = "peaks of each image"
        packing: dict[str, Any] = {}
        if n:
            packing = {"chunks": (min(n, _BLOCK), width), "compression": "gzip", "compression_opts": 1, "shuffle": True}
        made = {}
        for name, column in _PEAKS.items():
            pad = _PADS[column.name]
            made[name] = group.create_dataset(name, (n, width), column.dtype, fillvalue=pad, **packing)
            column.describe(made[name])
        for start in range(0, n, _BLOCK):
            block = slice(start, start + _BLOCK)
            found = annotated.spots_of(starts[block], lengths[block], _PADS)
            used = np.arange(found["x"].shape[1]) < lengths[block, None]
            for name, column in _PEAKS.items():
                values = found[column.name]
                if column.name in _POSITIONS:
                    values = np.where(used, values - 0.5, 0)
                made[name][block, : values.shape[1]] = values
            self._stream.check()

    def _audit(self, process: h5py.Group, summary: Summary, audit: Iterable[tuple[int, Image]]) -> None:
        group = process.create_group("audit")
        plottable(group, "data", rank=3)
        group.attrs["description"] = "a random sample of the misses, as they were stored"
        chunks = ImageChunks(group, self._run, self._stream)
        for image, stored in audit:
            chunks.add(image, stored)
        chunks.close()
        write_provenance(group, self._run, chunks)
        settings = summary.settings.get("write", {})
        for name, value, description in (
            ("n", len(chunks), "misses kept"),
            ("min", settings.get("audit_min"), "fewest misses that were to be kept"),
            ("fraction", summary.audit.fraction, "share of the misses that was to be kept"),
            ("seed", summary.audit.seed, "seed of numpy.random.default_rng, which drew the sample"),
            ("n_misses", summary.n_misses, "misses of the run, from which the sample was drawn"),
        ):
            if value is not None:
                group.create_dataset(name, data=value).attrs["description"] = description

    def abandon(self) -> None:
        """Close the file as it is."""
        self.chunks.abandon()
        self.frame.close()
