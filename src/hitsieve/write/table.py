"""The per-image table, `<stem>_images.parquet`: one row for each image of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Run, State
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
)
_ROWS = 16384


class ImageTableFile:
    """Writes the table in row groups; about 60 bytes a row before compression.

    Parameters
    ----------
    stream : OutputStream
        File to write.
    run : Run
        Gives each image's file and row.
    """

    def __init__(self, stream: OutputStream, run: Run) -> None:
        # pyarrow takes long to import and is needed by nothing but this table.
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._run = run
        self._files = pa.array([str(file.path) for file in run.files], pa.string())
        self._states = pa.array([state.name.lower() for state in State], pa.string())
        words = pa.dictionary(pa.int32(), pa.string())
        numbers = {name: pa.int32() for name in _NUMBERS}
        numbers |= {"max_count": pa.int64(), "background": pa.float32(), "resolution": pa.float32()}
        self._schema = pa.schema(
            [
                ("image", pa.int64()),
                ("file", words),
                ("row", pa.int64()),
                ("state", words),
                ("reason", pa.string()),
                *numbers.items(),
            ]
        )
        self._waiting: list[dict[str, npt.NDArray[Any]]] = []
        self._reasons: dict[int, str] = {}
        self._n_waiting = 0
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")

    def add(self, results: ImageResults) -> None:
        """Append one row for each image of the batch."""
        self._waiting.append({name: getattr(results, name) for name in ("image", "state", *_NUMBERS)})
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
            pa.DictionaryArray.from_arrays(pa.array(columns["state"].astype(np.int32)), self._states),
            pa.array(
                [self._reasons.get(i) for i in image.tolist()] if self._reasons else [None] * len(image), pa.string()
            ),
        ]
        arrays += [pa.array(columns[name], self._schema.field(name).type) for name in _NUMBERS]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waiting.clear()
        self._reasons.clear()
        self._n_waiting = 0

    def close(self, *, finish: bool) -> None:
        """Write the rows that wait, where the run is whole, and close the file."""
        try:
            if finish and self._n_waiting:
                self._write()
        finally:
            self._writer.close()


def _known(numbers: npt.NDArray[Any]) -> pa.Array:
    """Numbers as an Arrow array; negative ones, of images that lie in no known file, are null."""
    import pyarrow as pa

    return pa.array(numbers, mask=numbers < 0)
