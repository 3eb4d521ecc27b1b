"""A small picture of an image of a series that is being received."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.picture.png import grey_png
from hitsieve.source.one import read_growing
from hitsieve.write import spooled

SIDE = 512
"""Most pixels along a side."""
BRIGHT = 99.7
"""Counts at this percentile, and above, are black."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]*")


def glimpse(spool: Path, name: str, image: int) -> bytes:
    """Draw an image of a series from the folder where it is received.

    Parameters
    ----------
    spool : Path
        Folder of all received series.
    name : str
        Of the series, as it was published: it may be anything.
    image : int
        Place in the series, from 0.

    Returns
    -------
    bytes
        PNG file. A pixel has the largest of the counts that it stands for, the darker the more.

    Raises
    ------
    SourceError
        It is not there, or not yet, or cannot be decoded.
    """
    place = spooled(spool, name, image)
    if not _PLAIN.fullmatch(name) or spool.resolve() not in place.path.resolve().parents:
        raise SourceError(f"no series of the spool is called {name!r}")
    counts: npt.NDArray[Any] = read_growing(place)
    if counts.dtype.kind not in "iu":
        raise SourceError(f"{place}: holds {counts.dtype}, no counts")
    info = np.iinfo(counts.dtype)
    # So reads what was never written.
    if np.all(counts == (info.max if counts.dtype.kind == "u" else info.min)):
        raise SourceError(f"{place}: was not written, or not yet")
    return grey_png(_shades(counts))


def _shades(counts: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Shades of counts, made smaller."""
    info = np.iinfo(counts.dtype)
    # What is masked by the detector has the largest or a negative count.
    values = np.where((counts == info.max) | (counts < 0), 0, counts).astype(np.float32)
    step = max(1, -(-max(values.shape) // SIDE))
    rows, columns = (-(-n // step) * step for n in values.shape)
    whole = np.zeros((rows, columns), dtype=np.float32)
    whole[: values.shape[0], : values.shape[1]] = values
    small = whole.reshape(rows // step, step, columns // step, step).max(axis=(1, 3))
    bright = max(float(np.percentile(small, BRIGHT)), 4.0)
    return np.asarray(255 - 255 * np.clip(small / bright, 0, 1) ** 0.6).astype(np.uint8)
