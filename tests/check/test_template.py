"""Templates: printed, filled in, refused, and filled into copies."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.check import read_template
from hitsieve.errors import OutputError, SettingsError, SourceError
from hitsieve.pipeline.check import Completed, complete, template_of
from hitsieve.testing import Simulated

from .damage import DATA, DETECTOR, found

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LACKING = ("entry/source", "entry/sample/name", f"{DETECTOR}/sensor_thickness", f"{DETECTOR}/distance_derived")
FILLED = """
"entry/source/name" = "SwissFEL"
"entry/source/name@short_name" = "SwissFEL"

["entry/sample"]
name = "thaumatin"

["entry/instrument/detector"]
sensor_thickness = { value = 0.45, units = "mm" }
distance_derived = true
"""


@pytest.fixture
def poor(mine: Path) -> Path:
    """A file that lacks what a beamline knows."""
    with h5py.File(mine, "r+") as file:
        for place in LACKING:
            del file[place]
    return mine


def written(folder: Path, text: str) -> Path:
    path = folder / "beamline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def what(done: Completed) -> dict[str, tuple[bool, str]]:
    return {one.place: (one.done, one.what) for one in done.filled}


def test_a_template_lists_what_is_absent_and_does_nothing_until_it_is_filled_in(poor: Path, tmp_path: Path) -> None:
    text = template_of(poor)
    assert tomllib.loads(text) == {
        "entry/sample/name": "?",
        "entry/source/name": "?",
        "entry/instrument/detector/sensor_thickness": {"value": "?", "units": "m"},
        "entry/instrument/detector/distance_derived": "?",
    }
    assert read_template(written(tmp_path, text)) == []


def test_a_filled_in_template_mends_a_copy(poor: Path, tmp_path: Path) -> None:
    before = hashlib.sha256(poor.read_bytes()).digest()
    copy = tmp_path / "copy.h5"
    done = complete(poor, written(tmp_path, FILLED), copy)
    assert hashlib.sha256(poor.read_bytes()).digest() == before
    assert found(copy) == set()
    assert done.checked.findings == ()
    assert all(one.done for one in done.filled)
    with h5py.File(copy) as file, h5py.File(poor) as source:
        thickness = file[f"{DETECTOR}/sensor_thickness"]
        assert (thickness[()], thickness.attrs["units"]) == (0.45, "mm")
        assert thickness.attrs["source"] == "user (hitsieve check --fix)"
        assert file["entry/source"].attrs["NX_class"] == "NXsource"
        assert file["entry/source/name"].attrs["short_name"] == "SwissFEL"
        for image in range(6):
            place = (image, 0, 0)
            assert file[DATA].id.read_direct_chunk(place) == source[DATA].id.read_direct_chunk(place)


def test_what_is_there_stays(mine: Path, tmp_path: Path) -> None:
    text = """
    "entry/sample/name" = "thaumatin"
    "entry/instrument/detector/sensor_material" = "Si"
    "entry/instrument/detector/distance" = { value = 123, units = "mm" }
    "entry/instrument/name@short_name" = "X06SA"
    """
    with h5py.File(mine) as file:
        there = {place: file[place][()] for place in ("entry/sample/name", f"{DETECTOR}/distance")}
    done = complete(mine, written(tmp_path, text), tmp_path / "copy.h5")
    left = what(done)
    assert not any(filled for filled, _ in left.values())
    assert left["/entry/sample/name"] == (False, "is single in the file")
    assert left[f"{DETECTOR}/sensor_material"] == (False, "is there already")
    with h5py.File(tmp_path / "copy.h5") as file:
        assert {place: file[place][()] for place in there} == there
    done = complete(mine, written(tmp_path, text), tmp_path / "copy.h5", overwrite=(True, True))
    assert [one.place for one in done.filled if not one.done] == [f"{DETECTOR}/sensor_material"]
    with h5py.File(tmp_path / "copy.h5") as file:
        assert file["entry/sample/name"][()] == b"thaumatin"
        assert (file[f"{DETECTOR}/distance"][()], file[f"{DETECTOR}/distance"].attrs["units"]) == (123.0, "mm")
        assert file["entry/instrument/name"].attrs["short_name"] == "X06SA"


def test_an_empty_field_is_filled_and_keeps_its_attributes(mine: Path, tmp_path: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file["entry/sample/name"]
        file["entry/sample/name"] = ""
        file["entry/sample/name"].attrs["comment"] = "as the user types it"
    done = complete(mine, written(tmp_path, '"entry/sample/name" = "thaumatin"'), tmp_path / "copy.h5")
    assert what(done)["/entry/sample/name"][0]
    with h5py.File(tmp_path / "copy.h5") as file:
        assert file["entry/sample/name"].attrs["comment"] == "as the user types it"


def test_geometry_can_be_given_whole(mine: Path, tmp_path: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file[f"{DETECTOR}/module"]
    text = """
    ["entry/instrument/detector/module"]
    data_origin = [0, 0]
    data_size = [524, 514]
    fast_pixel_direction = { value = 7.5e-5, units = "m" }
    slow_pixel_direction = { value = 7.5e-5, units = "m" }
    "fast_pixel_direction@transformation_type" = "translation"
    "fast_pixel_direction@vector" = [-1, 0, 0]
    "fast_pixel_direction@offset" = [0, 0, 0]
    "fast_pixel_direction@depends_on" = "/entry/instrument/detector/transformations/translation"
    "slow_pixel_direction@transformation_type" = "translation"
    "slow_pixel_direction@vector" = [0, -1, 0]
    "slow_pixel_direction@offset" = [0, 0, 0]
    "slow_pixel_direction@depends_on" = "/entry/instrument/detector/transformations/translation"
    """
    assert set(tomllib.loads(template_of(mine))) == {
        f"entry/instrument/detector/module/{name}"
        for name in (
            "data_origin",
            "data_size",
            *(
                f"{axis}_pixel_direction{part}"
                for axis in ("fast", "slow")
                for part in ("", "@transformation_type", "@vector", "@offset", "@depends_on")
            ),
        )
    }
    complete(mine, written(tmp_path, text), tmp_path / "copy.h5")
    assert {severity for severity, _, _ in found(tmp_path / "copy.h5")} <= {"note"}


WRONG = {
    "no TOML": ('"entry/sample/name" = \n', "is not TOML", "line 1"),
    "unknown place": ('\n"entry/sample/nmae" = "x"', "line 2: entry/sample/nmae", "did you mean entry/sample/name"),
    "only a name": ("distance = 0.2", "line 1: distance", "entry/instrument/detector/distance"),
    "no units": ('\n\n"entry/instrument/detector/distance" = 0.2', "line 3", "has no units"),
    "other units": ('"entry/instrument/detector/distance" = { value = 0.2, units = "eV" }', "line 1", "has units 'eV'"),
    "needless units": ('"entry/sample/name" = { value = "x", units = "m" }', "line 1", "has units"),
    "another key": ('"entry/instrument/detector/distance" = { value = 0.2, unit = "m" }', "line 1", "has unit"),
    "text": (
        '["entry/instrument/detector"]\nsensor_thickness = { value = "thin", units = "m" }',
        "line 2",
        "not numbers",
    ),
    "truth": ('"entry/instrument/detector/distance_derived" = 1', "line 1", "not true or false"),
    "a fraction": ('"entry/instrument/detector/bit_depth_readout" = 16.5', "line 1", "not whole numbers"),
    "not positive": (
        '"entry/instrument/detector/distance" = { value = 0, units = "m" }',
        "line 1",
        "not greater than 0",
    ),
    "one of two": (
        '"entry/instrument/beam/incident_beam_size" = { value = [1], units = "m" }',
        "line 1",
        "has 1 values",
    ),
    "no such word": ('"entry/instrument/beam/profile" = "square"', "line 1", "must be Gaussian"),
    "no time": ('"entry/start_time" = "yesterday"', "line 1", "ISO 8601"),
    "no zone": ('"entry/instrument/time_zone" = "CET"', "line 1", "offset from UTC"),
    "images": ('"entry/data/data" = 0', "line 1", "made of images"),
    "a group": ('"entry/sample" = "lysozyme"', "line 1", "is a group"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_template_is_refused_with_its_line(case: str, mine: Path, tmp_path: Path) -> None:
    text, *said = WRONG[case]
    with pytest.raises(SettingsError) as raised:
        complete(mine, written(tmp_path, text), tmp_path / "copy.h5")
    for part in said:
        assert part in str(raised.value)
    assert not (tmp_path / "copy.h5").exists()


def test_a_time_of_toml_is_a_time(poor: Path, tmp_path: Path) -> None:
    with h5py.File(poor, "r+") as file:
        del file["entry/start_time"]
    complete(poor, written(tmp_path, '"entry/start_time" = 2020-01-31T12:00:00Z'), tmp_path / "copy.h5")
    assert not any(rule in ("entry/start_time", "time") for _, rule, _ in found(tmp_path / "copy.h5"))


def test_of_two_detectors_one_is_named_by_its_path(mine: Path, tmp_path: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file.copy(file[DETECTOR], file["entry/instrument"], "second")
        del file["entry/instrument/second/sensor_material"]
    both = written(tmp_path, '"entry/instrument/detector/sensor_material" = "CdTe"')
    with pytest.raises(SettingsError, match=r"line 1.*stands for 2 groups.*begins with /"):
        complete(mine, both, tmp_path / "copy.h5")
    text = '"/entry/instrument/second/sensor_material" = "CdTe"\n'
    complete(mine, written(tmp_path, text), tmp_path / "copy.h5")
    assert found(tmp_path / "copy.h5") == set()
    wrong = written(tmp_path, '"/entry/instrument/second/sensor_thickness" = 1.0')
    with pytest.raises(SettingsError, match="has no units"):
        complete(mine, wrong, tmp_path / "other.h5")
    with pytest.raises(SettingsError, match="a group that the file lacks"):
        complete(mine, written(tmp_path, '"/entry/instrument/third/sensor_material" = "Si"'), tmp_path / "other.h5")


@pytest.mark.parametrize("style", ["vds", "vds-strided", "external"])
@pytest.mark.parametrize("place", ["beside", "far"])
def test_a_copied_master_shows_the_same_images(
    style: str, place: str, masters: dict[str, Simulated], tmp_path: Path
) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(masters[style].master.parent, folder)
    master = folder / masters[style].master.name
    copy = (folder if place == "beside" else tmp_path / "a" / "b") / "copy_master.h5"
    done = complete(master, written(tmp_path, '"entry/source/probe" = "x-ray"'), copy)
    assert not any(finding.rule in ("images", "sources", "links") for finding in done.checked.findings)
    with h5py.File(master) as before, h5py.File(copy) as after:
        names = list(before["entry/data"])
        assert names == list(after["entry/data"])
        for name in names:
            np.testing.assert_array_equal(before["entry/data"][name][()], after["entry/data"][name][()])
        if style != "external":
            np.testing.assert_array_equal(before[f"{DETECTOR}/data"][()], after[f"{DETECTOR}/data"][()])
            assert after[DATA].is_virtual
            assert after[DATA].fillvalue == before[DATA].fillvalue
    # Both can move together.
    shutil.move(tmp_path, tmp_path.with_name(f"{tmp_path.name}_moved"))
    moved = tmp_path.with_name(f"{tmp_path.name}_moved") / copy.relative_to(tmp_path)
    assert not any(rule in ("images", "sources", "links") for _, rule, _ in found(moved))


def test_a_copy_is_whole_or_not_there(poor: Path, tmp_path: Path) -> None:
    template = written(tmp_path, FILLED)
    with pytest.raises(OutputError, match="the file itself"):
        complete(poor, template, poor, overwrite=(False, True))
    copy = tmp_path / "copy.h5"
    copy.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        complete(poor, template, copy)
    assert copy.read_bytes() == b"mine"
    with pytest.raises(SettingsError):
        complete(poor, written(tmp_path, '"/entry/none/sensor_material" = "Si"'), tmp_path / "other.h5")
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(poor.read_bytes()[:-100])
    with pytest.raises(SourceError, match="truncated"):
        complete(damaged, template, tmp_path / "other.h5")
    with pytest.raises(SettingsError, match="cannot be read"):
        complete(poor, tmp_path / "none.toml", tmp_path / "other.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beamline.toml", "copy.h5", "damaged.h5", "mine.h5"]


@pytest.mark.parametrize("absolute", [False, True])
def test_other_files_are_not_touched(absolute: bool, mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "sample.h5"
    with h5py.File(other, "w") as file:
        group = file.create_group("sample")
        group.attrs["NX_class"] = "NXsample"
        file["name"] = "hitsieve simulator"
    name = str(other) if absolute else other.name
    with h5py.File(mine, "r+") as file:
        del file["entry/sample"], file["entry/source/name"]
        file["entry/sample"] = h5py.ExternalLink(name, "/sample")
        file["entry/source/name"] = h5py.ExternalLink(name, "/name")
    before = other.read_bytes()
    text = """
    "entry/sample/name" = "x"
    "/entry/sample/depends_on" = "."
    "entry/source/name@short_name" = "x"
    """
    done = complete(mine, written(tmp_path, text), tmp_path / "copy.h5")
    assert not any(one.done for one in done.filled)
    assert other.read_bytes() == before


def test_a_value_that_cannot_be_read_is_not_replaced(mine: Path, tmp_path: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file[f"{DETECTOR}/distance"]
        file.create_dataset(f"{DETECTOR}/distance", (1 << 30,), "f8", chunks=(1 << 20,))
    text = '"entry/instrument/detector/distance" = { value = 1, units = "m" }'
    done = complete(mine, written(tmp_path, text), tmp_path / "copy.h5")
    assert what(done)[f"{DETECTOR}/distance"] == (False, "is there, and cannot be read here")
