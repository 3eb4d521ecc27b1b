"""Pump states from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.source.access import check_file
from hitsieve.source.pumpvalues import MOST_STATES, UNKNOWN, too_many

BY_IMAGE = ["image", "state"]
BY_LINE = ["state"]
MEND = "mend these lines; cells are separated by commas"
Row = tuple[int, list[str]]
"""Line number and cells."""


def read_states(path: Path, n: int) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    """Names of the states in the order in which they appear, and the state of each of n images.

    Parameters
    ----------
    path : Path
        With the header `image,state`: the state of image `image`, from 0; images that are not named are unknown, empty
        lines mean nothing. With the header `state`: one state a line, for all images.
    n : int
        Images of the run.

    Raises
    ------
    MetadataError
        The file has no such header, does not fit the run, or has bad lines: each is named by its number, from 1.
    SourceError
        The file cannot be read.
    """
    check_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MetadataError(f"{path}: is not CSV text in UTF-8 ({error})", mend="save it as such") from None
    while rows and not any(rows[-1][1]):
        rows.pop()
    # Were a header optional, one in other words and a missing line would make up for each other, and shift all states.
    head = [cell.lower() for cell in rows[0][1]] if rows else []
    if head not in (BY_IMAGE, BY_LINE):
        shown = ",".join(rows[0][1])[:40] if rows else ""
        raise MetadataError(
            f"{path}: line 1 is {shown!r}, not the header image,state or state",
            mend="write image,state above lines of both, separated by commas, or state above one state a line",
        )
    images, words = _by_image(path, rows[1:], n) if head == BY_IMAGE else _by_line(path, rows[1:], n)
    names: dict[str, int] = {}
    numbers = [names.setdefault(word, len(names)) for word in words]
    if len(names) > MOST_STATES:
        raise too_many(str(path), len(names), "let it name states, not pulses or times")
    code = np.full(n, UNKNOWN, dtype=np.int16)
    code[images] = numbers
    return tuple(names), code


def _by_image(path: Path, rows: Sequence[Row], n: int) -> tuple[list[int], list[str]]:
    found: dict[int, str] = {}
    bad: dict[str, list[int]] = {}
    for line, cells in rows:
        if not any(cells):
            continue
        reason = _fault(cells, n, found)
        if reason:
            bad.setdefault(reason, []).append(line)
        else:
            found[int(cells[0])] = cells[1]
    _refuse(path, bad)
    if not found:
        raise MetadataError(f"{path}: holds no states", mend="add lines of image and state")
    return list(found), list(found.values())


def _fault(cells: list[str], n: int, found: dict[int, str]) -> str:
    """What is wrong with a line of image and state."""
    if len(cells) != len(BY_IMAGE):
        return "not two cells, image and state"
    image, state = cells
    if not (image.isascii() and image.isdecimal()):
        return "image is not a whole number from 0"
    if len(image.lstrip("0")) > len(str(n)) or int(image) >= n:
        return f"no such image, the run has {n}, counted from 0"
    if int(image) in found:
        return "image is named a second time"
    return _odd(state)


def _odd(state: str) -> str:
    """What is wrong with a state."""
    if ";" in state or "\t" in state:
        return "a semicolon or tab in the state"
    return "" if state and state.isprintable() else "no state"


def _by_line(path: Path, rows: Sequence[Row], n: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    bad: dict[str, list[int]] = {}
    for line, cells in rows:
        reason = "several cells, and the header is state" if len(cells) > 1 else _odd(cells[0] if cells else "")
        if reason:
            bad.setdefault(reason, []).append(line)
    _refuse(path, bad)
    states = [cells[0] for _, cells in rows]
    if len(states) != n:
        raise MetadataError(
            f"{path}: has {len(states)} states, one a line, and the run has {n} images",
            mend="give each image of the run a line, missing ones too, or name images in columns image,state",
        )
    return np.arange(n, dtype=np.int64), states


def _refuse(path: Path, bad: dict[str, list[int]]) -> None:
    if bad:
        told = "; ".join(
            f"line{'' if len(lines) == 1 else 's'} {_spans(lines)}: {reason}" for reason, lines in bad.items()
        )
        raise MetadataError(f"{path}: {told}", mend=MEND)


def _spans(lines: Sequence[int]) -> str:
    """Ascending numbers as spans: 2, 5-9."""
    numbers = np.asarray(lines)
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
