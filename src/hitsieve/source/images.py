"""CBF and other images, one file each, through fabio."""

from __future__ import annotations

import bz2
import gzip
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Beam, DataFile, Detector, Problem
from hitsieve.source.access import HDF5_SUFFIXES, check_file
from hitsieve.source.detector import Metadata
from hitsieve.source.geometry import completed
from hitsieve.source.layout import NO_FAULT, Fault, Layout, concatenate

FABIO_ERRORS = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
    *(RuntimeError, MemoryError, zlib.error, struct.error),
)
"""What fabio's readers raise on files that are not theirs, or are damaged."""
HEAD = 16384
"""Bytes of a file that are looked at for the size of its image."""
CBF_SIZE = {
    "fast": re.compile(rb"X-Binary-Size-Fastest-Dimension:\s*(\d+)"),
    "slow": re.compile(rb"X-Binary-Size-Second-Dimension:\s*(\d+)"),
}
NUMBER = r"([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)"
MINI_CBF = {
    "wavelength": re.compile(rf"Wavelength\s+{NUMBER}\s*A"),
    "distance": re.compile(rf"Detector_distance\s+{NUMBER}\s*m"),
    "cutoff": re.compile(rf"Count_cutoff\s+{NUMBER}"),
    "thickness": re.compile(rf"sensor,?\s+thickness\s+{NUMBER}\s*m", re.IGNORECASE),
}
BEAM_XY = re.compile(rf"Beam_xy\s+\(\s*{NUMBER}\s*,\s*{NUMBER}\s*\)\s*pixels")
PIXEL_SIZE = re.compile(rf"Pixel_size\s+{NUMBER}\s*m\s*x\s*{NUMBER}\s*m")
DETECTOR = re.compile(r"Detector:\s*(.+)")
MATERIAL = re.compile(r"(Silicon|CdTe)\s+sensor", re.IGNORECASE)


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
    """One frame of an image file."""
    image = open_image(path)
    try:
        frame = image if image.nframes == 1 else image.get_frame(row)
        return np.ascontiguousarray(frame.data)
    except FABIO_ERRORS as error:
        raise SourceError(
            f"{path}: frame {row} cannot be decoded ({' '.join(str(error).split())[:120]})",
            mend="copy it again from its origin",
        ) from None


def index_images(paths: Sequence[Path]) -> tuple[Layout, Metadata]:
    """Index image files in the order given, and read the first one's header."""
    for path in paths:
        if path.suffix.lower() in HDF5_SUFFIXES:
            check_file(path)
            raise SourceError(f"{path}: is not an HDF5 file", mend="copy it again, or name a NeXus/HDF5 master")
    first = open_image(paths[0])
    data = first.data
    if data is None or data.ndim != 2 or data.size == 0:
        raise SourceError(f"{paths[0]}: holds no image", mend="name an HDF5 master, data files or images")
    shape = (int(data.shape[0]), int(data.shape[1]))
    dtype = np.dtype(data.dtype).newbyteorder("=")
    if dtype.kind not in "iu":
        raise SourceError(f"{paths[0]}: holds {dtype}; integer counts are needed", mend="name files with raw counts")
    parts = [(paths[0], _one(paths[0], shape, dtype, int(first.nframes)))]
    parts += [(path, _other(path, shape, dtype, several=int(first.nframes) > 1)) for path in paths[1:]]
    return concatenate(parts), _metadata(first, paths[0], shape, dtype)


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


def _other(path: Path, shape: tuple[int, int], dtype: np.dtype[np.generic], several: bool) -> Layout:
    """A later file: its size is checked where that costs no decoding; an unreadable one is one unreadable image."""
    check_file(path)
    if several:
        return _one(path, shape, dtype, int(open_image(path).nframes))
    part = _one(path, shape, dtype, 1)
    try:
        size = _cbf_size(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = f"{path}: cannot be unpacked ({error})"
        fault = np.zeros(1, dtype=np.int32)
        problem = Problem(str(path), f"cannot be unpacked ({error})", "copy it again from its origin")
        return Layout(
            shape,
            dtype,
            part.files,
            part.file,
            part.row,
            part.offset,
            part.size,
            fault,
            (Fault(False, reason),),
            (problem,),
        )
    if size is not None and size != shape:
        return _one(path, size, dtype, 1)
    return part


def _cbf_size(path: Path) -> tuple[int, int] | None:
    """(slow, fast) from the head of a CBF; None for other formats."""
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        head = file.read(HEAD)
    found = {axis: pattern.search(head) for axis, pattern in CBF_SIZE.items()}
    slow, fast = found["slow"], found["fast"]
    return (int(slow.group(1)), int(fast.group(1))) if slow and fast else None


def _metadata(image: Any, path: Path, shape: tuple[int, int], dtype: np.dtype[np.generic]) -> Metadata:
    """What a Pilatus miniCBF header states; other headers are not understood and say so."""
    text = str(image.header.get("_array_data.header_contents", ""))
    if not text:
        problem = Problem(str(path), "its header states no geometry that hitsieve understands", "--set, or --geometry")
        return Metadata(Detector(shape), Beam(), (problem,))
    numbers = {name: float(m.group(1)) for name, pattern in MINI_CBF.items() if (m := pattern.search(text))}
    problems: list[Problem] = []
    for name in ("wavelength", "distance"):
        if name in numbers and numbers[name] <= 0:
            del numbers[name]
            problems.append(Problem(str(path), f"states the {name} 0, which means not set"))
    beam_xy, pixel, detector, material = (p.search(text) for p in (BEAM_XY, PIXEL_SIZE, DETECTOR, MATERIAL))
    stated = Detector(
        shape=shape,
        saturation_value=int(numbers["cutoff"]) if "cutoff" in numbers else None,
        # Pilatus CBFs write -1 in gaps and -2 at bad pixels.
        underload_value=0 if dtype.kind == "i" else None,
        description=detector.group(1).strip() if detector else None,
        distance=numbers.get("distance"),
        beam_center=(float(beam_xy.group(1)), float(beam_xy.group(2))) if beam_xy else None,
        pixel_size=(float(pixel.group(1)), float(pixel.group(2))) if pixel else None,
        sensor_material={"silicon": "Si", "cdte": "CdTe"}[material.group(1).lower()] if material else None,
        sensor_thickness=numbers.get("thickness"),
    )
    return Metadata(completed(stated), Beam(numbers.get("wavelength")), tuple(problems))
