"""Where the outputs of a run themselves hold an image, for when the original is gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import h5py
import numpy as np

from hitsieve.errors import HitsieveError, SourceError
from hitsieve.model import Place
from hitsieve.write.metadata import entry_of
from hitsieve.write.outputs import Outputs
from hitsieve.write.places import open_output

Hold = Callable[[Path], AbstractContextManager[Path]]
"""Gives another path by which a file is opened."""


def held_at(outputs: Outputs, image: int, hold: Hold = nullcontext) -> Place | None:
    """Find an image among the hits, their sample of misses, and the misses; None where none of these holds it.

    Parameters
    ----------
    outputs : Outputs
        Of the run; files that are absent or damaged hold nothing.
    image : int
        Index in the run.
    hold : callable, optional
        For whoever may open some files only: what it raises for others goes to the caller, where no other holds it.
    """
    refused: HitsieveError | None = None
    for path in (outputs.hits, outputs.misses):
        if path is None or not path.is_file():
            continue
        try:
            with hold(path) as there, open_output(there, "*_hits.h5 or *_misses.h5") as file:
                entry = file[entry_of(file)]
                process = entry["hit_finding"]
                held = [(process, f"{entry.name}/data/data"), (process.get("audit"), f"{process.name}/audit/data")]
                for group, dataset in held:
                    row = None if group is None else _row(group, image)
                    if row is not None:
                        return Place(path, dataset, row)
        except (SourceError, OSError, RuntimeError, KeyError):
            continue
        except HitsieveError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return None


def _row(group: h5py.Group, image: int) -> int | None:
    rows = np.flatnonzero(group["source_image"][()] == image)
    return int(rows[0]) if len(rows) else None
