"""What the text header of a Pilatus miniCBF states; nothing else of the file is read."""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

HEAD = 16384
"""Bytes of a file in which the header lies."""
PACKERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
SIZE = {
    "fast": re.compile(rb"X-Binary-Size-Fastest-Dimension:\s*(\d+)"),
    "slow": re.compile(rb"X-Binary-Size-Second-Dimension:\s*(\d+)"),
}
CONTENTS = re.compile(rb"_array_data\.header_contents\s*\r?\n;[^\n]*\n(.*?)\r?\n;", re.DOTALL)
NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"


def _line(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"^#?[ \t]*{pattern}", re.MULTILINE | re.IGNORECASE)


POSITIVE = {
    "wavelength": _line(rf"Wavelength[ \t:=]+{NUMBER}[ \t]*A"),
    "distance": _line(rf"Detector_distance[ \t:=]+{NUMBER}[ \t]*m\b"),
    "count_time": _line(rf"Exposure_time[ \t:=]+{NUMBER}[ \t]*s"),
    "frame_time": _line(rf"Exposure_period[ \t:=]+{NUMBER}[ \t]*s"),
    "threshold": _line(rf"Threshold_setting[ \t:=]+{NUMBER}[ \t]*eV"),
    "cutoff": _line(rf"Count_cutoff[ \t:=]+{NUMBER}"),
    "thickness": _line(rf"\w+[ \t]+sensor,?[ \t]+thickness[ \t:=]+{NUMBER}[ \t]*m\b"),
}
"""Numbers of which 0 means that they are not set."""
BEAM_XY = _line(rf"Beam_xy[ \t:=]+\([ \t]*{NUMBER}[ \t]*,[ \t]*{NUMBER}[ \t]*\)[ \t]*pixels")
PIXEL_SIZE = _line(rf"Pixel_size[ \t:=]+{NUMBER}[ \t]*m[ \t]*x[ \t]*{NUMBER}[ \t]*m")
DETECTOR = _line(r"Detector:[ \t]*(.+)")
MATERIAL = _line(r"(Silicon|CdTe|GaAs)[ \t]+sensor")
MATERIALS = {"silicon": "Si", "cdte": "CdTe", "gaas": "GaAs"}
DATE = _line(r"(\d{4}[-/](?:\d\d|[A-Z][a-z]{2})[-/]\d\d[T ]\d\d:\d\d:\d\d\S*)[ \t]*$")
FRACTION = re.compile(r"(:\d\d)(\.\d+)(.*)$")


@dataclass(frozen=True, slots=True)
class Header:
    """One header; what it does not state is absent or None."""

    text: str
    """As it stands in the file."""
    numbers: dict[str, float]
    """By the names of POSITIVE."""
    unset: tuple[str, ...] = ()
    """Numbers that are stated as 0."""
    beam_center: tuple[float, float] | None = None
    pixel_size: tuple[float, float] | None = None
    detector: str | None = None
    material: str | None = None
    start_time: str | None = None
    """ISO 8601, with a time zone only where the header has one."""


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a CBF."""

    size: tuple[int, int] | None
    """(slow, fast) pixels."""
    header: Header | None


def read_head(path: Path) -> Head:
    """Size and header of a CBF, plain or packed; empty for other formats.

    Raises
    ------
    OSError, EOFError, zlib.error
        It cannot be read or unpacked.
    """
    opener: Callable[..., Any] = PACKERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        start = file.read(HEAD)
    slow, fast = (SIZE[axis].search(start) for axis in ("slow", "fast"))
    contents = CONTENTS.search(start)
    header = parse(contents.group(1).decode("utf-8", "replace")) if contents else None
    return Head((int(slow.group(1)), int(fast.group(1))) if slow and fast else None, header)


def parse(text: str) -> Header:
    """Read a header's text."""
    text = text.replace("\r\n", "\n").strip("\n\0")
    numbers = {name: float(m.group(1)) for name, pattern in POSITIVE.items() if (m := pattern.search(text))}
    unset = tuple(name for name, value in numbers.items() if value <= 0)
    beam_xy, pixel, detector, material, date = (p.search(text) for p in (BEAM_XY, PIXEL_SIZE, DETECTOR, MATERIAL, DATE))
    center = (float(beam_xy.group(1)), float(beam_xy.group(2))) if beam_xy else None
    return Header(
        text,
        {name: value for name, value in numbers.items() if name not in unset},
        (*unset, *(("beam centre",) if center == (0.0, 0.0) else ())),
        None if center == (0.0, 0.0) else center,
        (float(pixel.group(1)), float(pixel.group(2))) if pixel else None,
        detector.group(1).strip() if detector else None,
        MATERIALS[material.group(1).lower()] if material else None,
        _iso(date.group(1)) if date else None,
    )


def _iso(stated: str) -> str | None:
    """The date in ISO 8601, digits and zone as stated; None where it is none."""
    match = FRACTION.search(stated)
    whole = stated if match is None else stated[: match.end(1)] + match.group(3)
    for style in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y/%b/%d %H:%M:%S", "%Y/%m/%d %H:%M:%S"):
        for zone in ("", "%z"):
            try:
                found = datetime.strptime(whole, style + zone)
            except ValueError:
                continue
            iso = found.isoformat()
            return iso if match is None else iso[:19] + match.group(2) + iso[19:]
    return None
