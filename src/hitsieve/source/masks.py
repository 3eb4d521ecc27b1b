"""A pixel mask that the user gives."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError, SourceError
from hitsieve.source.access import check_file, open_hdf5
from hitsieve.source.detector import checked_mask
from hitsieve.source.fields import member

MEND = "name FILE.h5:/path/of/the/mask or FILE.npy"


def read_mask(mask: Path, shape: tuple[int, int]) -> npt.NDArray[np.uint32]:
    """Read a mask from `FILE:/path` (HDF5) or a NumPy file.

    Raises
    ------
    SourceError
        The file cannot be read, or has no such dataset.
    MetadataError
        What it holds does not fit images of shape (slow, fast).
    """
    name, colon, dataset = str(mask).rpartition(":")
    if colon and dataset.startswith("/"):
        path = Path(name)
        with open_hdf5(path) as file:
            item = member(file, dataset)
            if not isinstance(item, h5py.Dataset):
                raise SourceError(f"{path}: has no dataset {dataset}", mend=MEND)
            return checked_mask(np.asarray(item[()]), shape, f"{path}: {dataset}")
    check_file(mask)
    try:
        values = np.load(mask, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise SourceError(f"{mask}: is not a NumPy file", mend=MEND) from None
    if not isinstance(values, np.ndarray):
        raise MetadataError(f"{mask}: holds several arrays", mend=MEND)
    return checked_mask(values, shape, str(mask))
