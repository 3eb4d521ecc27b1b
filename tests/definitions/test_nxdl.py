"""The definitions are NXDL, and describe the files that hitsieve writes: no more, no less."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py
import lxml.etree
import nexusformat
import pytest

from definitions.agreement import NXDL, Seen, children, compare, declared, definition, lacking
from definitions.conftest import HOME

BASE = HOME / "NXhit_finding.nxdl.xml"
ADDITION = HOME / "NXmx_addition.nxdl.xml"
NEXUS = Path(nexusformat.__file__).parent / "definitions"
"""The definitions of NeXus, with their schema, as nexusformat ships them."""
KINDS = ("hits", "misses", "annotated", "dark", "vetoed", "few")


def addition() -> ET.Element:
    """The group hit_finding in NXmx."""
    (group,) = definition(ADDITION).findall(f"{NXDL}group/{NXDL}group")
    return group


@pytest.fixture(scope="module")
def schema() -> lxml.etree.XMLSchema:
    return lxml.etree.XMLSchema(lxml.etree.parse(NEXUS / "nxdl.xsd"))


@pytest.mark.parametrize("path", [BASE, ADDITION])
def test_definition_is_nxdl(schema: lxml.etree.XMLSchema, path: Path) -> None:
    schema.assertValid(lxml.etree.parse(path))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('type="NX', 'kind="NX'),
        ("<field name=", "<column name="),
        ('<dim index="1"', '<dim number="1"'),
        ("<enumeration>", "<choices>"),
        ('rank="1"', 'size="1"'),
        ('category="', 'kind="'),
    ],
)
@pytest.mark.parametrize("path", [BASE, ADDITION])
def test_broken_definition_is_told(schema: lxml.etree.XMLSchema, path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    broken = lxml.etree.fromstring(text.replace(before, after, 1).encode(), lxml.etree.XMLParser(recover=True))
    assert not schema.validate(broken)


def test_nxmx_with_the_addition_is_nxdl(schema: lxml.etree.XMLSchema) -> None:
    nxmx = lxml.etree.parse(NEXUS / "applications" / "NXmx.nxdl.xml")
    entry = nxmx.find(f"{NXDL}group[@type='NXentry']")
    added = lxml.etree.parse(ADDITION).find(f"{NXDL}group[@type='NXentry']/{NXDL}group")
    assert entry is not None and added is not None
    assert all(group.get("name") != "hit_finding" for group in entry.findall(f"{NXDL}group"))
    entry.append(copy.deepcopy(added))
    schema.assertValid(nxmx)


def test_every_class_is_of_nexus_or_here() -> None:
    known = {path.name.partition(".")[0] for path in NEXUS.glob("*/NX*.nxdl.xml")}
    assert "NXhit_finding" not in known, "NeXus has the class: write it as NX_class"
    for path in (BASE, ADDITION):
        top = definition(path)
        used = {item.attrib["type"] for item in top.iter(f"{NXDL}group")} | {top.attrib["extends"]}
        assert used <= known | {"NXhit_finding", "NXobject"}


def test_types_and_units_are_those_of_nexus() -> None:
    """The schema itself takes any word for them."""
    types = ET.parse(NEXUS / "nxdlTypes.xsd").getroot()
    known = {item.attrib["name"] for item in types.iter("{http://www.w3.org/2001/XMLSchema}simpleType")}
    for path in (BASE, ADDITION):
        for item in definition(path).iter(f"{NXDL}field"):
            assert item.attrib["type"] in known and item.get("units", "NX_ANY") in known, item.attrib["name"]


def test_every_symbol_is_declared() -> None:
    for path in (BASE, ADDITION):
        top = definition(path)
        symbols = {item.attrib["name"] for item in top.iter(f"{NXDL}symbol")}
        used = {dim.attrib["value"].partition("+")[0] for dim in top.iter(f"{NXDL}dim")}
        assert {symbol for symbol in used if not symbol.isdigit()} == symbols


@pytest.fixture(scope="module")
def proposed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The definitions of NeXus, with the proposal in its place."""
    folder = tmp_path_factory.mktemp("nexus") / "definitions"
    shutil.copytree(NEXUS, folder)
    shutil.copy(BASE, folder / "base_classes")
    nxmx = lxml.etree.parse(folder / "applications" / "NXmx.nxdl.xml")
    nxmx.find(f"{NXDL}group").append(lxml.etree.parse(ADDITION).find(f"{NXDL}group/{NXDL}group"))
    nxmx.write(folder / "applications" / "NXmx.nxdl.xml")
    return folder


def validator(path: Path, definitions: Path = NEXUS) -> str:
    """Errors that nxvalidate finds."""
    command = [Path(sys.executable).with_name("nxvalidate"), "--error", "--definitions", definitions, path]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", found.stdout + found.stderr)
    assert "Total number of errors:" in said, said
    return "" if "errors: 0" in said else said


def test_nexus_validator_accepts_files_today(files: dict[str, Path]) -> None:
    assert [validator(files[kind]) for kind in ("hits", "annotated")] == ["", ""]


@pytest.mark.parametrize("kind", ["hits", "misses", "annotated"])
def test_nexus_validator_accepts_files_with_the_proposal(
    files: dict[str, Path], proposed: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / files[kind].name
    shutil.copy(files[kind], path)
    with h5py.File(path, "r+") as file:
        file["entry/hit_finding"].attrs["NX_class"] = "NXhit_finding"
    assert validator(path, proposed) == ""
    with h5py.File(path, "r+") as file:
        del file["entry/hit_finding/n_hits"]
    assert "hit_finding" in validator(path, proposed)


def test_addition_repeats_the_base_class() -> None:
    """A field that both have has one type, unit, shape and list of values."""
    base = definition(BASE)
    group = addition()
    for kind in ("field", "group"):
        for name, item in children(group, kind).items():
            other = children(base, kind)[name]
            assert (item.get("type"), item.get("units")) == (other.get("type"), other.get("units")), name
            for part in ("dim", "item"):
                mine, theirs = (
                    [(x.get("index"), x.get("value")) for x in one.iter(NXDL + part)] for one in (item, other)
                )
                assert mine in (theirs, []), name


def look(path: Path) -> Seen:
    with h5py.File(path) as file:
        process = file["entry/hit_finding"]
        seen = compare(process, definition(BASE), len(process["state"]))
        group = addition()
        seen.problems += [f"{name}: required" for name in lacking(process, group)]
        if "data" in file["entry/data"]:
            assert len(file["entry/data/data"]) == len(process["state"])
        return seen


@pytest.mark.parametrize("kind", KINDS)
def test_file_of_a_run_agrees(files: dict[str, Path], kind: str) -> None:
    assert look(files[kind]).problems == []


def test_definition_has_nothing_that_no_file_has(files: dict[str, Path]) -> None:
    written = set().union(*(look(files[kind]).names for kind in KINDS))
    assert set(declared(definition(BASE))) - written == set()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda group: group.create_dataset("n_stars", data=3), "n_stars: no such field"),
        (lambda group: group.create_group("stars"), "stars: no such group"),
        (lambda group: group.pop("state"), "state: required"),
        (lambda group: _replace(group, "n_spots", group["n_spots"][:-1]), "n_spots: has .* along axis 0, where nP is"),
        (lambda group: _replace(group, "lattices/offsets", [0]), "lattices/offsets: .* where nP.1 is"),
        (lambda group: _replace(group, "n_images", 3.0), "n_images: is float64, not NX_INT"),
        (lambda group: _replace(group, "program", 3), "program: is int64, not NX_CHAR"),
        (lambda group: _replace(group, "holds", "some"), "holds: is some, which is none of all, hits, misses"),
        (lambda group: group["state"].write_direct(group["state"][()] * 0 + 7), "state: has other values"),
        (lambda group: _replace(group, "state", group["state"][()].astype("u1") + 3), "state: has other values"),
        (lambda group: _replace(group, "spots/flags", group["spots/flags"][()] + 16), "flags: has other values"),
        (lambda group: group["resolution"].attrs.pop("units"), "resolution: has units None"),
        (lambda group: group["state"].attrs.create("units", "m"), "state: has units m, and should have none"),
        (lambda group: group["hit_rate_interval"].attrs.pop("confidence_level"), "@confidence_level: absent"),
        (lambda group: group["audit"].attrs.create("NX_class", "NXcollection"), "audit: is of class NXcollection"),
        (lambda group: group["audit"].attrs.create("signal", "date"), "audit: NXdata without a signal"),
        (lambda group: group["rule"].attrs.create("colour", "red"), "rule: @colour: no such attribute"),
    ],
)
def test_disagreement_is_seen(
    files: dict[str, Path], tmp_path: Path, damage: Callable[[h5py.Group], object], said: str
) -> None:
    path = tmp_path / "damaged.h5"
    kind = "hits" if "audit" in said else "annotated" if "flags" in said else "dark"
    path.write_bytes(files[kind].read_bytes())
    with h5py.File(path, "r+") as file:
        damage(file["entry/hit_finding"])
    if said == "state: required":
        with h5py.File(path) as file:
            group = addition()
            assert lacking(file["entry/hit_finding"], group) == ["state"]
        return
    with pytest.raises(AssertionError, match=said):
        assert look(path).problems == [], look(path).problems


def _replace(group: h5py.Group, name: str, value: object) -> None:
    attributes = dict(group[name].attrs)
    del group[name]
    group[name] = value
    group[name].attrs.update(attributes)


def test_definition_travels_with_the_package() -> None:
    """Programs read it there at run time."""
    for path in (BASE, ADDITION):
        assert (resources.files("hitsieve.write") / path.name).read_bytes() == path.read_bytes()
