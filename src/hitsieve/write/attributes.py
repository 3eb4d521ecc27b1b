"""Attributes of HDF5 objects, copied with their types."""

from __future__ import annotations

import h5py

_IMAGE_NUMBERS = frozenset({"image_nr_low", "image_nr_high"})
"""DECTRIS' range of image numbers of one data file; not true of any other selection of images."""


def copy_attributes(source: h5py.HLObject, target: h5py.HLObject) -> tuple[str, ...]:
    """Copy the attributes that the target lacks.

    References point into the source's file and are left out.

    Returns
    -------
    tuple of str
        Names of attributes that could not be copied.
    """
    lost = []
    for name in source.attrs:
        if name in target.attrs or name in _IMAGE_NUMBERS:
            continue
        try:
            kind = source.attrs.get_id(name)
            if h5py.check_ref_dtype(kind.dtype) is not None or kind.dtype.kind == "V":
                lost.append(name)
                continue
            value = source.attrs[name]
            if isinstance(value, h5py.Empty):
                target.attrs.create(name, value)
            else:
                target.attrs.create(name, value, shape=kind.shape, dtype=kind.dtype)
        except (TypeError, KeyError, ValueError):
            lost.append(name)
    return tuple(lost)
