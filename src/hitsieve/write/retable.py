"""The per-image table and the summary of a finished run, written again with another verdict."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.settings import RunSettings
from hitsieve.write.atomic import OutputFiles, writing
from hitsieve.write.belonging import table_date
from hitsieve.write.outputs import Outputs
from hitsieve.write.stored import StoredResults
from hitsieve.write.stream import OutputStream
from hitsieve.write.summary import Summary
from hitsieve.write.table import SCHEMA_VERSION, numbers, states

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[str, npt.NDArray[Any]]


def rewrite(stored: StoredResults, settings: RunSettings, columns: Columns, summary: Summary) -> tuple[Path, Path]:
    """Write table and summary of a run with other numbers, both or none; the run's own outputs stay as they are.

    Parameters
    ----------
    stored : StoredResults
        The run.
    settings : RunSettings
        Recorded; `write` says where to, and whether to replace files that exist.
    columns : mapping of str to array, shape (images,)
        The columns of the table that change: state, and numbers.
    summary : Summary
        What the summary shall be.

    Returns
    -------
    (Path, Path)
        Table and summary.

    Raises
    ------
    OutputError
        A file exists, is one of the run's own, or cannot be written.
    SourceError
        The run's table is absent, cannot be read, or is of another run.
    """
    outputs = Outputs.of(settings.write.output, stored.summary.source.stem)
    finals = (outputs.images, outputs.summary)
    with OutputFiles(finals, overwrite=settings.write.overwrite, inputs=stored.outputs) as files:
        table, text = (files.open(final) for final in finals)
        _rewrite_table(stored, table, settings, columns, summary)
        files.check(outputs.images)
        with writing(outputs.summary):
            text.write(f"{summary.model_dump_json(indent=2)}\n".encode())
    return finals


def _rewrite_table(
    stored: StoredResults, stream: OutputStream, settings: RunSettings, columns: Columns, summary: Summary
) -> None:
    """Copy the table by row groups, with other columns in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = stored.outputs.images
    if not path.is_file():
        raise SourceError(f"{path}: is absent", mend="keep the outputs of a run together; it is needed here")
    try:
        with pq.ParquetFile(path) as old:
            if old.metadata.num_rows != len(stored) or table_date(path) != stored.summary.date.isoformat():
                raise _strange(stored)
            about = {b"version": version("hitsieve"), b"schema_version": SCHEMA_VERSION}
            about[b"settings"] = settings.model_dump_json()
            schema = old.schema_arrow.with_metadata({**old.schema_arrow.metadata, **about})
            before, first = stored.column("state"), 0
            with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                for group in range(old.num_row_groups):
                    rows = old.read_row_group(group)
                    here = slice(first, first + len(rows))
                    if not rows["state"].combine_chunks().equals(states(before[here])):
                        raise _strange(stored)
                    writer.write_table(_replaced(rows, {name: values[here] for name, values in columns.items()}))
                    first = here.stop
                writer.add_key_value_metadata({"date": summary.date.isoformat()})
    except (pa.ArrowException, KeyError, OSError) as error:
        stream.check()
        raise SourceError(f"{path}: cannot be read as a table of hitsieve: {error}", mend="copy it again") from error


def _replaced(rows: pa.Table, columns: Columns) -> pa.Table:
    for name, values in columns.items():
        field = rows.schema.field(name)
        array = states(values) if name == "state" else numbers(values, field.type)
        rows = rows.set_column(rows.schema.get_field_index(name), field, array)
    return rows


def _strange(stored: StoredResults) -> SourceError:
    return SourceError(
        f"{stored.outputs.images}: is not of the same run as {stored.outputs.summary.name}",
        mend="keep the outputs of each run together, as they were written",
    )
