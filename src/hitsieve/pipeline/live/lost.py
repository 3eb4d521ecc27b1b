"""The numbers of images that a veto dropped, kept where the series could not be sieved."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.errors import HitsieveError
from hitsieve.pipeline.known import Known
from hitsieve.settings import RunSettings
from hitsieve.source import open_run
from hitsieve.verdict import rate_spots
from hitsieve.write import write_dropped

_log = logging.getLogger(__name__)
Numbers = dict[str, npt.NDArray[np.generic]]
_FOUND = ("n_spots", "n_strong", "n_saturated", "max_count", "background")
_RATED = ("n_spots_counted", "n_spots_ice", "resolution")


def keep_numbers(master: Path, known: Known, settings: RunSettings) -> Path | None:
    """Write what was found on images that were dropped to a table beside what was received.

    Parameters
    ----------
    master : Path
        Of what was received.
    known : Known
    settings : RunSettings

    Returns
    -------
    Path or None
        The table; None where no image was dropped, or the table cannot be written, which is logged.
    """
    if known.dropped.veto is None or not len(known.dropped.images):
        return None
    path = master.with_name(f"{master.name.removesuffix('_master.h5')}_dropped.parquet")
    try:
        parts = [*_numbers(master, known, settings)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(columns["image"])
        image, *rest = (values[order] for values in columns.values())
        write_dropped(path, str(known.dropped.veto), image, dict(zip([*columns][1:], rest, strict=True)))
    except HitsieveError as error:
        _log.error("%s: the numbers of its dropped images are lost: %s", master, error)
        return None
    return path


def _numbers(master: Path, known: Known, settings: RunSettings) -> Iterator[Numbers]:
    """Image and numbers of those that were dropped, part by part."""
    # States of the pump are of the whole series.
    no_pump = {"pump": None, "pump_dataset": None, "pump_csv": None}
    with open_run(master, settings.source.model_copy(update=no_pump)) as opened:
        geometry = (opened.run.detector, opened.run.beam)
    for images, searched in known.found:
        gone = np.isin(images, known.dropped.images)
        rated = rate_spots(images, searched.offsets, (searched.x, searched.y), geometry, settings.verdict)
        columns = {"image": images, **{name: getattr(searched, name) for name in _FOUND}}
        columns |= {name: getattr(rated, name) for name in _RATED}
        yield {name: values[gone] for name, values in columns.items()}
