"""The unit cell of the sample: where NXmx states it, with its centring, and nothing where it says nothing."""

from __future__ import annotations

from pathlib import Path

import gemmi
import h5py
import numpy as np
import pytest

from hitsieve.model import Run
from hitsieve.model.cells import centring_of
from hitsieve.source import open_run

from .builders import nxmx

LYSOZYME = [79.1, 79.1, 38.0, 90.0, 90.0, 90.0]


def opened(path: Path, **fields: object) -> Run:
    nxmx(path)
    with h5py.File(path, "a") as file:
        sample = file["entry"].require_group("sample")
        sample.attrs["NX_class"] = "NXsample"
        for name, value in fields.items():
            values, units = value if isinstance(value, tuple) else (value, None)
            sample[name] = values
            if units:
                sample[name].attrs["units"] = units
    with open_run(path) as run:
        return run.run


@pytest.mark.parametrize(
    "fields",
    [
        {"unit_cell": LYSOZYME},
        {"unit_cell": np.array([LYSOZYME], dtype=np.float32)},
        {"unit_cell": np.array([LYSOZYME] * 3)},
        {"unit_cell": np.array([LYSOZYME, [0] * 6, [np.nan] * 6])},
        {"unit_cell": ([7.91, 7.91, 3.8, 90, 90, 90], "nm")},
        {"unit_cell_abc": LYSOZYME[:3], "unit_cell_alphabetagamma": LYSOZYME[3:]},
        {"unit_cell_abc": ([7.91, 7.91, 3.8], "nm"), "unit_cell_alphabetagamma": ([np.pi / 2] * 3, "rad")},
        {"unit_cell": [0.0] * 6, "unit_cell_abc": LYSOZYME[:3], "unit_cell_alphabetagamma": LYSOZYME[3:]},
    ],
)
def test_where_it_is_stated(tmp_path: Path, fields: dict[str, object]) -> None:
    run = opened(tmp_path / "a.h5", **fields)
    assert run.sample_cell is not None
    assert run.sample_cell.parameters == pytest.approx(LYSOZYME, rel=1e-5)
    assert run.sample_cell.centring == "P" and "no centring" in run.sample_cell.origin
    assert "entry/sample/unit_cell" in run.sample_cell.origin
    assert not run.problems


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"unit_cell": [0.0] * 6},
        {"unit_cell": [np.nan] * 6},
        {"unit_cell": [1.0, 1, 1, 90, 90, 90]},
        {"unit_cell": [79.0, 79, 38]},
        {"unit_cell": "79,79,38,90,90,90"},
        {"unit_cell_abc": LYSOZYME[:3]},
    ],
)
def test_nothing_said(tmp_path: Path, fields: dict[str, object]) -> None:
    run = opened(tmp_path / "a.h5", **fields)
    assert run.sample_cell is None and not run.problems


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"unit_cell": [79.0, 79, 38, 60, 60, 130]}, "no crystal has"),
        ({"unit_cell": [79.0, 79, 38, 1.57, 1.57, 1.57]}, "1.57 degrees is no crystal's"),
        ({"unit_cell": [1e4, 79, 38, 90, 90, 90]}, "10000 angstrom is longer"),
        ({"unit_cell": [-79.0, 79, 38, 90, 90, 90]}, "no crystal has"),
        ({"unit_cell": [LYSOZYME, LYSOZYME, [58.0, 58, 150, 90, 90, 90]]}, "varies over the run"),
        ({"unit_cell": LYSOZYME, "space_group": "R 3"}, "which the cell cannot have"),
        (
            {"unit_cell_abc": (LYSOZYME[:3], "furlong"), "unit_cell_alphabetagamma": LYSOZYME[3:]},
            "unknown units 'furlong'",
        ),
    ],
)
def test_bad_cells_are_reported(tmp_path: Path, fields: dict[str, object], says: str) -> None:
    run = opened(tmp_path / "a.h5", **fields)
    assert run.sample_cell is None
    (problem,) = run.problems
    assert says in problem.what and problem.mend


@pytest.mark.parametrize(
    ("cell", "fields", "centring"),
    [
        (LYSOZYME, {"space_group": "P 43 21 2"}, "P"),
        (LYSOZYME, {"space_group": np.bytes_("I4/m")}, "I"),
        (LYSOZYME, {"space_group": ["I 41 2 2", "I 41 2 2"]}, "I"),
        (LYSOZYME, {"space_group": 98}, "I"),
        (LYSOZYME, {"space_group": "C 4 21 2"}, "C"),
        (LYSOZYME, {"space_group": "", "unit_cell_group": "F m m m"}, "F"),
        (LYSOZYME, {"unit_cell_group": "422"}, None),
        (LYSOZYME, {"space_group": "unknown"}, None),
        (LYSOZYME, {"space_group": "Cubic"}, None),
        ([93, 93, 130, 90, 90, 120], {"space_group": "H 3 2"}, "R"),
        ([93, 93, 130, 90, 90, 120], {"space_group": "R 3 2"}, "R"),
        ([71, 71, 71, 75, 75, 75], {"space_group": "R 3 2"}, "P"),
    ],
)
def test_space_group_gives_the_centring(
    tmp_path: Path, cell: list[float], fields: dict[str, object], centring: str | None
) -> None:
    found = opened(tmp_path / "a.h5", unit_cell=cell, **fields).sample_cell
    assert found is not None and found.centring == (centring or "P")
    assert ("no centring" in found.origin) == (centring is None)


def test_numbers_and_symbols_of_all_space_groups() -> None:
    for group in gemmi.spacegroup_table_itb():
        letter = "R" if group.ccp4 and group.ext == "H" else group.hm[0]
        assert centring_of(group.hm) == letter
        assert centring_of(group.short_name()) == letter
        assert centring_of(group.hall) == group.hall.lstrip("-")[0]
    for number in range(1, 231):
        assert centring_of(str(number)) == gemmi.get_spacegroup_reference_setting(number).hm[0]
    assert [centring_of(name) for name in ("0", "231", "-1", "mmm", "4/mmm", "X 1", "cubic", "")] == [None] * 8


def test_a_cell_that_may_be_in_nanometres_is_doubted(tmp_path: Path) -> None:
    run = opened(tmp_path / "a.h5", unit_cell=[7.91, 7.91, 3.8, 90, 90, 90])
    assert run.sample_cell is not None
    (problem,) = run.problems
    assert "in nm" in problem.what and problem.mend
