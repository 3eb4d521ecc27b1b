"""Where an image of a series lies while it is received, for those who look on."""

from __future__ import annotations

from pathlib import Path

from hitsieve.model import Place
from hitsieve.write.received import IMAGES_PER_FILE


def spooled(spool: Path, name: str, image: int) -> Place:
    """Place of an image of a series that is received; the file may not be there, or not have it yet.

    Parameters
    ----------
    spool : Path
        Folder of all received series.
    name : str
        Of the series; a plain name.
    image : int
        Place in the series, from 0.
    """
    part, row = divmod(image, IMAGES_PER_FILE)
    return Place(spool / name / f"{name}_data_{part + 1:06d}.h5", "/entry/data/data", row)
