"""Hit information: what hitsieve writes passes, and every contradiction is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py
import numpy as np
import pytest

import hitsieve.write
from hitsieve.check import rule_book

from .conftest import Outputs
from .damage import DETECTOR, found, replaced

HITS = "/entry/hit_finding"
STYLES = ("vds", "vds-strided", "external", "single")
NXDL = Path(hitsieve.write.__file__).with_name("NXhit_finding.nxdl.xml")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["hits", "misses", "annotated"])
def test_what_hitsieve_writes_passes(style: str, kind: str, outputs: dict[str, Outputs]) -> None:
    # Where the source has several data sets of images, its detector shows none of them.
    lacks = {("warning", f"{DETECTOR[1:]}/data", f"{DETECTOR}/data")} if style == "external" else set()
    assert found(getattr(outputs[style], kind)) == lacks


def test_the_rules_are_those_of_the_definition() -> None:
    """Every field of the NXDL is a place that is checked."""
    space = "{http://definition.nexusformat.org/nxdl/3.1}"
    names: set[str] = set()

    def walk(parent: ET.Element, place: str) -> None:
        for child in parent:
            name = child.get("name")
            if child.tag.removeprefix(space) in ("field", "group", "attribute") and name is not None:
                where = f"{place}@{name}" if child.tag.endswith("attribute") else f"{place}/{name}"
                names.add(where)
                walk(child, where)

    walk(ET.parse(NXDL).getroot(), "entry/hit_finding")
    known = {place.place for place in rule_book().of(("hits",))}
    assert names
    assert names <= known
    assert {place for place in known if place.startswith("entry/hit_finding/")} == names


@pytest.fixture
def hits(outputs: dict[str, Outputs], tmp_path: Path) -> Path:
    return Path(shutil.copy(outputs["single"].hits, tmp_path / "hits.h5"))


@pytest.fixture
def misses(outputs: dict[str, Outputs], tmp_path: Path) -> Path:
    return Path(shutil.copy(outputs["single"].misses, tmp_path / "misses.h5"))


@pytest.fixture
def annotated(outputs: dict[str, Outputs], tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    shutil.copytree(outputs["single"].hits.parent, folder)
    return folder / "run_annotated.h5"


REQUIRED = [
    place.place
    for place in rule_book().of(("hits",))
    if place.severity(("hits",)) is not None and place.place.startswith("entry/hit_finding")
]


@pytest.mark.parametrize("place", REQUIRED)
def test_what_is_taken_away_is_missed(place: str, hits: Path) -> None:
    owner, _, name = place.rpartition("@" if "@" in place else "/")
    with h5py.File(hits, "r+") as file:
        if "@" in place:
            del file[owner].attrs[name]
        else:
            del file[place]
    assert (place, f"/{place}") in {(rule, where) for _, rule, where in found(hits)}


Change = Callable[[h5py.Group], None]


def set_to(name: str, value: object) -> Change:
    def change(group: h5py.Group) -> None:
        replaced(group.file, f"{group.name}/{name}", value)

    return change


def add_to(name: str, row: int, value: float) -> Change:
    def change(group: h5py.Group) -> None:
        group[name][row] = group[name][row] + value

    return change


def cut(name: str) -> Change:
    def change(group: h5py.Group) -> None:
        replaced(group.file, f"{group.name}/{name}", group[name][:-1])

    return change


DAMAGE: dict[str, tuple[Change, str, str]] = {
    "totals": (set_to("n_images", 7), "hits-totals", "n_images"),
    "rate": (set_to("hit_rate", 0.9), "hits-rate", "hit_rate"),
    "interval": (set_to("hit_rate_interval", [0.9, 0.1]), "hits-rate", "hit_rate_interval"),
    "rows": (cut("n_spots"), "hits-rows", "n_spots"),
    "rows of lattices": (cut("lattices/residual"), "hits-rows", "lattices/residual"),
    "falling offsets": (add_to("lattices/offsets", 1, 100), "hits-offsets", "lattices/offsets"),
    "end of offsets": (add_to("lattices/offsets", -1, 1), "hits-offsets", "lattices/offsets"),
    "begin of offsets": (add_to("lattices/offsets", 0, 1), "hits-offsets", "lattices/offsets"),
    "number of offsets": (cut("lattices/offsets"), "hits-offsets", "lattices/offsets"),
    "file of the list": (add_to("source_file", 0, 10), "hits-source", "source_file"),
    "image of the run": (add_to("source_image", -1, 100), "hits-source", "source_image"),
    "order of images": (add_to("source_image", 0, 4), "hits-source", "source_image"),
    "state": (set_to("state", np.zeros(3, np.uint8)), "hits-states", "state"),
    "unknown state": (set_to("state", np.full(3, 9, np.uint8)), "hits-states", "state"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_contradiction_is_told(case: str, hits: Path) -> None:
    change, rule, name = DAMAGE[case]
    with h5py.File(hits, "r+") as file:
        n = len(file["entry/data/data"])
        if case in ("state", "unknown state"):
            change = set_to("state", np.full(n, 0 if case == "state" else 9, np.uint8))
        change(file[HITS])
    assert ("error", rule, f"{HITS}/{name}") in found(hits, "hits")


def test_states_of_an_annotated_master_are_the_totals(annotated: Path) -> None:
    with h5py.File(annotated, "r+") as file:
        state = file[f"{HITS}/state"]
        state[0] = 3
    places = {place for _, rule, place in found(annotated, "hits") if rule == "hits-totals"}
    assert f"{HITS}/n_missing" in places


def test_images_of_only_some_rows_need_their_numbers(misses: Path) -> None:
    with h5py.File(misses, "r+") as file:
        del file[f"{HITS}/source_image"]
    assert found(misses, "hits") == {("error", "hits-source", f"{HITS}/source_image")}


def test_peaks_fit_in_their_lists(hits: Path) -> None:
    with h5py.File(hits, "r+") as file:
        file["entry/MX/nPeaks"][0] = 100_000
    assert found(hits, "hits") == {("error", "hits-peaks", "/entry/MX/nPeaks")}


def test_the_group_is_known_by_its_class_and_by_its_definition(hits: Path) -> None:
    for nx_class in ("NXhit_finding", "NXprocess"):
        with h5py.File(hits, "r+") as file:
            group = file[HITS] if "hit_finding" in file["entry"] else file["entry/found"]
            group.attrs["NX_class"] = nx_class
            if group.name == HITS:
                file.move(HITS, "entry/found")
            replaced(file, "entry/found/n_images", 99)
        assert ("error", "hits-totals", "/entry/found/n_images") in found(hits, "hits")
