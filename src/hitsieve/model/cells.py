"""Which unit cells may be, and which centring the name of a space group says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

SHORTEST, LONGEST = 2.0, 2000.0
"""Angstrom; no crystal has an axis beyond them that stills could show."""
NARROWEST = 10.0
"""Degrees; a smaller angle is most likely in radians."""
SMALL = 10.0
"""Angstrom; a cell with no longer axis may be meant in nanometres."""
NEAR = (0.02, 2.0)
"""A share and degrees, within which a cell has the shape that its centring needs."""
SYMBOL = re.compile(r"-?(?:([PABCIFRH])[\s_]*[-\d(abcdemn]|([pabcifrh])[\s_]*[-\d])")
"""Start of the Hermann-Mauguin or Hall symbol of a space group: its centring."""
CENTRED = {
    "A": (range(38, 42),),
    "C": ((5, 8, 9, 12, 15, 20, 21), range(35, 38), range(63, 69)),
    "F": ((22, 42, 43, 69, 70, 196, 202, 203, 209, 210, 216, 219), range(225, 229)),
    "I": (
        (23, 24, *range(44, 47), *range(71, 75), 79, 80, 82, 87, 88, 97, 98, *range(107, 111), *range(119, 123)),
        (*range(139, 143), 197, 199, 204, 206, 211, 214, 217, 220, 229, 230),
    ),
    "R": ((146, 148, 155, 160, 161, 166, 167),),
}
"""Numbers of the space groups (International Tables, standard setting) that are not primitive."""


def why_impossible(cell: Sequence[float]) -> str:
    """What is wrong with a cell (angstrom, degrees), in words; empty where a crystal may have it."""
    lengths, angles = np.asarray(cell[:3], dtype=np.float64), np.asarray(cell[3:], dtype=np.float64)
    named = ", ".join(f"{value:g}" for value in cell)
    none = f"no crystal has the cell {named}"
    if not np.isfinite([*lengths, *angles]).all() or (lengths <= 0).any() or (angles <= 0).any():
        return none
    if lengths.min() < SHORTEST:
        return f"an axis of {lengths.min():g} angstrom is shorter than any crystal's"
    if lengths.max() > LONGEST:
        return f"an axis of {lengths.max():g} angstrom is longer than any that can be indexed"
    if angles.min() < NARROWEST:
        return f"an angle of {angles.min():g} degrees is no crystal's"
    alpha, beta, gamma = np.cos(np.radians(angles))
    squared = 1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma
    return "" if (angles < 180).all() and squared > 1e-4 * (1 - gamma**2) else none


def seems_small(cell: Sequence[float]) -> str:
    """A doubt about a cell that may be in nanometres, in words; empty where there is none."""
    return (
        "all axes are below 10 angstrom: if they are in nm, it is ten times as large" if max(cell[:3]) < SMALL else ""
    )


def centring_of(group: str) -> str | None:
    """Letter of the centring (R also for H) that a space group's number or symbol says; None where it says none.

    The symbol is Hermann-Mauguin's or Hall's, of any setting; that of a point group says none.
    """
    name = group.strip()
    if name.isdecimal():
        if not 1 <= int(name) <= 230:
            return None
        return next((letter for letter, ranges in CENTRED.items() if any(int(name) in r for r in ranges)), "P")
    match = SYMBOL.match(name)
    return None if match is None else (match[1] or match[2]).upper().replace("H", "R")


def centring_on(cell: Sequence[float], centring: str) -> str | None:
    """The centring on the axes of a cell: R is P on rhombohedral axes; None where the cell can have neither."""
    a, _, c, alpha, _, _ = cell
    if centring != "R" or _near(cell, (a, a, c, 90, 90, 120)):
        return centring
    return "P" if _near(cell, (a, a, a, alpha, alpha, alpha)) else None


def _near(cell: Sequence[float], other: Sequence[float]) -> bool:
    lengths = all(abs(x - y) < NEAR[0] * y for x, y in zip(cell[:3], other[:3], strict=True))
    return lengths and all(abs(x - y) < NEAR[1] for x, y in zip(cell[3:], other[3:], strict=True))
