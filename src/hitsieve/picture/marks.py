"""Marks and colours: told apart by shape as well, and chosen for colour-blind eyes (mostly Okabe and Ito's palette)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.picture.scene import Scene, SpotKind

ICE = "#56B4E9"
MASK = "#D9CFA8"
NOTHING = "#F3F1EC"
THRESHOLD = "#009E73"
MEAN = "#444444"
MINE = "#D55E00"
RING = "#7A1FA2"

D_VALUES = (
    100,
    50,
    30,
    20,
    15,
    12,
    10,
    8,
    7,
    6,
    5,
    4.5,
    4,
    3.5,
    3,
    2.7,
    2.5,
    2.2,
    2,
    1.8,
    1.6,
    1.5,
    1.4,
    1.3,
    1.2,
    1.1,
)
FINE_D_VALUES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Round values of d (angstrom) for rings and ticks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One kind of spot on the page."""

    label: str
    shape: str
    colour: str
    which: npt.NDArray[np.bool_]
    """Spots of this kind."""


def marks_of(scene: Scene) -> tuple[Mark, ...]:
    """The kinds of spots that an image has."""
    kinds, lattice = scene.kinds, scene.spots.lattice
    indexed = kinds == SpotKind.INDEXED
    several = len(np.unique(lattice[indexed])) > 1
    found = [
        Mark("does not count", "^", "#AA3377", kinds == SpotKind.NOT_COUNTED),
        Mark("counts, of no lattice" if indexed.any() else "counts", "s", MINE, kinds == SpotKind.COUNTED),
        Mark("indexed, lattice 1" if several else "indexed", "o", "#0072B2", indexed & (lattice == 0)),
        Mark("indexed, lattice 2", "D", "#009E73", indexed & (lattice == 1)),
        Mark("indexed, other lattices", "p", "#E69F00", indexed & (lattice > 1)),
    ]
    return tuple(mark for mark in found if mark.which.any())


def round_d(q_max: float, n: int) -> list[float]:
    """About n round values of d (angstrom), evenly spread in q = 1/d up to `q_max`."""
    values = np.array([*D_VALUES, *FINE_D_VALUES])
    inside = values[1.0 / values <= q_max]
    if not len(inside):
        return []
    wanted = q_max * (np.arange(n) + 1) / (n + 0.4)
    nearest = np.abs(1.0 / inside[:, None] - wanted).argmin(axis=0)
    return [float(d) for d in inside[np.unique(nearest)]]
