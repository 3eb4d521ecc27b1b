"""How far apart two lattices are: by how much, at least, the one must be strained to become the other.

If F takes a basis of one lattice to a basis of the other, its principal strains say by which factors it stretches
lengths. The distance is the largest |ln factor|, of the F for which that is least: no length anywhere in the lattice
changes by more than the factor exp(distance). Settings, centrings and the choice of axes play no part, and no symmetry
is assumed. It is Thompson's metric of the metric tensors (A. C. Thompson, Proc. Amer. Math. Soc. 14 (1963) 438), half
of it, modulo changes of basis. These are isometries of that metric; so it is a metric of lattices, with triangle
inequality, and small changes of a cell are small distances even where its reduced cell jumps.

Only finitely many bases have to be tried: let (b1, b2, b3) be a Minkowski-reduced basis of one lattice (P. Q. Nguyen &
D. Stehle, ACM Trans. Algorithms 5 (2009) 46), whose lengths are the successive minima. If F with distance d takes it
to (q1, q2, q3) of the other, then |qi| <= exp(d) |bi|, and the minima of the two lattices differ by no more than the
factor exp(d). Hence |qi| is at most exp(2 d) times the i-th minimum of the other lattice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError

Floats = npt.NDArray[np.float64]

CENTRINGS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "P": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "A": ((1, 0, 0), (0, 1 / 2, 1 / 2), (0, -1 / 2, 1 / 2)),
    "B": ((1 / 2, 0, 1 / 2), (0, 1, 0), (-1 / 2, 0, 1 / 2)),
    "C": ((1 / 2, 1 / 2, 0), (-1 / 2, 1 / 2, 0), (0, 0, 1)),
    "I": ((-1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (1 / 2, 1 / 2, -1 / 2)),
    "F": ((0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0)),
    "R": ((2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3)),
}
"""Primitive vectors (rows) of each centring, on the conventional axes; R: obverse, hexagonal axes."""
MOST = 20_000_000
"""Choices of three vectors that are tried; thinner cells and larger tolerances have more."""
_HEXAGONAL = 2.0
"""Degrees by which gamma may be off 120 for the centring R to be meant."""


def reduced_metric(cell: Sequence[float], centring: str = "P") -> tuple[float, float, float, float, float, float]:
    """Metric of a Minkowski-reduced primitive basis of a lattice.

    Parameters
    ----------
    cell : six numbers
        a, b, c (angstrom), alpha, beta, gamma (degrees); one that can be.
    centring : str
        P, A, B, C, I, F or R (hexagonal axes).

    Returns
    -------
    a.a, b.b, c.c, b.c, a.c, a.b (square angstrom), with a.a <= b.b <= c.c
    """
    axes = np.array(CENTRINGS[centring]) @ _axes(cell)
    b = _minkowski(axes)
    g = b @ b.T
    return float(g[0, 0]), float(g[1, 1]), float(g[2, 2]), float(g[1, 2]), float(g[0, 2]), float(g[0, 1])


class NearLattice:
    """All lattices within some distance of one.

    Parameters
    ----------
    metric : six numbers
        Of the lattice, as `reduced_metric` gives it.
    most : float
        Largest distance: ln(1.02) for 2 %.
    """

    def __init__(self, metric: Sequence[float], most: float) -> None:
        self.most = most
        self._metric = metric
        lengths = np.sqrt(np.asarray(metric[:3], dtype=np.float64))
        self.shortest: Floats = lengths * math.exp(-most) * (1 - 1e-9)
        """Least length of each of the three reduced axes of such a lattice (angstrom)."""
        self.longest: Floats = lengths * math.exp(most) * (1 + 1e-9)
        """Greatest, likewise."""

    @cached_property
    def _gram(self) -> Floats:
        return _candidates(np.linalg.cholesky(_full(np.array([self._metric]))[0]), math.exp(2 * self.most))

    def distances(self, metrics: npt.ArrayLike) -> Floats:
        """Distance of each lattice; infinite where it is beyond.

        Parameters
        ----------
        metrics : array, shape (n, 6)
            As `reduced_metric` gives them.

        Returns
        -------
        array, shape (n,)

        Raises
        ------
        SettingsError
            The cell is too thin for so large a distance: too many bases would have to be tried.
        """
        given = np.asarray(metrics, dtype=np.float64).reshape(-1, 6)
        out = np.full(len(given), np.inf)
        lengths = np.sqrt(given[:, :3])
        near = np.flatnonzero(((lengths >= self.shortest) & (lengths <= self.longest)).all(axis=1))
        if not len(near):
            return out
        stored = _full(given[near])
        for gram in self._gram:
            # On these axes the other lattice's metric is the unit matrix, so eigenvalues are squared factors.
            inverse = np.linalg.inv(np.linalg.cholesky(gram))
            factors = np.linalg.eigvalsh(inverse @ stored @ inverse.T)
            strains = np.abs(np.log(np.maximum(factors, 1e-300))).max(axis=1) / 2
            out[near] = np.minimum(out[near], strains)
        out[out > self.most * (1 + 1e-9)] = np.inf
        return out


def distance(one: Sequence[float], other: Sequence[float], *, most: float = 0.25) -> float:
    """Distance of two lattices, given by their reduced metrics; infinite where it is more than `most`."""
    reach = min(0.01, most)
    while True:
        found = float(NearLattice(one, reach).distances([other])[0])
        if math.isfinite(found) or reach >= most:
            return found
        reach = min(2 * reach, most)


def possible_centrings(cell: Sequence[float]) -> tuple[str, ...]:
    """Centrings that these conventional axes may have, where none is named."""
    hexagonal = abs(cell[5] - 120) <= _HEXAGONAL and max(abs(angle - 90) for angle in cell[3:5]) <= _HEXAGONAL
    return tuple(name for name in CENTRINGS if name != "R" or hexagonal)


def _axes(cell: Sequence[float]) -> Floats:
    """Axes as rows."""
    a, b, c = cell[:3]
    cosines = [math.cos(math.radians(angle)) for angle in cell[3:]]
    bc, ac, ab = b * c * cosines[0], a * c * cosines[1], a * b * cosines[2]
    out: Floats = np.linalg.cholesky(np.array([[a * a, ab, ac], [ab, b * b, bc], [ac, bc, c * c]]))
    return out


def _minkowski(axes: Floats) -> Floats:
    """The shortest basis: each axis, in turn, less the nearest point of the lattice of the shorter ones."""
    b = axes[np.argsort(np.einsum("ij,ij->i", axes, axes), kind="stable")]
    while True:
        b[:2] = _gauss(b[0], b[1])
        nearest = np.rint(np.linalg.solve(b[:2] @ b[:2].T, b[:2] @ b[2]))
        tried = b[2] - (nearest + _AROUND) @ b[:2]
        squares = np.einsum("ij,ij->i", tried, tried)
        b[2] = tried[squares.argmin()]
        if squares.min() >= b[1] @ b[1] * (1 - 1e-12):
            return b
        b = b[np.argsort(np.einsum("ij,ij->i", b, b), kind="stable")]


_AROUND = np.array(list(product((0, -1, 1), repeat=2)))


def _gauss(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """The two shortest vectors of the net of two."""
    while True:
        other = other - np.rint((one @ other) / (one @ one)) * one
        if other @ other >= one @ one * (1 - 1e-12):
            return one, other
        one, other = other, one


def _full(metrics: Floats) -> Floats:
    """Metrics, shape (n, 6), as symmetric matrices, shape (n, 3, 3)."""
    return metrics[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def _candidates(axes: Floats, factor: float) -> Floats:
    """Metrics, shape (m, 3, 3), of all bases whose i-th vector is at most `factor` times as long as the i-th of `axes`.

    Those that are far from reduced are left out: no reduced basis of a near lattice becomes one of them. Equal ones
    are given once.
    """
    minima = np.sqrt(np.einsum("ij,ij->i", axes, axes))
    reach = factor * minima[2]
    bounds = np.floor(reach * np.linalg.norm(np.linalg.inv(axes), axis=0) + 1e-9).astype(np.int64)
    if np.prod(2.0 * bounds + 1) > MOST / 10:
        raise _too_thin(minima)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in bounds), indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[grid.any(axis=1)]
    lengths = np.linalg.norm(grid @ axes, axis=1)
    first, second, third = (grid[lengths <= factor * (1 + 1e-9) * minimum] for minimum in minima)
    # A basis and its negative have one metric.
    first = first[[tuple(row) > (0, 0, 0) for row in first.tolist()]]
    one = np.repeat(first, len(second), axis=0)
    two = np.tile(second, (len(first), 1))
    kept = _nearly_reduced(one @ axes, two @ axes, factor)
    one, two = one[kept], two[kept]
    if len(one) * len(third) > MOST:
        raise _too_thin(minima)
    pair, last = np.nonzero(np.abs(np.cross(one, two) @ third.T) == 1)
    bases = np.stack([one[pair], two[pair], third[last]], axis=1) @ axes
    good = _nearly_reduced(bases[:, 0], bases[:, 2], factor) & _nearly_reduced(bases[:, 1], bases[:, 2], factor)
    gram = np.einsum("nij,nkj->nik", bases[good], bases[good])
    places = np.rint(gram.reshape(-1, 9) / (1e-9 * minima[2] ** 2)).astype(np.int64)
    out: Floats = gram[np.unique(places, axis=0, return_index=True)[1]]
    return out


def _nearly_reduced(shorter: Floats, longer: Floats, factor: float) -> npt.NDArray[np.bool_]:
    """Whether the longer of each two vectors would become shorter by no more than `factor` by the other."""
    both = np.abs(np.einsum("ni,ni->n", shorter, longer))
    squares = np.einsum("ni,ni->n", longer, longer)
    best = squares - 2 * both + np.einsum("ni,ni->n", shorter, shorter)
    return np.asarray(best >= squares / factor**2 * (1 - 1e-9))


def _too_thin(minima: Floats) -> SettingsError:
    named = ", ".join(f"{length:.4g}" for length in minima)
    return SettingsError(f"the cell with reduced axes {named} is too thin to be searched so widely", mend="give less %")
