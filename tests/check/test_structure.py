"""Axes, links, and the structure of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hitsieve.check import examine

from .damage import DETECTOR, found

AXIS = f"{DETECTOR}/transformations/translation"
FAST = f"{DETECTOR}/module/fast_pixel_direction"

AXES: dict[str, tuple[str, str, Any, str, str]] = {
    "no type": (AXIS, "transformation_type", None, "error", "axis"),
    "other type": (AXIS, "transformation_type", "shear", "error", "axis"),
    "no vector": (AXIS, "vector", None, "error", "axis"),
    "zero vector": (AXIS, "vector", np.zeros(3), "error", "axis"),
    "long vector": (AXIS, "vector", np.array([0.0, 0.0, 2.0]), "warning", "axis"),
    "two numbers": (AXIS, "vector", np.array([0.0, 1.0]), "error", "axis"),
    "angle for length": (AXIS, "units", "deg", "error", "axis"),
    "no end": (AXIS, "depends_on", None, "error", "chain"),
    "to nothing": (AXIS, "depends_on", "/entry/no/such/axis", "error", "chain"),
    "to a group": (AXIS, "depends_on", "/entry/sample", "error", "chain"),
    "from nothing": (FAST, "depends_on", "no_such_axis", "error", "chain"),
}


@pytest.mark.parametrize("case", AXES)
def test_axes_are_whole(case: str, mine: Path) -> None:
    place, name, value, severity, rule = AXES[case]
    with h5py.File(mine, "r+") as file:
        del file[place].attrs[name]
        if value is not None:
            file[place].attrs[name] = value
    assert found(mine) == {(severity, rule, f"{place}@{name}")}


def test_an_offset_has_units(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file[AXIS].attrs["offset_units"]
    assert found(mine) == set()
    with h5py.File(mine, "r+") as file:
        file[AXIS].attrs["offset"] = np.array([0.0, 0.0, 1.0])
    assert found(mine) == {("warning", "axis", f"{AXIS}@offset_units")}


def test_a_chain_may_be_relative(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file[FAST].attrs["depends_on"] = "module_offset"
        file[f"{DETECTOR}/module/module_offset"].attrs["depends_on"] = "../transformations/translation"
    assert found(mine) == set()


def test_loops_of_axes_end(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file[AXIS].attrs["depends_on"] = FAST
    (finding,) = examine(mine).findings
    assert (finding.rule, finding.place) == ("chain", f"{FAST}@depends_on")
    assert "loop" in finding.what


def test_links_that_lead_nowhere(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file["entry/soft"] = h5py.SoftLink("/no/such/place")
        file["entry/hard"] = file["entry/sample"]
        file["entry/outside"] = h5py.ExternalLink("gone.h5", "/entry")
        file["entry/around"] = h5py.SoftLink("/entry/around")
        file["entry/self"] = file["entry"]
        file["entry/device"] = h5py.ExternalLink("/dev/zero", "/entry")
    assert found(mine) == {
        ("warning", "links", "/entry/soft"),
        ("warning", "links", "/entry/outside"),
        ("warning", "links", "/entry/around"),
        ("warning", "links", "/entry/device"),
    }


def test_links_of_files_to_each_other_end(mine: Path) -> None:
    other = mine.with_name("other.h5")
    with h5py.File(mine, "r+") as file, h5py.File(other, "w") as there:
        file["entry/there"] = h5py.ExternalLink("other.h5", "/back")
        there["back"] = h5py.ExternalLink("mine.h5", "/entry/there")
    assert found(mine) == {("warning", "links", "/entry/there")}


def test_a_group_in_another_file_is_there(mine: Path) -> None:
    with h5py.File(mine, "r+") as file, h5py.File(mine.with_name("other.h5"), "w") as other:
        file.copy(file["entry/source"], other, "facility")
        del file["entry/source"]
        file["entry/source"] = h5py.ExternalLink("other.h5", "/facility")
    assert found(mine) == set()


def test_an_absolute_link_is_a_note(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file["entry/again"] = h5py.ExternalLink(str(mine), "/entry/sample")
    assert found(mine) == {("note", "absolute-link", "/entry/again")}


def test_an_entry_of_another_name(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file["entry"].copy(file["entry/sample"], file, "lysozyme_1")
        del file["lysozyme_1"]
        file.move("entry", "lysozyme_1")
    places = {place for _, _, place in found(mine)}
    # Its axes name each other by their old paths.
    assert all("depends_on" in place or place.endswith("detector/data") for place in places), places


def test_no_entry(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file["entry"].attrs["NX_class"] = "NXcollection"
    assert found(mine) == {("error", "entry", "/")}
    with h5py.File(mine, "r+") as file:
        del file["entry"].attrs["NX_class"]
    assert found(mine) == {("error", "class", "/entry")}


def test_several_entries(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        results = file.create_group("a_results")
        results.attrs["NX_class"] = "NXentry"
        results["definition"] = "NXazint1d"
    assert found(mine) == set()
    with h5py.File(mine, "r+") as file:
        file["a_results/definition"][()] = "NXmx"
    told = found(mine)
    assert ("note", "several", "/") in told
    assert ("error", "entry/sample", "/a_results/sample") in told


def test_a_definition_of_another_kind(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file["entry/definition"][()] = "NXtomo"
    assert found(mine) == {("error", "entry/definition", "/entry/definition")}


def test_several_detectors(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file.copy(file[DETECTOR], file["entry/instrument"], "second")
        del file["entry/instrument/second/sensor_material"]
    assert found(mine) == {
        ("error", "entry/instrument/detector/sensor_material", "/entry/instrument/second/sensor_material")
    }
