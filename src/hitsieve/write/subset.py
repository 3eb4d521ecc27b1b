"""Some of the hits of a hit-only file, as a hit-only file of their own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import OutputError, SourceError
from hitsieve.model import Closing
from hitsieve.write.atomic import OutputFiles
from hitsieve.write.chunks import clone_dataset
from hitsieve.write.columns import IMAGE_COLUMNS, PUMP_COLUMN, GrowingColumns
from hitsieve.write.composed import ComposedFile, ImagelessStream, StoredImages
from hitsieve.write.counts import SOURCE_COUNTS, correct_counts, restore_counts
from hitsieve.write.hits import PEAK_LISTS
from hitsieve.write.lattices import LATTICE_COLUMNS, OFFSETS
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output
from hitsieve.write.process import HITS, RESTORE, SUBSET, contents_of, write_choice, write_contents
from hitsieve.write.rows import write_rows
from hitsieve.write.selfcontained import leads_elsewhere
from hitsieve.write.tree import TreeCopy

Index = npt.NDArray[np.int64]
_KIND = "*_hits.h5"
_MOST_STATES = 2**15
"""Pump states that a column can tell apart."""
_MOST_PATHS = 100_000
_LARGEST_ROW = 1 << 30
"""Bytes of one value of one image."""
_DAMAGE = (
    *(OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError),
    MemoryError,
)
"""What HDF5 and numpy say of a file that is not as it should be."""
_PROVENANCE = ("source_image", "source_file", "source_row", "sha256", "verbatim")
_LEFT_OUT = ("audit", "holds", "subset", f"lattices/{OFFSETS.name}")
"""Of hit_finding: what a part of the hits does not have, or has otherwise."""


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Where the stored images of a hit-only file are."""

    offset: Index
    size: Index
    mask: Index
    """Filters that were left out."""


class HitsToChoose(Closing):
    """An open hit-only file of which some hits may be chosen; close it, or use it in a `with` statement.

    Parameters
    ----------
    path : Path
        Hit-only file of a run, or of one pump state, or a part of one.

    Raises
    ------
    SourceError
        It is no such file, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as undo:
            self._file = undo.enter_context(open_output(path, _KIND))
            with self._reading():
                self._entry = entry_of(self._file)
                self._process: h5py.Group = self._file[f"{self._entry}/hit_finding"]
                self._data: h5py.Dataset = self._file[f"{self._entry}/data/data"]
                holds = contents_of(self._process)
                if holds not in (HITS, SUBSET):
                    raise SourceError(f"{path}: holds {holds}, not hits", mend=f"give the {_KIND} of a run")
                elsewhere = next(leads_elsewhere(self._file), None)
                if elsewhere is not None:
                    raise SourceError(f"{path}: does not hold all that it shows: {elsewhere}", mend="copy it again")
                if RESTORE not in self._process or "lattices" not in self._process:
                    raise SourceError(
                        f"{path}: was written by an older version of hitsieve",
                        mend="use that version, or sieve the original again",
                    )
                self._chunks = self._find_chunks()
                self._sha256: npt.NDArray[np.bytes_] = self._numbers("sha256", len(self._chunks.size), "S")
            self._undo = undo.pop_all()

    def __len__(self) -> int:
        return len(self._sha256)

    @property
    def pump_names(self) -> tuple[str, ...]:
        """Names of the pump states; none where the run is not time-resolved."""
        if "pump_names" not in self._process:
            return ()
        with self._reading():
            return tuple(str(name) for name in self._texts(self._process["pump_names"], _MOST_STATES))

    @property
    def sizes(self) -> Index:
        """Stored bytes of each hit."""
        return self._chunks.size

    def fileno(self) -> int:
        """Descriptor of the file."""
        return int(self._file.id.get_vfd_handle())

    def column(self, name: str) -> npt.NDArray[Any]:
        """One number of every hit: a column of ImageResults."""
        with self._reading():
            return self._numbers(name, len(self), "fiu")

    def compose(self, rows: Index, choice: Mapping[str, Any]) -> ComposedFile:
        """Make the hit-only file of some of the hits, but for their images, which are read when it is.

        Parameters
        ----------
        rows : int64, shape (k,)
            Hits, rising; at least one.
        choice : mapping
            How they were chosen, as it is recorded.

        Raises
        ------
        SourceError
            The file is damaged.
        OutputError
            There is no space for the metadata in the folder for temporary files.
        """
        images = StoredImages(self.path, self._chunks.offset[rows], self._chunks.size[rows], self._sha256[rows])
        identity = images.identity()
        with ExitStack() as undo:
            with _storing():
                stream = undo.enter_context(ImagelessStream())
            try:
                with self._reading(), h5py.File(stream, "w") as output:
                    self._write(output, stream, rows, choice)
            finally:
                # A full disk is the reason of whatever HDF5 says of it.
                with _storing():
                    stream.check()
            composed = ComposedFile(stream, images, identity)
            undo.pop_all()
        return composed

    def _write(self, output: h5py.File, stream: ImagelessStream, rows: Index, choice: Mapping[str, Any]) -> None:
        own = self._process.name
        record = self._process[RESTORE]
        per_image = [str(path) for path in self._texts(record["per_image"], _MOST_PATHS)]
        known = [*(column.name for column in (*IMAGE_COLUMNS, PUMP_COLUMN)), *_PROVENANCE]
        per_image += [f"{own}/{name}" for name in known if name in self._process]
        per_image += [f"{self._entry}/MX/{name}" for name in PEAK_LISTS if name in self._file[f"{self._entry}/MX"]]
        lattices = [f"{own}/lattices/{column.name}" for column in LATTICE_COLUMNS]
        counts = [f"{own}/{RESTORE}/{name}" for name in record if name.startswith(SOURCE_COUNTS)]
        left_out = [self._data.name, *(f"{own}/{name}" for name in _LEFT_OUT), *counts]
        tree = TreeCopy(self._file, output, left_out=left_out, rows=[*per_image, *lattices])
        tree.copy()
        self._cut(per_image, len(self), (output, stream), rows)
        n_lattices, chosen = self._lattices(output, rows)
        self._cut(lattices, n_lattices, (output, stream), chosen)
        tree.name_again()
        process = output[own]
        write_contents(process, SUBSET)
        write_choice(process, {"file": self.path.name, "n_hits": len(self), **choice, **self._before()})
        restore_counts(self._process, output)
        correct_counts(output[self._entry], process, len(rows))
        self._leave_room(output, stream, rows)

    def _cut(self, paths: list[str], n: int, target: tuple[h5py.File, ImagelessStream], rows: Index) -> None:
        """Write rows of arrays that have n; what they state is seen before room is made for it."""
        for path in paths:
            item = self._file[path]
            if not isinstance(item, h5py.Dataset) or not item.shape or len(item) != n:
                raise ValueError(f"{path} has not {n:,} rows")
            if item.nbytes > _LARGEST_ROW * max(n, 1):
                raise ValueError(f"{path} has rows of more than {_LARGEST_ROW:,} bytes")
            write_rows(item, *target, rows)

    def _lattices(self, output: h5py.File, rows: Index) -> tuple[int, Index]:
        """Write the offsets of the lattices of the hits chosen; gives how many there are, and the rows of these."""
        group = self._process["lattices"]
        ends = self._numbers(f"lattices/{OFFSETS.name}", len(self) + 1, "iu").astype(np.int64)
        n = len(group[LATTICE_COLUMNS[0].name])
        if ends[0] != 0 or ends[-1] != n or (np.diff(ends) < 0).any():
            raise ValueError("the places of its lattices are in disorder")
        starts, lengths = ends[rows], ends[rows + 1] - ends[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        column = GrowingColumns(output[group.name], (OFFSETS,))
        column.add(len(offsets), {OFFSETS.name: offsets})
        column.flush()
        chosen = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return n, np.asarray(chosen, dtype=np.int64)

    def _before(self) -> dict[str, Any]:
        """The choice that this file is of, where it is a part itself."""
        if "subset" not in self._process:
            return {}
        return {"before": json.loads(self._process["subset/data"].asstr()[()])}

    def _leave_room(self, output: h5py.File, stream: ImagelessStream, rows: Index) -> None:
        """Give each image a place in the file, and leave it out."""
        data = clone_dataset(output[f"{self._entry}/data"], self._data, self._data.shape[1:])
        data.resize(len(rows), axis=0)
        sizes, masks = (column[rows].tolist() for column in (self._chunks.size, self._chunks.mask))
        for place, (size, mask) in enumerate(zip(sizes, masks, strict=True)):
            data.id.write_direct_chunk((place, 0, 0), stream.stand_in(size), filter_mask=mask)
            stream.check()
            if len(stream.places) != place + 1:
                raise OutputError("HDF5 does not write an image as one piece", mend="use another version of h5py")

    def _numbers(self, name: str, n: int, kinds: str) -> npt.NDArray[Any]:
        """A value of each hit; its length is seen before it is read: a small file may state any."""
        item = self._process[name]
        if not isinstance(item, h5py.Dataset) or item.shape != (n,) or item.dtype.kind not in kinds:
            raise ValueError(f"{name} are not {n:,} values")
        return np.asarray(item[()])

    @staticmethod
    def _texts(item: h5py.Dataset, most: int) -> npt.NDArray[Any]:
        if len(item.shape) != 1 or len(item) > most:
            raise ValueError(f"{item.name} are not at most {most:,} texts")
        return np.asarray(item.asstr()[()])

    def _find_chunks(self) -> _Chunks:
        if self._data.chunks is None or self._data.chunks != (1, *self._data.shape[1:]):
            raise SourceError(f"{self.path}: its images are not stored one by one", mend="copy the file again")
        n = self._data.id.get_num_chunks()
        if n != len(self._data):
            absent = len(self._data) - n
            raise SourceError(f"{self.path}: {absent:,} of its images are absent", mend="copy the file again")
        found: list[h5py.h5d.StoreInfo] = []
        if hasattr(self._data.id, "chunk_iter"):
            self._data.id.chunk_iter(found.append)
        else:
            found = [self._data.id.get_chunk_info(i) for i in range(self._data.id.get_num_chunks())]
        table = np.full((n, 3), -1, dtype=np.int64)
        for info in found:
            table[info.chunk_offset[0]] = info.byte_offset, info.size, info.filter_mask
        table[:, 0] += self._file.userblock_size
        if (table < 0).any() or (table[:, 0] + table[:, 1]).max(initial=0) > self.path.stat().st_size:
            raise SourceError(f"{self.path}: not all of its images are in it", mend="copy the file again")
        return _Chunks(*table.T)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Damage that HDF5 meets becomes a SourceError."""
        try:
            yield
        except _DAMAGE as error:
            why = "it lacks what hitsieve writes" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise SourceError(
                f"{self.path}: is no hit-only file of hitsieve, or is damaged ({why})",
                mend=f"give the {_KIND} of a run; copy it again where it is one",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._undo.close()


@contextmanager
def _storing() -> Iterator[None]:
    """A full disk, where the metadata wait, becomes an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: the metadata of the choice cannot wait there: {error.strerror}",
            mend="free some space there, or name another folder in TMPDIR",
        ) from error


def store(
    composed: ComposedFile,
    target: Path,
    source: Path,
    *,
    overwrite: bool,
    step: Callable[[int, int], None] | None = None,
) -> None:
    """Write a composed file, whole or not at all.

    Parameters
    ----------
    composed : ComposedFile
    target : Path
        File to write.
    source : Path
        The file of its images, which is never replaced.
    overwrite : bool
        Replace the file if it exists.
    step : callable, optional
        Called with the number of bytes done and of all.

    Raises
    ------
    SourceError
        An image does not agree with its hash.
    OutputError
        The file exists, or cannot be written.
    """
    with OutputFiles((target,), overwrite=overwrite, inputs=(source,)) as files:
        stream, done = files.open(target), 0
        for piece in composed.read():
            stream.write(piece)
            files.check(target)
            done += len(piece)
            if step is not None:
                step(done, composed.size)
