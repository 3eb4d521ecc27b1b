"""A beam centre or distance that is off is told from the indexed spots, with honest errors; else nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hitsieve.errors import MetadataError
from hitsieve.index import CellIndexer, GeometryCheck, GeometryFit, reciprocal_vectors
from hitsieve.model import Beam, Detector, ImageResults, Lattice, Lattices, Panel, SpotFlag, Spots, UnitCell
from hitsieve.source.overrides import apply_overrides, parse_overrides
from hitsieve.testing.stills import CRYSTALS, WAVELENGTH, Crystal, Floats, spurious, still

PIXEL = 75e-6
DISTANCE = 0.12
BEAM = Beam(WAVELENGTH)


def detector(dx: float = 0.0, dy: float = 0.0, distance: float = DISTANCE) -> Detector:
    """Four panels with a gap of 20 pixels, one of them turned by a degree; the beam near the middle."""
    panels = []
    for number, (row, column) in enumerate([(0, 0), (0, 1020), (1020, 0), (1020, 1020)]):
        turn = np.radians(1.0) * (number == 3)
        fast, slow = (-np.cos(turn), -np.sin(turn), 0.0), (np.sin(turn), -np.cos(turn), 0.0)
        origin = ((1010 + dx - column) * PIXEL, (1005 + dy - row) * PIXEL, distance)
        steps = (tuple(PIXEL * c for c in axis) for axis in (fast, slow))
        panels.append(Panel(f"p{number}", origin, *steps, (row, column), (1000, 1000)))  # type: ignore[arg-type]
    return Detector((2020, 2020), tuple(panels), distance=distance)


def places(where: Detector, q: Floats, wavelength: float = WAVELENGTH) -> tuple[Floats, Floats]:
    """Pixels that the rays along s0 + q hit; those that hit no panel are left out."""
    ray = q * WAVELENGTH / wavelength + np.array([0, 0, 1 / wavelength])
    found = []
    for panel in where.panels:
        origin, fast, slow = (np.array(v) for v in (panel.origin, panel.fast, panel.slow))
        at = ray * (origin[2] / ray[:, 2:])
        u, v = (at - origin) @ fast / PIXEL**2, (at - origin) @ slow / PIXEL**2
        on = (u >= 0) & (u < panel.shape[1]) & (v >= 0) & (v < panel.shape[0])
        found.append(np.stack([u + panel.first[1], v + panel.first[0]], axis=1)[on])
    x, y = np.vstack(found).T
    return x, y


@dataclass(frozen=True)
class Images:
    """Spots of images as the true detector sees them."""

    crystal: Crystal
    spots: list[tuple[Floats, Floats]]
    wavelengths: Floats | None = None

    @property
    def beam(self) -> Beam:
        return replace(BEAM, wavelengths=self.wavelengths)

    def found(self, assumed: Detector) -> list[tuple[Lattice, ...]]:
        indexer = CellIndexer(self.crystal.cell, self.crystal.centring)
        q = [reciprocal_vectors(assumed, self.beam, x, y, image=i) for i, (x, y) in enumerate(self.spots)]
        return [indexer.index(vectors) for vectors in q]

    def fit(self, assumed: Detector, *, cell_known: bool = True) -> GeometryFit | None:
        check = GeometryCheck(assumed, self.beam)
        check.add(results(self.spots, self.found(assumed)))
        return check.fit(UnitCell(self.crystal.cell, self.crystal.centring), cell_known=cell_known)


def images(
    seed: int,
    true: Detector,
    name: str = "tetragonal",
    *,
    n: int = 30,
    crystals: int = 1,
    spots: tuple[int, int] = (30, 80),
    wavelengths: Floats | None = None,
) -> Images:
    """Images of so many crystals each, a fifth of whose spots is spurious."""
    random = np.random.default_rng(seed)
    crystal = CRYSTALS[name]
    taken = []
    for i in range(n):
        count = int(random.integers(spots[0], spots[1] + 1))
        q = [still(random, crystal, count)[1] for _ in range(crystals)]
        seen = np.vstack([*q, spurious(random, count // 5)])
        taken.append(places(true, seen, WAVELENGTH if wavelengths is None else wavelengths[i]))
    return Images(crystal, taken, wavelengths)


def results(
    spots: Sequence[tuple[Floats, Floats]], found: Sequence[tuple[Lattice, ...]], first: int = 0
) -> ImageResults:
    """A batch as the run has it."""
    n, offsets = len(spots), np.cumsum([0, *(len(x) for x, _ in spots)])
    of_lattices = np.cumsum([0, *(len(lattices) for lattices in found)])
    x, y = (np.concatenate([pair[axis] for pair in spots]).astype(np.float32) for axis in (0, 1))
    lattice, hkl = np.full(len(x), -1, np.int8), np.zeros((len(x), 3), np.int16)
    for start, lattices in zip(offsets, found, strict=False):
        for number, one in enumerate(lattices):
            lattice[start + one.spots], hkl[start + one.spots] = number, one.hkl
    real, whole = np.zeros(len(x), np.float32), np.zeros(n, np.int32)
    h, k, l = hkl.T
    columns = Spots(x, y, real, real, real, real.astype(np.int32), real, real, real.astype(np.uint8), lattice, h, k, l)
    return ImageResults(
        image=np.arange(first, first + n),
        state=whole.astype(np.uint8),
        n_spots=whole,
        n_spots_counted=whole,
        n_spots_ice=whole,
        n_strong=whole,
        n_saturated=whole,
        max_count=whole.astype(np.int64),
        background=whole.astype(np.float32),
        resolution=whole.astype(np.float32),
        n_lattices=np.diff(of_lattices).astype(np.int32),
        n_indexed=whole,
        pump=whole.astype(np.int16),
        reasons={},
        offsets=offsets,
        spots=columns,
        lattice_offsets=of_lattices,
        lattices=Lattices.of([lattice for lattices in found for lattice in lattices]),
    )


def within(fit: GeometryFit, dx: float, dy: float) -> bool:
    """Both shifts are within four standard errors of the truth."""
    return abs(fit.shift_x - dx) < 4 * fit.shift_x_error and abs(fit.shift_y - dy) < 4 * fit.shift_y_error


@pytest.mark.parametrize("name", ["tetragonal", "monoclinic", "centred-C", "long-axis"])
@pytest.mark.parametrize(("dx", "dy", "change"), [(0.7, -0.5, 0.0), (-1.0, 2.0, 0.003), (3.0, 1.0, -0.01)])
def test_what_is_off_is_told_within_its_errors(name: str, dx: float, dy: float, change: float) -> None:
    taken = images(1, detector(dx, dy, DISTANCE * (1 + change)), name)
    fit = taken.fit(detector())
    assert fit is not None
    assert within(fit, dx, dy)
    assert fit.shift_x_error < 0.1 and fit.shift_y_error < 0.1
    assert fit.distance is not None and fit.distance_error is not None
    assert abs(fit.distance - DISTANCE * (1 + change)) < 4 * fit.distance_error < 0.002 * DISTANCE
    assert "beam centre is off" in fit.warning
    assert ("distance or cell is off" in fit.warning) == (change != 0)
    better = detector(fit.shift_x, fit.shift_y, fit.distance)
    again = taken.fit(better)
    assert again is not None and again.warning == ""
    assert again.residual < fit.residual
    assert again.residual == pytest.approx(fit.residual_after, abs=0.1)
    chances = [np.median([some[0].chance for some in taken.found(where) if some]) for where in (detector(), better)]
    assert chances[1] < 0.1 * chances[0] or max(abs(dx), abs(dy)) < 1


@pytest.mark.parametrize("name", ["long-axis", "centred-C"])
def test_more_is_indexed_in_the_suggested_geometry(name: str) -> None:
    """Few spots of large cells, beam centre off by more than half of what parts neighbouring reflections."""
    taken = images(7, detector(5.0, -4.0), name, n=40, spots=(18, 36))
    fit = taken.fit(detector())
    assert fit is not None and fit.shift_x_error < 0.5
    better = detector(fit.shift_x, fit.shift_y, fit.distance)
    before, after = (sum(map(bool, taken.found(where))) for where in (detector(), better))
    assert before <= 30 and after >= 39


@pytest.mark.parametrize("seeds", [range(12), pytest.param(range(12, 62), marks=pytest.mark.long)], ids=len)
def test_what_is_right_is_left_alone(seeds: range) -> None:
    pulls = []
    for seed in seeds:
        fit = images(1000 + seed, detector(), ("tetragonal", "triclinic", "hexagonal")[seed % 3], n=12).fit(detector())
        assert fit is not None and fit.distance is not None and fit.distance_error is not None
        assert fit.warning == ""
        pulls += [fit.shift_x / fit.shift_x_error, fit.shift_y / fit.shift_y_error]
        pulls.append((fit.distance - DISTANCE) / fit.distance_error)
    assert 0.7 < np.std(pulls) < 1.5
    assert abs(np.mean(pulls)) < 0.4


def test_a_cell_from_the_run_itself_tells_no_distance() -> None:
    fit = images(2, detector(1.0, -2.0, 1.004 * DISTANCE)).fit(detector(), cell_known=False)
    assert fit is not None
    assert fit.distance is None and fit.distance_error is None
    assert within(fit, 1.0, -2.0)
    assert "distance" not in fit.warning


@pytest.mark.parametrize("change", [0.0, -0.01])
def test_the_mend_is_flags_that_mend(change: float) -> None:
    taken = images(1, detector(3.0, 1.0, DISTANCE * (1 + change)))
    fit = taken.fit(detector())
    assert fit is not None
    flags = fit.mend.split()
    names = ["beam_center_x", "beam_center_y", *(["distance"] if change else [])]
    assert flags[::2] == ["--set"] * len(names) and [flag.split("=")[0] for flag in flags[1::2]] == names
    better, _ = apply_overrides(detector(), BEAM, parse_overrides(flags[1::2]))
    again = taken.fit(better)
    assert again is not None and again.warning == again.mend == ""
    assert again.residual == pytest.approx(fit.residual_after, abs=0.1)
    assert f"({fit.shift_x_error:.{1 - int(np.floor(np.log10(fit.shift_x_error)))}f})" in fit.warning
    assert "scatter between lattices alone" in fit.warning


def stacked(dy: float) -> Detector:
    """The left panels, one below the other in the image, without the gap in which the beam is."""
    upper, _, lower, _ = detector(dy=dy).panels
    return Detector((2000, 1000), (upper, replace(lower, first=(1000, 0))), distance=DISTANCE)


def test_no_flag_moves_panels_where_the_place_of_the_beam_is_a_pixel_of_another_panel() -> None:
    fit = images(1, stacked(3.0), n=60).fit(stacked(0.0))
    assert fit is not None and "beam centre is off" in fit.warning
    assert fit.mend.startswith("--geometry")


def test_spots_that_can_be_of_no_lattice_take_no_part() -> None:
    taken = images(8, detector(1.0, -1.0), n=20)
    found = taken.found(detector())
    random = np.random.default_rng(1)
    # Off every panel, and on a ring of ice.
    more = np.concatenate([random.uniform(1002, 1018, (300, 2)), random.uniform(0, 990, (300, 2))])
    batch = results([(np.append(x, more[:, 0]), np.append(y, more[:, 1])) for x, y in taken.spots], found)
    flags = np.concatenate([np.repeat([0, SpotFlag.ICE], [len(x) + 300, 300]) for x, _ in taken.spots])
    fits = []
    for one in (results(taken.spots, found), replace(batch, spots=replace(batch.spots, flags=flags.astype(np.uint8)))):
        check = GeometryCheck(detector(), BEAM)
        check.add(one)
        fits.append(check.fit(UnitCell(taken.crystal.cell), cell_known=True))
    assert fits[0] is not None and fits[0] == fits[1]


def test_overlapping_lattices_and_a_wavelength_of_each_image() -> None:
    wavelengths = WAVELENGTH * np.random.default_rng(4).normal(1, 0.005, 30)
    fit = images(3, detector(0.0, 1.5), crystals=2, wavelengths=wavelengths).fit(detector())
    assert fit is not None
    assert within(fit, 0.0, 1.5)
    assert fit.n_lattices > 45
    assert fit.distance == pytest.approx(DISTANCE, rel=1e-3)


def test_too_few_lattices_tell_nothing() -> None:
    assert images(5, detector(), n=9).fit(detector()) is None
    assert GeometryCheck(detector(), BEAM).fit(UnitCell(CRYSTALS["tetragonal"].cell), cell_known=True) is None


def test_of_many_lattices_a_choice_that_does_not_depend_on_their_order() -> None:
    taken = images(6, detector(1.0), n=60)
    found = taken.found(detector())
    batches = [results(taken.spots[i : i + 5], found[i : i + 5], i) for i in range(0, 60, 5)]
    cell = UnitCell(taken.crystal.cell)
    fits = []
    for order in (batches, batches[::-1]):
        check = GeometryCheck(detector(), BEAM, max_lattices=15)
        for batch in order:
            check.add(batch)
        fits.append(check.fit(cell, cell_known=True))
    assert fits[0] == fits[1]
    assert fits[0] is not None and fits[0].n_lattices == 15


def test_geometry_and_wavelength_are_needed() -> None:
    with pytest.raises(MetadataError, match="geometry"):
        GeometryCheck(Detector((10, 10)), BEAM)
    with pytest.raises(MetadataError, match="wavelength"):
        GeometryCheck(detector(), Beam())


def test_any_number_of_spots_can_be_used() -> None:
    """Of many spots an even choice is used, whatever their number."""
    crystal = CRYSTALS["tetragonal"]
    random = np.random.default_rng(3)
    _, q = still(random, crystal, 700)
    x, y = places(detector(), q)
    lattice = CellIndexer(crystal.cell, crystal.centring).index(reciprocal_vectors(detector(), BEAM, x, y))[0]
    check = GeometryCheck(detector(), BEAM)
    counts = range(60, len(lattice.spots))
    for n in counts:
        own = lattice.spots[:n]
        alone = replace(lattice, spots=np.arange(n), hkl=lattice.hkl[:n])
        check.add(results([(x[own], y[own])], [(alone,)], first=n))
    fit = check.fit(UnitCell(crystal.cell, crystal.centring), cell_known=True)
    assert fit is not None and fit.n_lattices == len(counts)
