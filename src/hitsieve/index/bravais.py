"""Conventional cells that a primitive cell may have, by Bravais type.

Two-fold axes of the lattice within a tolerance come from gemmi (Le Page, J. Appl. Cryst. 15 (1982) 255); the groups
that they generate are the holohedries of its conventional cells, whose axes are those of the group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError
from hitsieve.model import CellParameters

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rotation = tuple[int, ...]
"""A whole matrix W, row by row: coordinates x' = W x, on the reduced cell."""
Group = frozenset[Rotation]

FAMILIES = {1: "a", 2: "m", 4: "o", 8: "t", 6: "h", 12: "h", 24: "c"}
"""Crystal family by the number of rotations of its holohedry."""
SHORT: Ints = np.array([v for v in product(range(-4, 5), repeat=3) if any(v)])
"""Indices that the short vectors of a reduced cell, or of its symmetric mean, do not exceed."""
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)


@dataclass(frozen=True, slots=True)
class BravaisCandidate:
    """A conventional cell of a lattice, and how far the lattice is from its symmetry."""

    type: str
    """aP, mP, mC, oP, oC, oI, oF, tP, tI, hP, hR, cP, cI or cF."""
    cell: CellParameters
    """The conventional cell with its symmetry imposed."""
    as_found: CellParameters
    """The same without."""
    centring: str
    """P, C, I, F or R (obverse, on hexagonal axes); mC has I where that cell has the shorter axes."""
    length_deviation: float
    """Largest difference of a length of the two, as a share."""
    angle_deviation: float
    """Largest difference of an angle of the two (degrees)."""
    rotations: int
    """Rotations of the holohedry: 1 (triclinic) to 24 (cubic)."""
    change: Ints
    """Conventional axes (rows) as whole combinations of the primitive ones."""


def bravais_candidates(
    cell: Sequence[float], *, length_tolerance: float = 0.03, angle_tolerance: float = 2.0
) -> tuple[BravaisCandidate, ...]:
    """Conventional cells that a primitive cell has within tolerance, highest symmetry first; the last is triclinic.

    Of each Bravais type there is one at most, that with the smallest deviation. Axes normal to the unique one are the
    shortest; beta of monoclinic cells is 90 degrees or more; axes rise where symmetry leaves a choice.

    Parameters
    ----------
    cell : sequence of float
        a, b, c (angstrom), alpha, beta, gamma (degrees) of any primitive cell of the lattice.
    length_tolerance, angle_tolerance : float
        Largest deviation of the cell as found from the symmetric one: a share, and degrees.

    Raises
    ------
    SettingsError
        The cell is impossible.
    """
    import gemmi

    named = ", ".join(f"{value:g}" for value in cell)
    if len(cell) != 6:
        raise SettingsError(f"a cell has six numbers, not {len(cell)}: {named}", mend="give a,b,c,alpha,beta,gamma")
    metric = metric_of(cell)
    if not np.isfinite(metric).all() or min(cell) <= 0 or np.linalg.det(metric) < 1e-8 * np.prod(np.diag(metric)):
        raise SettingsError(f"no crystal has the cell {named}", mend="check its lengths and angles")
    vector = gemmi.GruberVector(gemmi.UnitCell(*cell), "P", True)
    vector.niggli_reduce()
    change = vector.change_of_basis
    to_reduced = np.rint(np.array(change.rot).T / change.DEN).astype(np.int64)
    reduced = to_reduced @ metric @ to_reduced.T
    # Between the axes of a group a length that is off turns the plane normal to a two-fold axis away from it.
    obliquity = 2 * (angle_tolerance + np.degrees(length_tolerance))
    two_folds = gemmi.find_lattice_2fold_ops(vector.get_cell(), float(obliquity))
    groups = _groups({tuple(int(x) // op.DEN for x in np.array(op.rot).ravel()) for op, _ in two_folds})
    best: dict[str, BravaisCandidate] = {}
    for group in groups:
        found = _candidate(group, reduced, to_reduced)
        if found is None or found.length_deviation > length_tolerance or found.angle_deviation > angle_tolerance:
            continue
        if found.type not in best or _rank(found) < _rank(best[found.type]):
            best[found.type] = found
    return tuple(sorted(best.values(), key=lambda found: (-found.rotations, _penalty(found))))


def _rank(found: BravaisCandidate) -> tuple[float, int]:
    """The lower, the better: of equal deviations the larger group, as hP is the cell of two."""
    return round(_penalty(found), 9), -found.rotations


def _penalty(found: BravaisCandidate) -> float:
    """Deviations as one: a share of 0.01 counts as much as the angle that goes with it, 0.57 degrees."""
    return max(float(np.degrees(found.length_deviation)), found.angle_deviation)


def metric_of(cell: Sequence[float]) -> Floats:
    """Dot products of the cell's axes (square angstrom), shape (3, 3)."""
    lengths = np.array(cell[:3], dtype=np.float64)
    cosines = np.cos(np.radians(np.array(cell[3:], dtype=np.float64)))
    matrix = np.eye(3)
    for (i, j), cosine in zip(((1, 2), (0, 2), (0, 1)), cosines, strict=True):
        matrix[i, j] = matrix[j, i] = cosine
    out: Floats = matrix * np.outer(lengths, lengths)
    return out


def cell_of(metric: Floats) -> CellParameters:
    """Lengths and angles of axes with these dot products."""
    a, b, c = np.sqrt(np.diag(metric))
    cosines = metric[1, 2] / (b * c), metric[0, 2] / (a * c), metric[0, 1] / (a * b)
    alpha, beta, gamma = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return float(a), float(b), float(c), float(alpha), float(beta), float(gamma)


def _groups(two_folds: set[Rotation]) -> set[Group]:
    """The groups that two-fold rotations generate: none, one, two (dihedral) or three of them (cubic)."""
    found: set[Group] = {frozenset([IDENTITY])}
    found |= {frozenset([IDENTITY, rotation]) for rotation in two_folds}
    found |= {group for pair in combinations(sorted(two_folds), 2) if (group := _closed(pair))}
    for trigonal in [group for group in found if len(group) == 6]:
        found |= {group for rotation in two_folds - trigonal if (group := _closed((*trigonal, rotation)))}
    return {group for group in found if len(group) in FAMILIES}


def _closed(generators: Iterable[Rotation]) -> Group | None:
    """All products of some rotations; None where they are more than a lattice can have."""
    generators = tuple(generators)
    group = {IDENTITY, *generators}
    latest = group
    while latest:
        latest = {_times(x, y) for x in latest for y in generators} - group
        group |= latest
        if len(group) > 24:
            return None
    return frozenset(group)


@cache
def _times(x: Rotation, y: Rotation) -> Rotation:
    """Product of two rotations."""
    rows = (x[0:3], x[3:6], x[6:9])
    columns = (y[0::3], y[1::3], y[2::3])
    return tuple(r[0] * c[0] + r[1] * c[1] + r[2] * c[2] for r in rows for c in columns)


def _candidate(group: Group, reduced: Floats, to_reduced: Ints) -> BravaisCandidate | None:
    """The conventional cell of a group; None where its axes span none."""
    rotations = [np.reshape(x, (3, 3)) for x in sorted(group)]
    metric: Floats = np.mean([w.T @ reduced @ w for w in rotations], axis=0)
    axes = _axes(rotations, metric)
    if axes is None:
        return None
    if np.linalg.det(axes) < 0:
        axes = -axes
    size = round(abs(float(np.linalg.det(axes))))
    centring = _centring(axes, size)
    if centring is None:
        return None
    axes, centring = _setting(axes, centring, len(group), metric)
    symmetric, found = cell_of(axes @ metric @ axes.T), cell_of(axes @ reduced @ axes.T)
    letter = "C" if len(group) == 2 and centring == "I" else centring
    return BravaisCandidate(
        type=FAMILIES[len(group)] + letter,
        cell=symmetric,
        as_found=found,
        centring=centring,
        length_deviation=max(abs(x / y - 1) for x, y in zip(found[:3], symmetric[:3], strict=True)),
        angle_deviation=max(abs(x - y) for x, y in zip(found[3:], symmetric[3:], strict=True)),
        rotations=len(group),
        change=axes @ to_reduced,
    )


def _axes(rotations: list[Ints], metric: Floats) -> Ints | None:
    """Conventional axes of a group as rows, in no special order; None where there are none."""
    by_order: dict[int, list[Ints]] = {}
    for rotation in rotations:
        trace = int(np.trace(rotation))
        if trace < 3:
            by_order.setdefault({-1: 2, 0: 3, 1: 4, 2: 6}[trace], []).append(rotation)
    n = len(rotations)
    if n == 1:
        return np.eye(3, dtype=np.int64)
    if n in (4, 24):
        along = {tuple(_axis(w)) for w in by_order[2 if n == 4 else 4]}
        return np.array(sorted(along)) if len(along) == 3 else None
    main = by_order[{2: 2, 8: 4, 6: 3, 12: 6}[n]][0]
    unique = _axis(main)
    plane = _net(unique, metric)
    if n == 2:
        return np.array([plane[0], unique, plane[1]])
    if n == 8:
        return np.array([*plane, unique])
    # Hexagonal axes enclose 120 degrees.
    second = plane[1] if plane[0] @ metric @ plane[1] < 0 else -plane[1]
    return np.array([plane[0], second, unique])


def _axis(rotation: Ints) -> Ints:
    """The shortest whole vector along the axis of a rotation; its sign is arbitrary but fixed."""
    order = {-1: 2, 0: 3, 1: 4, 2: 6}[int(np.trace(rotation))]
    total = sum((np.linalg.matrix_power(rotation, k) for k in range(order)), np.zeros((3, 3), dtype=np.int64))
    column = total[:, int(np.abs(total).sum(axis=0).argmax())]
    vector: Ints = column // np.gcd.reduce(column)
    return vector if tuple(vector) > (0, 0, 0) else -vector


def _net(unique: Ints, metric: Floats) -> tuple[Ints, Ints]:
    """The two shortest lattice vectors normal to an axis; they span all that are."""
    normal = metric @ unique
    vectors = SHORT[np.abs(SHORT @ normal) < 1e-6 * np.abs(normal).max()]
    squares = np.round(np.einsum("ni,ij,nj->n", vectors, metric, vectors), 6)
    vectors = vectors[np.lexsort((*-vectors.T[::-1], squares))]
    first = vectors[0]
    second = next(v for v in vectors[1:] if np.cross(first, v).any())
    return first, second


def _centring(axes: Ints, size: int) -> str | None:
    """Letter of the centring of axes that span `size` primitive cells; None where there is none such."""
    if size == 1:
        return "P"
    inverse = np.linalg.inv(axes)
    # Coordinates of the lattice points in the cell, on the conventional axes, in steps of 1/size.
    points = {
        tuple(int(x) for x in np.rint(np.array(v) @ inverse * size).astype(int) % size)
        for v in product(range(size), repeat=3)
    }
    inside = {tuple(x / size for x in point) for point in points if any(point)}
    letters = {
        "A": {(0, 0.5, 0.5)},
        "B": {(0.5, 0, 0.5)},
        "C": {(0.5, 0.5, 0)},
        "I": {(0.5, 0.5, 0.5)},
        "F": {(0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)},
        "R": {(2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)},
        "reverse": {(1 / 3, 2 / 3, 1 / 3), (2 / 3, 1 / 3, 2 / 3)},
    }
    return next((letter for letter, wanted in letters.items() if wanted == inside), None)


def _setting(axes: Ints, centring: str, n: int, metric: Floats) -> tuple[Ints, str]:
    """The customary choice among equivalent axes, right-handed."""
    lengths = np.sqrt(np.einsum("ij,jk,ik->i", axes, metric, axes))
    if centring == "reverse":
        return axes * np.array([[-1], [-1], [1]]), "R"
    if n == 4:
        # The face that is centred is C; else axes rise.
        last = {"A": 0, "B": 1, "C": 2}.get(centring)
        order = sorted(range(3), key=lambda i: (i == last, lengths[i]))
        return _right_handed(axes[order]), "C" if last is not None else centring
    if n == 2:
        a, b, c = axes
        swap = centring == "A" or (centring in ("P", "I") and lengths[0] > lengths[2] * (1 + 1e-9))
        if swap:
            a, c = c, a
        if a @ metric @ c > 0:
            c = -c
        return _right_handed(np.array([a, b, c]), flip=1), "C" if centring == "A" else centring
    return axes, centring


def _right_handed(axes: Ints, flip: int = 2) -> Ints:
    """The same with one axis turned about, if need be."""
    out = axes.copy()
    if np.linalg.det(out) < 0:
        out[flip] *= -1
    return out
