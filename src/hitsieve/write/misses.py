"""The misses file: self-contained NXmx with the chunks of all misses, and what is left of images that are neither."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Problem, Run, State
from hitsieve.write.chunks import ImageChunks, write_file_table, write_provenance
from hitsieve.write.columns import STATE_TYPE, TEXT, Column, GrowingColumns, image_columns
from hitsieve.write.counts import correct_counts
from hitsieve.write.frame import new_output
from hitsieve.write.process import MISSES, write_contents, write_process
from hitsieve.write.stream import OutputStream
from hitsieve.write.summary import Summary

Image = bytes | npt.NDArray[Any]

_REST = (
    Column("source_image", "i8", "index of the image in the run, from 0"),
    Column("source_file", "i4", "index in source_files and source_datasets; -1 where no file is known"),
    Column("source_row", "i8", "row in the source dataset; -1 where none is known"),
    Column("state", STATE_TYPE, "unreadable or missing"),
    Column("sha256", "S64", "SHA-256 of its bytes, hexadecimal; empty where there are none"),
    Column("is_chunk", "?", "its bytes are one whole chunk, packed as those of /entry/data/data are"),
)
_REASON = Column("reason", TEXT, "why the image is unreadable or missing")
_BYTES = Column("bytes", "u1", "stored bytes of the unreadable images, one after the other, as the source has them")
_ENDS = Column("offsets", "i8", "first of the bytes of each image, and the end")
_BLOCK = 1 << 20


class MissesFile:
    """Writes `<stem>_misses.h5`; of each image only a few bytes stay in memory.

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
        self._stream = stream
        with new_output(run, stream, folder) as self.frame:
            self.chunks = ImageChunks(self.frame.data, run, stream)
            self._columns = image_columns(run)
            self._results = GrowingColumns(self.frame.process, self._columns)
            self._rest = _Rest(self.frame.process.create_group("rest"), run)

    @staticmethod
    def chosen(results: ImageResults) -> npt.NDArray[np.bool_]:
        """Which images of a batch are asked for: misses, and those whose bytes are there but cannot be decoded."""
        return np.asarray((results.state == State.MISS) | (results.state == State.UNREADABLE))

    def add(self, results: ImageResults, images: Mapping[int, Image]) -> None:
        """Append one batch: the images that are `chosen`, and what is known of those that are missing."""
        misses = results.state == State.MISS
        self._results.add(
            int(misses.sum()), {column.name: getattr(results, column.name)[misses] for column in self._columns}
        )
        for place in np.flatnonzero(results.state >= State.UNREADABLE).tolist():
            image, state = int(results.image[place]), State(int(results.state[place]))
            stored = images[image] if state is State.UNREADABLE else b""
            is_chunk = bool(stored) and self.chunks.fits(image) if isinstance(stored, bytes) else False
            bytes_ = stored if isinstance(stored, bytes) else b""
            self._rest.add(image, state, results.reasons.get(image, ""), bytes_, is_chunk=is_chunk)
            self._stream.check()

    def carry(self) -> None:
        """Write the source's per-image arrays, cut to the misses, and to the rest; no more images can be added."""
        self.chunks.close()
        self._results.flush()
        self._rest.flush()
        self.frame.finish(self.chunks.images)
        rest = self._rest.images
        if len(rest):
            aside = self._rest.group.create_group("metadata")
            aside.attrs["NX_class"] = "NXcollection"
            aside.attrs["description"] = "their rows of the per-image arrays of this file, under the same paths"
            self.frame.put_aside(aside, rest)

    @property
    def not_held(self) -> Problem | None:
        """Unreadable images of which the file has no bytes."""
        n = self._rest.n_without_bytes
        if not n:
            return None
        what = f"{n} of {self._rest.n_unreadable} unreadable images have no whole chunk that the misses file could keep"
        return Problem(str(self._run.path), what, "keep their files; hit_finding/rest of the misses file names them")

    def finish(self, summary: Summary) -> None:
        """Write provenance and totals, and close the file; the metadata are carried."""
        process = self.frame.process
        write_file_table(process, self._run)
        write_provenance(process, self._run, self.chunks)
        write_process(process, summary, self._run)
        write_contents(process, MISSES)
        correct_counts(self.frame.entry, process, len(self.chunks))
        self.frame.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self.chunks.abandon()
        self.frame.close()


class _Rest:
    """The group `rest`: images that are neither hits nor misses, with their bytes where they have any."""

    def __init__(self, group: h5py.Group, run: Run) -> None:
        self.group = group
        self.group.attrs["NX_class"] = "NXparameters"
        self.group.attrs["description"] = (
            "images that are neither hits nor misses; the bytes of image i are bytes[offsets[i]:offsets[i + 1]]"
        )
        self.n_without_bytes = 0
        self.n_unreadable = 0
        self._table = run.images
        self._columns = GrowingColumns(group, (*_REST, _REASON), block=1024)
        self._bytes = GrowingColumns(group, (_BYTES,), block=_BLOCK)
        self._ends = GrowingColumns(group, (_ENDS,), block=1024)
        self._ends.add(1, {"offsets": np.zeros(1, dtype=np.int64)})

    def add(self, image: int, state: State, reason: str, stored: bytes, *, is_chunk: bool) -> None:
        """Append one image."""
        self.n_unreadable += state is State.UNREADABLE
        self.n_without_bytes += state is State.UNREADABLE and not stored
        self._bytes.add(len(stored), {"bytes": np.frombuffer(stored, dtype=np.uint8)})
        self._ends.add(1, {"offsets": np.array([len(self._bytes)])})
        values = {
            "source_image": image,
            "source_file": int(self._table.file[image]),
            "source_row": int(self._table.row[image]),
            "state": state,
            "sha256": hashlib.sha256(stored).hexdigest().encode("ascii") if stored else b"",
            "is_chunk": is_chunk,
        }
        rows = {column.name: np.array([values[column.name]], dtype=column.dtype) for column in _REST}
        self._columns.add(1, rows | {"reason": np.array([reason], dtype=object)})

    def flush(self) -> None:
        """Write everything that waits."""
        for columns in (self._columns, self._bytes, self._ends):
            columns.flush()

    @property
    def images(self) -> npt.NDArray[np.int64]:
        """Index in the run of each, once all are written."""
        return np.asarray(self._columns.read("source_image", 0, len(self._columns)), dtype=np.int64)
