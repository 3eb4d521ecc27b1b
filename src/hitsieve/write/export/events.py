"""Lists of images: CrystFEL's event list, and where each image comes from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt


def event_list(file: Path, rows: npt.NDArray[np.int64]) -> str:
    """CrystFEL's event list: `FILE //ROW`, one image a line, counted from 0."""
    return "".join(f"{file} //{row}\n" for row in rows.tolist())


def source_list(images: npt.NDArray[np.int64], files: Iterable[str], rows: npt.NDArray[np.int64]) -> str:
    """Tab-separated table, one image a line: its index in the run, its source file, and its row in that."""
    lines = zip(images.tolist(), files, rows.tolist(), strict=True)
    return "image\tsource_file\tsource_row\n" + "".join(f"{image}\t{file}\t{row}\n" for image, file, row in lines)
