"""The per-image table, `<stem>_images.parquet`: one row for each image of the run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Lattices, Run, State
from hitsieve.settings import RunSettings
from hitsieve.write.columns import IMAGE_COLUMNS
from hitsieve.write.places import absolute_names
from hitsieve.write.stream import OutputStream

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = (
    "n_spots",
    "n_spots_counted",
    "n_spots_ice",
    "n_strong",
    "n_saturated",
    "max_count",
    "background",
    "resolution",
    "n_lattices",
    "n_indexed",
)
_ROWS = 16384
SCHEMA_VERSION = "2.0"
"""Version of the table's columns; the first number changes when a reader must change."""
_DESCRIBED: dict[str, dict[str, str]] = {
    "image": {"description": "index of the image in the run, from 0"},
    "file": {"description": "file that holds the image, absolute; null where none is known"},
    "row": {"description": "row in the file's dataset; null where none is known"},
    "reason": {"description": "why the image is unreadable or missing; null where it was searched"},
    **{column.name: column.table_metadata() for column in IMAGE_COLUMNS},
    "pump": {"description": "pump state; null where it is unknown"},
    "lattices": {
        "description": "lattices, best first: A (1/angstrom, row by row; columns a*, b*, c*), cell (angstrom, "
        "degrees), spots indexed, residual (1/angstrom), chance; null where not searched or indexing was off"
    },
}


class ImageTableFile:
    """Writes the table in row groups; about 80 bytes a row, and 150 a lattice, before compression.

    What is unknown is null.

    Parameters
    ----------
    stream : OutputStream
        File to write.
    run : Run
        Gives each image's file and row.
    settings : RunSettings
        Recorded in the schema's metadata.
    """

    def __init__(self, stream: OutputStream, run: Run, settings: RunSettings) -> None:
        # pyarrow takes long to import and is needed by nothing but this table.
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._run = run
        self._files = pa.array(absolute_names(file.path for file in run.files), pa.string())
        self._pumps = pa.array(run.pump.names if run.pump is not None else (), pa.string())
        words = pa.dictionary(pa.int32(), pa.string())
        measured = {name: pa.int32() for name in _NUMBERS}
        measured |= {"max_count": pa.int64(), "background": pa.float32(), "resolution": pa.float32()}
        types = {
            "image": pa.int64(),
            "file": words,
            "row": pa.int64(),
            "state": words,
            "reason": pa.string(),
            **measured,
            "pump": words,
            "lattices": _lattice_type(),
        }
        self._schema = pa.schema(
            [pa.field(name, kind, metadata=_DESCRIBED[name]) for name, kind in types.items()],
            metadata={
                "program": "hitsieve",
                "version": version("hitsieve"),
                "schema_version": SCHEMA_VERSION,
                "settings": settings.model_dump_json(),
                "source": absolute_names([run.path])[0],
            },
        )
        self._waiting: list[dict[str, npt.NDArray[Any]]] = []
        self._reasons: dict[int, str] = {}
        self._lattices: list[Lattices] = []
        self._n_lattices: list[npt.NDArray[np.int64]] = []
        self._n_waiting = 0
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")

    def add(self, results: ImageResults) -> None:
        """Append one row for each image of the batch."""
        self._waiting.append({name: getattr(results, name) for name in ("image", "state", *_NUMBERS, "pump")})
        self._lattices.append(results.lattices.take(slice(*results.lattice_offsets[[0, -1]].tolist())))
        self._n_lattices.append(np.diff(results.lattice_offsets))
        self._reasons.update(results.reasons)
        self._n_waiting += len(results)
        if self._n_waiting >= _ROWS:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        columns = {name: np.concatenate([rows[name] for rows in self._waiting]) for name in self._waiting[0]}
        image = columns["image"]
        arrays: list[pa.Array] = [
            pa.array(image),
            pa.DictionaryArray.from_arrays(_known(self._run.images.file[image]), self._files),
            _known(self._run.images.row[image]),
            states(columns["state"]),
            pa.array(
                [self._reasons.get(i) for i in image.tolist()] if self._reasons else [None] * len(image), pa.string()
            ),
        ]
        arrays += [numbers(columns[name], self._schema.field(name).type) for name in _NUMBERS]
        arrays.append(pa.DictionaryArray.from_arrays(_known(columns["pump"].astype(np.int32)), self._pumps))
        arrays.append(_lattice_lists(self._lattices, np.concatenate(self._n_lattices), columns["n_lattices"] < 0))
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waiting.clear()
        self._reasons.clear()
        self._lattices.clear()
        self._n_lattices.clear()
        self._n_waiting = 0

    def finish(self, date: datetime) -> None:
        """Write the rows that wait and when the run ended, by which its outputs know each other, and close the file."""
        if self._n_waiting:
            self._write()
        self._writer.add_key_value_metadata({"date": date.isoformat()})
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._writer.close()


def states(values: npt.NDArray[np.uint8]) -> pa.Array:
    """Values of State as the table has them, in words."""
    import pyarrow as pa

    words = pa.array([state.name.lower() for state in State], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32)), words)


def numbers(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Numbers as the table has them; what is unknown, NaN or negative, is null."""
    import pyarrow as pa

    return pa.array(values, kind, mask=np.isnan(values) if values.dtype.kind == "f" else values < 0)


def _known(rows: npt.NDArray[Any]) -> pa.Array:
    """Indices as an Arrow array; negative ones, of images that lie in no known file, are null."""
    import pyarrow as pa

    return pa.array(rows, mask=rows < 0)


def _lattice_type() -> pa.DataType:
    import pyarrow as pa

    numbers = pa.list_(pa.float64())
    columns = {"A": numbers, "cell": numbers, "n_indexed": pa.int32(), "residual": pa.float64(), "chance": pa.float64()}
    return pa.list_(pa.struct([pa.field(name, kind) for name, kind in columns.items()]))


def _lattice_lists(
    parts: Sequence[Lattices], lengths: npt.NDArray[np.int64], unknown: npt.NDArray[np.bool_]
) -> pa.Array:
    """A list of lattices for each image; null where `unknown`."""
    import pyarrow as pa

    kind = _lattice_type()
    arrays: list[pa.Array] = []
    for field in kind.value_type:
        values = np.concatenate([getattr(part, field.name) for part in parts])
        flat = pa.array(values.reshape(-1))
        if pa.types.is_list(field.type):
            width = values[:1].size or 1
            ends = np.arange(0, len(flat) + 1, width, dtype=np.int32)
            arrays.append(pa.ListArray.from_arrays(pa.array(ends), flat))
        else:
            arrays.append(flat)
    rows = pa.StructArray.from_arrays(arrays, fields=list(kind.value_type))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    # A list without a beginning is null. To give a mask of the lists would make Arrow load all that it can compute.
    return pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(unknown, False)), rows)
