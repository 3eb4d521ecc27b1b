"""Where the sample was at each image: the translations of a grid scan, as a master states them."""

from __future__ import annotations

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.write.metadata import entry_of

_MOST = 6
"""Axes that are looked at, at most."""


def scan_positions(file: h5py.File, n_images: int) -> dict[str, npt.NDArray[np.float64]]:
    """Translations of the sample that have one value an image and change, by name.

    Parameters
    ----------
    file : h5py.File
        An NXmx master: fields below its NXsample with `transformation_type` translation are taken.
    n_images : int
        Images of the run.

    Returns
    -------
    dict of str to array, shape (images,)
        In the units of the master; empty where it states none.
    """
    sample = file.get(f"{entry_of(file)}/sample")
    found: dict[str, npt.NDArray[np.float64]] = {}
    if not isinstance(sample, h5py.Group):
        return found

    def take(name: str, item: h5py.HLObject) -> bool | None:
        if isinstance(item, h5py.Dataset) and item.shape == (n_images,) and item.dtype.kind in "fiu":
            kind = item.attrs.get("transformation_type", b"")
            said = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
            if said == "translation":
                values = np.asarray(item[()], dtype=np.float64)
                if np.isfinite(values).all() and np.ptp(values) > 0:
                    found[name.rsplit("/", 1)[-1]] = values
        return True if len(found) >= _MOST else None

    sample.visititems(take)
    return found
