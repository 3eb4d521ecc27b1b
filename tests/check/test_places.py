"""Every place that the rules ask for is missed where it is taken away, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import h5py
import nexusformat
import numpy as np
import pytest

from hitsieve.check import Place, Severity, examine, rule_book

from .damage import DETECTOR, Found, found, replaced

ASKED = [place for place in rule_book().of(("nxmx", "gold")) if place.severity(("nxmx", "gold")) is not None]
ALSO: dict[str, Found] = {
    # The images are also shown by the detector; of images that are gone nothing can be compared.
    "entry/data": {("warning", "entry/instrument/detector/data", "/entry/instrument/detector/data")},
    "entry/data/data": {("warning", "entry/instrument/detector/data", "/entry/instrument/detector/data")},
    # Axes hang on each other.
    "entry/instrument/detector/module/module_offset": {
        ("error", "chain", "/entry/instrument/detector/module/fast_pixel_direction@depends_on")
    },
}


def test_the_good_file_has_no_findings(single: Path) -> None:
    assert found(single) == set()


@pytest.mark.parametrize("rule", ASKED, ids=lambda rule: rule.place)
def test_what_is_taken_away_is_missed(rule: Place, mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        owner = file[f"/{rule.owner}"]
        if "@" in rule.place:
            del owner.attrs[rule.name]
        else:
            del owner[rule.name]
    severity = rule.severity(("nxmx", "gold"))
    assert severity is not None
    expected = {(severity.name.lower(), rule.place, f"/{rule.place}")}
    assert found(mine) == expected | ALSO.get(rule.place, set())


def test_who_asks_is_told(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file["entry/instrument/beam/total_flux"]
        del file["entry/instrument/name"].attrs["short_name"]
        del file["entry/sample/name"]
    by = {finding.rule: finding.rules for finding in examine(mine).findings}
    assert by == {
        "entry/instrument/beam/total_flux": ("gold",),
        "entry/instrument/name@short_name": ("gold",),
        "entry/sample/name": ("nxmx", "gold"),
    }
    assert found(mine, "hits") == {("error", "hits-there", "/entry/hit_finding")}
    assert found(mine, "gold") == {
        ("warning", "entry/instrument/beam/total_flux", "/entry/instrument/beam/total_flux"),
        ("warning", "entry/instrument/name@short_name", "/entry/instrument/name@short_name"),
        ("error", "entry/sample/name", "/entry/sample/name"),
    }


@pytest.mark.parametrize("name", ["flux", "flux_integrated", "total_flux_integrated"])
def test_another_measure_of_the_flux_will_do(name: str, mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        beam = file["entry/instrument/beam"]
        beam.move("total_flux", name)
        beam[name].attrs["units"] = {"flux": "1/s/cm^2", "flux_integrated": "1/cm^2"}.get(name, "")
    assert found(mine) == set()


WRONG: dict[str, tuple[str, Any, str, str]] = {
    "number for text": (f"{DETECTOR}/sensor_material", 14, "error", "holds whole numbers, not text"),
    "text for number": (f"{DETECTOR}/sensor_thickness", "thin", "error", "holds text, not numbers"),
    "float for int": (f"{DETECTOR}/module/data_size", [524.0, 514.0], "error", "holds numbers, not whole numbers"),
    "number for truth": (f"{DETECTOR}/distance_derived", 0.2, "warning", "holds numbers, not true or false"),
    "two for truth": (f"{DETECTOR}/distance_derived", 2, "warning", "is neither true (1) nor false (0)"),
    "empty text": ("/entry/sample/name", "", "error", "is empty"),
    "zero is not set": (f"{DETECTOR}/sensor_thickness", 0.0, "error", "is not set"),
    "NaN is not set": ("/entry/instrument/beam/incident_wavelength", np.nan, "error", "is not set"),
    "too many": (f"{DETECTOR}/module/data_origin", [0, 0, 0, 0], "error", "has 4 values, not 2 or 3"),
    "another word": ("/entry/instrument/beam/profile", "square", "warning", "is 'square', not Gaussian"),
    "nothing inside": ("/entry/sample/name", h5py.Empty("S4"), "error", "holds nothing"),
    "no values": (f"{DETECTOR}/distance", np.zeros(0), "warning", "holds no values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content_is_told(case: str, mine: Path) -> None:
    place, value, severity, what = WRONG[case]
    with h5py.File(mine, "r+") as file:
        replaced(file, place, value)
    (finding,) = examine(mine).findings
    assert (finding.severity.name.lower(), finding.place) == (severity, place)
    assert finding.what.startswith(what)
    assert finding.mend


def test_groups_and_fields_in_each_others_place(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file["entry/source"], file["entry/sample/name"]
        file["entry/source"] = "SwissFEL"
        file.create_group("entry/sample/name")
    assert found(mine) == {
        ("error", "entry/source", "/entry/source"),
        ("error", "entry/sample/name", "/entry/sample/name"),
    }


def test_groups_are_found_by_class(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file.move("entry/source", "entry/SwissFEL")
        file.move("entry/instrument/beam", "entry/instrument/beam_at_sample")
        file.move("entry/sample", "entry/lysozyme")
    assert found(mine) == set()


def test_a_group_without_class_is_told_and_used(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        del file["entry/sample"].attrs["NX_class"]
    assert found(mine) == {("warning", "class", "/entry/sample")}


def test_a_group_of_another_class_is_not_used(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file["entry/source"].attrs["NX_class"] = "NXcollection"
    assert found(mine) == {("error", "entry/source", "/entry/source")}


def test_a_source_in_the_instrument_is_a_warning(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file.move("entry/source", "entry/instrument/source")
    assert found(mine) == {("warning", "entry/source", "/entry/source")}


UNITS = {
    f"{DETECTOR}/sensor_thickness": "error",
    "/entry/instrument/beam/incident_wavelength": "error",
    f"{DETECTOR}/distance": "warning",
    f"{DETECTOR}/frame_time": "warning",
    f"{DETECTOR}/beam_center_x": "warning",
}


@pytest.mark.parametrize("place", UNITS)
@pytest.mark.parametrize("unit", [None, "furlong", "K"])
def test_units_are_asked_for(place: str, unit: str | None, mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        if unit is None:
            del file[place].attrs["units"]
        else:
            file[place].attrs["units"] = unit
    assert found(mine) == {(UNITS[place], "units", f"{place}@units")}


def test_units_that_mean_the_same_will_do(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file[f"{DETECTOR}/beam_center_x"].attrs["units"] = "mm"
        file[f"{DETECTOR}/count_time"].attrs["units"] = np.bytes_("seconds")
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "Å"
    assert found(mine) == set()


TIMES: dict[str, Found] = {
    "2026-01-31T12:00:00Z": set(),
    "2026-01-31T12:00:00.123456789+01:00": set(),
    "2026-01-31T12:00+0100": set(),
    "2026-01-31T12:00:00": {("note", "time", "/entry/start_time")},
    "31.1.2026": {("error", "time", "/entry/start_time")},
    "2026-13-31T12:00:00Z": {("error", "time", "/entry/start_time")},
}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_iso_8601(text: str, mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        for name in ("end_time", "end_time_estimated"):
            replaced(file, f"entry/{name}", "2027-01-01T00:00:00Z")
        replaced(file, "entry/start_time", text)
    assert found(mine) == TIMES[text]


def test_the_end_is_not_before_the_start(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        replaced(file, "entry/end_time_estimated", "1999-01-01T00:00:00Z")
    assert found(mine) == {("note", "time", "/entry/end_time_estimated")}


@pytest.mark.parametrize(("zone", "right"), [("Z", True), ("-08:00", True), ("UTC", False), ("Europe/Zurich", False)])
def test_a_time_zone_is_an_offset(zone: str, right: bool, mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        replaced(file, "entry/instrument/time_zone", zone)
    assert found(mine) == (set() if right else {("warning", "time", "/entry/instrument/time_zone")})


def test_findings_that_differ_only_in_the_place_are_one(masters: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "modules.h5"
    path.write_bytes(masters["single"].master.read_bytes())
    with h5py.File(path, "r+") as file:
        modules = [name for name in file[DETECTOR] if name.startswith("module_")]
        for name in modules:
            del file[f"{DETECTOR}/{name}/fast_pixel_direction"].attrs["offset"]
    (finding,) = examine(path).findings
    assert finding.severity is Severity.ERROR
    assert finding.places == tuple(f"{DETECTOR}/{name}/fast_pixel_direction@offset" for name in modules)
    assert len(modules) > 1


def test_every_rule_of_the_gold_standard_is_a_known_place() -> None:
    gold = list(rule_book().of(("gold",)))
    assert len(gold) == 53
    assert sum(place.absent["gold"] is Severity.ERROR for place in gold) == 36
    assert all(place.example is not None or not place.type or place.name in ("data", "pixel_mask") for place in gold)


def test_the_rules_are_those_of_nxmx() -> None:
    """Every field and attribute of NXmx, with its need; what NXmx does not have is told apart by being optional."""
    usual = {nx_class: name for name, nx_class in rule_book().classes.items()}
    defined: dict[str, str] = {}

    def walk(parent: ET.Element, above: str) -> None:
        for child in parent:
            tag = child.tag.rpartition("}")[2]
            name = child.get("name") or usual.get(child.get("type", ""))
            if tag not in ("group", "field", "attribute") or name is None or child.get("deprecated"):
                continue
            place = f"{above}@{name}" if tag == "attribute" else f"{above}/{name}".lstrip("/")
            optional = child.get("optional") == "true" or child.get("minOccurs") == "0"
            need = "recommended" if child.get("recommended") == "true" else "optional" if optional else "required"
            defined[place] = need
            walk(child, place)

    definitions = Path(nexusformat.__file__).parent / "definitions" / "applications" / "NXmx.nxdl.xml"
    walk(ET.parse(definitions).getroot(), "")
    ours = {place.place: place.need["nxmx"] for place in rule_book().of(("nxmx",))}
    assert {place: need for place, need in defined.items() if need != "optional" and place != "entry"} == {
        place: need for place, need in ours.items() if need != "optional"
    }
    # What is checked beyond NXmx is of the base classes.
    beyond = {place for place in ours if place not in defined}
    assert beyond == {
        "entry/instrument/detector/x_pixel_size",
        "entry/instrument/detector/y_pixel_size",
        "entry/instrument/detector/serial_number",
        "entry/source/type",
        "entry/source/probe",
    }
