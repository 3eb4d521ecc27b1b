"""A table of images that nobody has any more, and of which the numbers are all that is left."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy.typing as npt

from hitsieve.write.atomic import OutputFiles, writing
from hitsieve.write.columns import IMAGE_COLUMNS


def write_dropped(path: Path, rule: str, image: npt.NDArray[Any], numbers: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write what is known of n images that were dropped, a row each.

    Parameters
    ----------
    path : Path
        The table; replaced where it is there.
    rule : str
        Why they were dropped, in words.
    image : array of int, shape (n,)
        Index in the run.
    numbers : mapping of str to array, shape (n,)
        Columns of the per-image table, by name.

    Raises
    ------
    OutputError
        No space or permission.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = {column.name: column.table_metadata() for column in IMAGE_COLUMNS}
    described["image"] = {"description": "index of the image in the run, from 0"}
    columns = {name: pa.array(values) for name, values in {"image": image, **numbers}.items()}
    schema = pa.schema(
        [pa.field(name, values.type, metadata=described[name]) for name, values in columns.items()],
        metadata={"program": "hitsieve", "version": version("hitsieve"), "veto": rule},
    )
    with OutputFiles([path], overwrite=True, inputs=()) as files, writing(path):
        pq.write_table(pa.Table.from_arrays([*columns.values()], schema=schema), files.open(path))
