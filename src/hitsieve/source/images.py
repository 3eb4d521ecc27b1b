"""CBF and other images, one file each, through fabio."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import DataFile, Detector, Problem
from hitsieve.source.access import HDF5_SUFFIXES, check_file
from hitsieve.source.agreement import check_named_once
from hitsieve.source.headers import columns, stated
from hitsieve.source.joining import Input
from hitsieve.source.layout import NO_FAULT, Fault, Layout, concatenate
from hitsieve.source.minicbf import Head, Header, read_head

FABIO_ERRORS = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
    *(RuntimeError, MemoryError, zlib.error, struct.error),
)
"""What fabio's readers raise on files that are not theirs, or are damaged."""


def open_image(path: Path) -> Any:
    """Open one image file with fabio; SourceError where it cannot be read as an image."""
    # fabio takes a while to import and most runs do not need it.
    import fabio

    check_file(path)
    try:
        return fabio.open(str(path))
    except FABIO_ERRORS as error:
        raise SourceError(
            f"{path}: is not an image that fabio can read ({' '.join(str(error).split())[:120]})",
            mend="name an HDF5 master, data files or images",
        ) from None


def read_pixels(path: Path, row: int) -> npt.NDArray[np.generic]:
    """One frame of an image file.

    Raises
    ------
    SourceError
        It is no image that fabio can read, or the frame cannot be decoded.
    """
    image = open_image(path)
    try:
        frame = image if image.nframes == 1 else image.get_frame(row)
        return np.ascontiguousarray(frame.data)
    except FABIO_ERRORS as error:
        raise SourceError(
            f"{path}: frame {row} cannot be decoded ({' '.join(str(error).split())[:120]})",
            mend="copy it again from its origin",
        ) from None


def index_images(paths: Sequence[Path], settled: Collection[str] | None) -> Input:
    """Index image files in the order given, and read the header of each.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    settled : collection of str, optional
        What the user sets for all images, in which their headers need not agree; None: in nothing.

    Raises
    ------
    SourceError
        A file is not an image or is named twice, or the images are of different detectors or experiments.
    """
    for path in paths:
        check_file(path)
        if path.suffix.lower() in HDF5_SUFFIXES:
            raise SourceError(f"{path}: is not an HDF5 file", mend="copy it again, or name a NeXus/HDF5 master")
    check_named_once(paths)
    first = open_image(paths[0])
    data = first.data
    if data is None or data.ndim != 2 or data.size == 0:
        raise SourceError(f"{paths[0]}: holds no image", mend="name an HDF5 master, data files or images")
    shape = (int(data.shape[0]), int(data.shape[1]))
    dtype = np.dtype(data.dtype).newbyteorder("=")
    if dtype.kind not in "iu":
        raise SourceError(f"{paths[0]}: holds {dtype}; integer counts are needed", mend="name files with raw counts")
    n = int(first.nframes)
    parts, headers = [(paths[0], _one(paths[0], shape, dtype, n))], [_head(paths[0]).header]
    for path in paths[1:]:
        part, header = _other(path, shape, dtype, several=n > 1)
        parts.append((path, part))
        headers.append(header)
    layout = concatenate(parts)
    metadata = stated(paths, headers, Detector(shape), dtype, settled)
    one_each = len(layout) == len(headers) and any(headers)
    return Input("images", layout, metadata, columns(headers) if one_each else None)


def _head(path: Path) -> Head:
    """The head of a file that fabio reads; one that cannot be understood states nothing."""
    try:
        return read_head(path)
    except (OSError, EOFError, zlib.error):
        return Head(None, None)


def _one(path: Path, shape: tuple[int, int], dtype: np.dtype[np.generic], n: int) -> Layout:
    return Layout(
        shape=shape,
        dtype=dtype,
        files=(DataFile(path, "", n, None),),
        file=np.zeros(n, dtype=np.int32),
        row=np.arange(n, dtype=np.int64),
        offset=np.full(n, -1, dtype=np.int64),
        size=np.zeros(n, dtype=np.int64),
        fault=np.full(n, NO_FAULT, dtype=np.int32),
    )


def _other(
    path: Path, shape: tuple[int, int], dtype: np.dtype[np.generic], several: bool
) -> tuple[Layout, Header | None]:
    """A later file: its size is checked where that costs no decoding; an unreadable one is one unreadable image."""
    if several:
        return _one(path, shape, dtype, int(open_image(path).nframes)), None
    part = _one(path, shape, dtype, 1)
    try:
        head = read_head(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = f"{path}: cannot be unpacked ({error})"
        fault = np.zeros(1, dtype=np.int32)
        problem = Problem(str(path), f"cannot be unpacked ({error})", "copy it again from its origin")
        return replace(part, fault=fault, faults=(Fault(False, reason),), problems=(problem,)), None
    size = head.size
    return (part if size is None or size == shape else _one(path, size, dtype, 1)), head.header
