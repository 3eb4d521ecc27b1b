"""Bravais types and conventional cells of primitive cells, in whatever setting those come."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hitsieve.errors import SettingsError
from hitsieve.index import BravaisCandidate, bravais_candidates
from hitsieve.index.bravais import cell_of, metric_of

Cell = tuple[float, float, float, float, float, float]

PRIMITIVE = {
    "P": np.eye(3),
    "C": np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]]),
    "F": np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}
TYPES = ("aP", "mP", "mC", "mI", "oP", "oC", "oI", "oF", "tP", "tI", "hP", "hR", "cP", "cI", "cF")
TIGHT = {"length_tolerance": 1e-4, "angle_tolerance": 0.01}


@st.composite
def conventional(draw: st.DrawFn, kind: str) -> Cell:
    """A cell of the type in its customary setting."""
    lengths = st.floats(20, 200)
    a, b, c = draw(lengths), draw(lengths), draw(lengths)
    if kind in ("oP", "oI", "oF", "mP", "mI"):
        a, b, c = (a, b, c) if kind[0] == "o" else (min(a, c), b, max(a, c))
    if kind[0] == "o":
        ordered = sorted((a, b, c))
        a, b, c = (min(a, b), max(a, b), c) if kind == "oC" else (ordered[0], ordered[1], ordered[2])
    skew = draw(st.floats(0.02, 0.45))
    beta = float(np.degrees(np.arccos(-skew * min(a, c) / max(a, c))))
    shapes: dict[str, Cell] = {
        "a": (a, b, c, draw(st.floats(75, 88)), draw(st.floats(75, 88)), draw(st.floats(75, 88))),
        "m": (a, b, c, 90, beta, 90),
        "o": (a, b, c, 90, 90, 90),
        "t": (a, a, c, 90, 90, 90),
        "h": (a, a, c, 90, 90, 120),
        "c": (a, a, a, 90, 90, 90),
    }
    return shapes[kind[0]]


unimodular = st.lists(st.tuples(st.permutations(range(3)), st.integers(-2, 2)), min_size=0, max_size=3)


def scrambled(metric: np.ndarray, steps: list[tuple[list[int], int]]) -> Cell:
    """Another primitive cell of the same lattice."""
    for (i, j, _), factor in steps:
        step = np.eye(3)
        step[i, j] = factor
        metric = step @ metric @ step.T
    return cell_of(metric)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=20)
@given(data=st.data())
def test_type_and_cell_come_back(kind: str, data: st.DataObject) -> None:
    cell = data.draw(conventional(kind))
    to_primitive = PRIMITIVE[kind[1]]
    primitive = scrambled(to_primitive @ metric_of(cell) @ to_primitive.T, data.draw(unimodular))
    assume(min(primitive[3:]) > 5 and max(primitive[3:]) < 175)
    found = bravais_candidates(primitive, **TIGHT)
    wanted = "mC" if kind == "mI" else kind
    by_type = {candidate.type: candidate for candidate in found}
    assert wanted in by_type and "aP" in by_type
    # By chance a cell may have more symmetry than its type.
    assume(found[0].type == wanted)
    best = by_type[wanted]
    assert best.centring == kind[1]
    if kind != "aP":
        assert best.cell == pytest.approx(cell, rel=1e-3)
    volume = np.sqrt(np.linalg.det(metric_of(primitive)))
    assert np.sqrt(np.linalg.det(metric_of(best.cell))) == pytest.approx(round(np.linalg.det(best.change)) * volume)
    assert cell_of(best.change @ metric_of(primitive) @ best.change.T) == pytest.approx(best.as_found, rel=1e-5)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=20)
@given(data=st.data())
def test_noise_within_tolerance_does_no_harm(kind: str, data: st.DataObject) -> None:
    """Cells strained by 0.3 % keep their type, and the symmetric cell is near the true one."""
    cell = data.draw(conventional(kind))
    noise = np.array(data.draw(st.lists(st.floats(-0.003, 0.003), min_size=9, max_size=9))).reshape(3, 3)
    to_primitive = PRIMITIVE[kind[1]]
    axes = np.linalg.cholesky(metric_of(cell)) @ (np.eye(3) + noise)
    metric = to_primitive @ axes @ axes.T @ to_primitive.T
    found = bravais_candidates(scrambled(metric, data.draw(unimodular)), length_tolerance=0.01, angle_tolerance=1)
    by_type = {candidate.type: candidate for candidate in found}
    wanted = "mC" if kind == "mI" else kind
    assert wanted in by_type
    lengths = sorted(by_type[wanted].cell[:3])
    assert by_type[wanted].length_deviation < 0.01 and by_type[wanted].angle_deviation < 1
    if kind[0] not in "am":
        assert lengths == pytest.approx(sorted(cell[:3]), rel=0.01)


def named(found: tuple[BravaisCandidate, ...]) -> list[str]:
    return [candidate.type for candidate in found]


def test_known_lattices() -> None:
    # 104.9 I and 61.4 122.6 168 C, both by their shortest vectors.
    side = 104.9 * 0.75**0.5
    found = bravais_candidates((side, side, side, *[109.4712206] * 3))
    assert found[0].type == "cI" and found[0].cell[:3] == pytest.approx([104.9] * 3)
    assert set(named(found)) >= {"cI", "tI", "oI", "oF", "hR", "mC", "aP"}
    diagonal = np.hypot(61.4, 122.6) / 2
    angle = np.degrees(np.arccos(30.7 / diagonal))
    found = bravais_candidates((61.4, diagonal, 168, 90, 90, angle))
    assert found[0].type == "oC" and found[0].centring == "C"
    assert found[0].cell == pytest.approx((61.4, 122.6, 168, 90, 90, 90))


def test_tolerance_decides() -> None:
    cell = (38.0, 78.6, 79.4, 90.0, 90.4, 90.0)
    assert named(bravais_candidates(cell))[0] == "tP"
    assert named(bravais_candidates(cell, length_tolerance=0.003, angle_tolerance=0.5))[0] == "oP"
    assert named(bravais_candidates(cell, length_tolerance=0.003, angle_tolerance=0.2))[0] == "mP"
    best = bravais_candidates(cell)[0]
    assert best.length_deviation == pytest.approx(0.4 / 79, rel=0.02)
    assert best.angle_deviation == pytest.approx(0.4, rel=0.01)
    assert best.cell == pytest.approx((79.001, 79.001, 38, 90, 90, 90), abs=0.002)


@pytest.mark.parametrize(
    "cell", [(79, 79, 38), (79, 79, 38, 60, 60, 130), (0, 79, 38, 90, 90, 90), (79, 79, float("nan"), 90, 90, 90)]
)
def test_impossible_cells(cell: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match=r"no crystal|six numbers"):
        bravais_candidates(cell)


CCTBX = """
import json, sys
from cctbx import crystal, uctbx
from cctbx.sgtbx import bravais_types
from cctbx.sgtbx.lattice_symmetry import metric_subgroups
answers = []
for cell in json.load(sys.stdin):
    symmetry = crystal.symmetry(unit_cell=uctbx.unit_cell(cell), space_group_symbol="P1").minimum_cell()
    best = metric_subgroups(symmetry, 1.0, bravais_types_only=True).result_groups[0]
    subsym = best["best_subsym"]
    answers.append([str(bravais_types.bravais_lattice(group=subsym.space_group())), subsym.unit_cell().parameters()])
print(json.dumps(answers))
"""


@pytest.mark.dials
def test_cctbx_says_the_same() -> None:
    """Type and cell of the highest symmetry within a degree, of random lattices of all types."""
    script = shutil.which("dials.import")
    if script is None:
        pytest.skip("DIALS is not installed")
    program = Path(script).read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").strip()
    random = np.random.default_rng(1)
    cells: list[Cell] = []
    for kind in TYPES:
        a, b, c = (float(x) for x in (random.uniform(40, 60), random.uniform(70, 90), random.uniform(100, 140)))
        shapes: dict[str, Cell] = {
            "a": (a, b, c, 80, 95, 105),
            "m": (a, b, c, 90, 98, 90),
            "o": (a, b, c, 90, 90, 90),
            "t": (a, a, c, 90, 90, 90),
            "h": (a, a, c, 90, 90, 120),
            "c": (a, a, a, 90, 90, 90),
        }
        to_primitive = PRIMITIVE[kind[1]]
        steps = [([*random.permutation(3)], int(random.integers(-2, 3))) for _ in range(3)]
        cells.append(scrambled(to_primitive @ metric_of(shapes[kind[0]]) @ to_primitive.T, steps))
    done = subprocess.run(
        [program, "-c", CCTBX], input=json.dumps(cells), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for cell, (kind, theirs) in zip(cells, json.loads(done.stdout.splitlines()[-1]), strict=True):
        ours = bravais_candidates(cell, length_tolerance=0.005, angle_tolerance=0.5)[0]
        # They write mC for both settings of the centred monoclinic lattice, as is done here.
        assert ours.type == kind.replace("mI", "mC").replace("mA", "mC")
        assert sorted(ours.cell[:3]) == pytest.approx(sorted(theirs[:3]), rel=1e-4)


def test_hexagonal_cell_has_its_whole_group() -> None:
    """The trigonal group has the same cell, with the same deviation."""
    random = np.random.default_rng(0)
    for _ in range(10):
        cell = np.array([93, 93, 130, 90, 90, 120]) * (1 + random.normal(0, 0.002, 6) * [1, 1, 1, 0.5, 0.5, 0.5])
        found = {candidate.type: candidate.rotations for candidate in bravais_candidates(cell.tolist())}
        assert found["hP"] == 12
