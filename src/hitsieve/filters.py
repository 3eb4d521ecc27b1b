"""The HDF5 filters that images are packed with."""

from __future__ import annotations

from functools import cache, lru_cache

import hdf5plugin
import numpy as np

from hitsieve._core import SpotFinder


@cache
def register_filters() -> None:
    """Make HDF5 use the filters of hdf5plugin.

    Those that HDF5_PLUGIN_PATH provides, as DIALS needs it, miss the library that h5py brings: they may read but not
    write.
    """
    hdf5plugin.register(("bshuf", "lz4", "zstd"), force=True)


def why_not_unpacked(stored: bytes, codec: str, shape: tuple[int, int], dtype: str) -> str:
    """Why a stored image cannot be unpacked; nothing where it can.

    The compiled core unpacks it, and tells of damage, on which HDF5's own plug-in may crash.

    Parameters
    ----------
    stored : bytes
        Its chunk.
    codec : str
        bslz4, bszstd or lz4.
    shape : tuple of int
        (slow, fast).
    dtype : str
        Name of the type of its pixels, of at most 32 bits.
    """
    return str(_decoder(shape, dtype).find_stored(stored, codec).reasons.get(0, ""))


@lru_cache(maxsize=4)
def _decoder(shape: tuple[int, int], dtype: str) -> SpotFinder:
    """A finder that looks at no pixel: what is left of it is the decoder."""
    nothing = np.zeros(shape, dtype=np.bool_)
    return SpotFinder(
        bins=np.zeros(shape, dtype=np.uint16),
        valid=nothing,
        dtype=dtype,
        underload=0,
        saturation=None,
        error_value=None,
        background_bins=np.zeros(1, dtype=np.bool_),
        algorithm="dispersion",
    )
