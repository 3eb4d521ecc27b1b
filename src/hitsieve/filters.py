"""The HDF5 filters that images are packed with."""

from __future__ import annotations

from functools import cache

import hdf5plugin


@cache
def register_filters() -> None:
    """Make HDF5 use the filters of hdf5plugin.

    Those that HDF5_PLUGIN_PATH provides, as DIALS needs it, miss the library that h5py brings: they may read but not
    write.
    """
    hdf5plugin.register(("bshuf", "lz4", "zstd"), force=True)
