"""Exported lattices say the same as ours, each in the conventions of the program that reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from exporting import CELL, WAVELENGTHS, detector, experiment, images

from hitsieve.errors import MetadataError, OutputError
from hitsieve.model import Detector, UnitCell
from hitsieve.write.export import (
    DialsFiles,
    Images,
    StreamText,
    cell_file,
    event_list,
    geometry_file,
    source_list,
    writing_files,
)

FILE = Path("/data/run_hits.h5")
KINDS = {"int": "<i4", "double": "<f8", "std::size_t": "<u8", "vec3<double>": "<f8", "cctbx::miller::index<>": "<i4"}
WIDTHS = {"vec3<double>": 3, "cctbx::miller::index<>": 3}


def table(packed: bytes) -> tuple[dict[int, str], dict[str, np.ndarray]]:
    """Identifiers and columns of a reflection table, read strictly."""
    name, version, content = msgpack.unpackb(packed, strict_map_key=False)
    assert (name, version) == ("dials::af::reflection_table", 1)
    columns = {}
    for column, (kind, (n, values)) in content["data"].items():
        assert n == content["nrows"]
        width = WIDTHS.get(kind, 1)
        columns[column] = np.frombuffer(values, KINDS[kind]).reshape((n, width) if width > 1 else n)
    return content["identifiers"], columns


def dials_lab(panels: list[dict[str, Any]], panel: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """Laboratory positions (mm) as DIALS works them out."""
    axes = [np.array([panels[p][name] for p in panel]) for name in ("origin", "fast_axis", "slow_axis")]
    return axes[0] + mm[:, :1] * axes[1] + mm[:, 1:2] * axes[2]


@pytest.fixture(scope="module")
def made() -> Images:
    return images()


@pytest.fixture(scope="module")
def dials(made: Images) -> tuple[dict[str, Any], dict[int, str], dict[str, np.ndarray]]:
    files = DialsFiles(experiment(FILE))
    files.add(made)
    return json.loads(files.expt()), *table(files.refl())


def test_dials_has_one_experiment_a_lattice(
    made: Images, dials: tuple[dict[str, Any], dict[int, str], dict[str, np.ndarray]]
) -> None:
    expt, identifiers, refl = dials
    assert len(expt["experiment"]) == len(expt["crystal"]) == len(made.results.lattices) == 6
    assert identifiers == {i: made["identifier"] for i, made in enumerate(expt["experiment"])}
    assert len(set(identifiers.values())) == 6
    assert [crystal["space_group_hall_symbol"] for crystal in expt["crystal"]] == ["C 1"] * 6
    rows = [expt["imageset"][one["imageset"]]["single_file_indices"] for one in expt["experiment"]]
    assert rows == [[4], [3], [3], [1], [0], [0]]
    assert {tuple(imageset["images"]) for imageset in expt["imageset"]} == {(str(FILE),)}
    assert [beam["wavelength"] for beam in expt["beam"]] == [WAVELENGTHS[1], WAVELENGTHS[0]]
    assert np.bincount(refl["id"]).tolist() == made.results.lattices.n_indexed.tolist()
    assert set(refl["flags"].tolist()) == {32 | 4}


def test_dials_finds_q_from_its_own_models(
    dials: tuple[dict[str, Any], dict[int, str], dict[str, np.ndarray]],
) -> None:
    expt, _, refl = dials
    (place,) = expt["detector"]
    beams = [expt["beam"][one["beam"]] for one in expt["experiment"]]
    wavelength = np.array([beam["wavelength"] for beam in beams])[refl["id"]][:, None]
    to_source = np.array([beam["direction"] for beam in beams])[refl["id"]]
    positions = dials_lab(place["panels"], refl["panel"], refl["xyzobs.mm.value"])
    s1 = positions / np.linalg.norm(positions, axis=1, keepdims=True) / wavelength
    assert np.abs(s1 - refl["s1"]).max() < 1e-6
    q = s1 + to_source / wavelength
    assert np.abs(q - refl["rlp"]).max() < 1e-6
    direct = np.array([[crystal[f"real_space_{axis}"] for axis in "abc"] for crystal in expt["crystal"]])[refl["id"]]
    # a . q = h is what makes a lattice.
    assert np.abs(np.einsum("nij,nj->ni", direct, q) - refl["miller_index"]).max() < 0.03
    assert np.all(np.linalg.det(direct) > 0)
    # DIALS looks against the beam: its detector is at negative z.
    assert all(panel["origin"][2] < 0 for panel in place["panels"])
    pixel = np.array([panel["pixel_size"] for panel in place["panels"]])[refl["panel"]]
    assert np.allclose(refl["xyzobs.px.value"][:, :2] * pixel, refl["xyzobs.mm.value"][:, :2])
    size = np.array([panel["image_size"] for panel in place["panels"]])[refl["panel"]]
    assert np.all((refl["xyzobs.px.value"][:, :2] >= 0) & (refl["xyzobs.px.value"][:, :2] < size))


def test_dials_spots_of_all_hits_without_lattices(made: Images) -> None:
    files = DialsFiles(experiment(FILE), indexed=False)
    for part in (made, images(4, seed=2)):
        files.add(part)
    expt = json.loads(files.expt())
    _, refl = table(files.refl())
    assert len(expt["experiment"]) == 10
    assert expt["crystal"] == []
    assert all("crystal" not in one for one in expt["experiment"])
    assert "miller_index" not in refl
    assert set(refl["flags"].tolist()) == {32}
    n_spots = [*made.results.n_spots.tolist(), *images(4, seed=2).results.n_spots.tolist()]
    assert np.bincount(refl["id"]).tolist() == n_spots
    # DIALS counts images of a still by its place in the file, z is half-way through it.
    rows = np.array([imageset["single_file_indices"][0] for imageset in expt["imageset"]])
    assert np.array_equal(refl["xyzobs.px.value"][:, 2], rows[refl["id"]] + 0.5)


def test_counts_and_their_variance(made: Images, dials: tuple[Any, Any, dict[str, np.ndarray]]) -> None:
    spots, refl = made.results.spots, dials[2]
    indexed = spots.lattice >= 0
    assert refl["intensity.sum.value"].sum() == pytest.approx(float(spots.intensity[indexed].sum()), rel=1e-5)
    # Poisson: counts of the spot, and of the background under its seven pixels.
    assert np.allclose(refl["intensity.sum.variance"], refl["intensity.sum.value"] + 2 * 7)


@pytest.mark.parametrize("centring", ["P", "A", "B", "C", "I", "F", "R"])
def test_no_symmetry_but_the_centring(centring: str, made: Images) -> None:
    from dataclasses import replace

    files = DialsFiles(replace(experiment(FILE), cell=UnitCell(CELL.parameters, centring)))
    files.add(made)
    assert json.loads(files.expt())["crystal"][0]["space_group_hall_symbol"] == f"{centring} 1"


class Stream:
    """A stream, read strictly: any line that is not as expected is an error."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        assert self.lines.pop() == ""
        self.at = 0
        self.take("CrystFEL stream format 2.3")
        self.take("Generated by hitsieve 1.2")
        self.take("Command line: command")
        self.geometry = self.block("----- Begin geometry file -----", "----- End geometry file -----")
        self.cell = self.block("----- Begin unit cell -----", "----- End unit cell -----")
        self.chunks = []
        while self.at < len(self.lines):
            self.chunks.append(self.chunk())

    def take(self, expected: str) -> str:
        line = self.lines[self.at]
        assert re.fullmatch(expected, line), f"{line!r} is not {expected!r}"
        self.at += 1
        return line

    def value(self, name: str, pattern: str = r"\S+") -> str:
        return self.take(f"{name} [=:] {pattern}").split(" = " if "=" in self.lines[self.at - 1] else ": ", 1)[1]

    def block(self, begin: str, end: str) -> list[str]:
        self.take(begin)
        stop = self.lines.index(end, self.at)
        inside, self.at = self.lines[self.at : stop], stop + 1
        return inside

    def chunk(self) -> dict[str, Any]:
        self.take("----- Begin chunk -----")
        chunk: dict[str, Any] = {
            "file": self.take("Image filename: .+").split(": ", 1)[1],
            "event": self.take(r"Event: //\d+").split(": ")[1],
            "serial": int(self.take(r"Image serial number: \d+").split(": ")[1]),
            "hit": self.value("hit", "[01]"),
            "indexed_by": self.value("indexed_by", "(hitsieve|none)"),
            "energy": float(self.value("photon_energy_eV")),
        }
        n = int(self.value("num_peaks", r"\d+"))
        self.take(r"peak_resolution = [\d.]+ nm\^-1 or [\d.]+ A")
        self.take("Peaks from peak search")
        self.take(r"  fs/px   ss/px \(1/d\)/nm\^-1   Intensity  Panel")
        chunk["peaks"] = self.rows("End of peak list", 5)
        assert len(chunk["peaks"]) == n
        chunk["crystals"] = []
        while self.lines[self.at].startswith("---") and "Begin crystal" in self.lines[self.at]:
            chunk["crystals"].append(self.crystal())
        self.take("----- End chunk -----")
        return chunk

    def crystal(self) -> dict[str, Any]:
        self.take("--- Begin crystal")
        number = r"-?[\d.]+"
        cell = self.take(rf"Cell parameters {number} {number} {number} nm, {number} {number} {number} deg")
        vectors = [
            [float(v) for v in self.take(rf"{axis}star =( [+-][\d.]+){{3}} nm\^-1").split()[2:5]] for axis in "abc"
        ]
        crystal: dict[str, Any] = {"cell": [float(v) for v in re.findall(number, cell)], "A": np.array(vectors).T}
        crystal["lattice"] = self.value("lattice_type"), self.value("centering"), self.value("unique_axis")
        self.take(r"hitsieve/residual = [\d.]+ nm\^-1")
        self.take(r"hitsieve/chance = [\d.e+-]+")
        self.take(r"diffraction_resolution_limit = [\d.]+ nm\^-1 or [\d.]+ A")
        n = int(self.value("num_reflections", r"\d+"))
        self.take("num_saturated_reflections = 0")
        self.take("num_implausible_reflections = 0")
        self.take("Reflections measured after indexing")
        self.take(r"   h    k    l          I   sigma\(I\)       peak background   fs/px   ss/px panel")
        crystal["reflections"] = self.rows("End of reflections", 10)
        assert len(crystal["reflections"]) == n
        self.take("--- End crystal")
        return crystal

    def rows(self, end: str, width: int) -> list[list[str]]:
        stop = self.lines.index(end, self.at)
        rows = [line.split() for line in self.lines[self.at : stop]]
        assert all(len(row) == width for row in rows)
        self.at = stop + 1
        return rows


def q_of(geometry: list[str], rows: list[list[str]], energy: float) -> np.ndarray:
    """Reciprocal vectors (1/nm) of fs, ss, panel, from the lines of a geometry file alone."""
    values = dict(line.split(" = ", 1) for line in geometry if line)
    out = []
    for fs, ss, panel in rows:
        read = {
            name: values[f"{panel}/{name}"] for name in ("min_fs", "min_ss", "corner_x", "corner_y", "res", "coffset")
        }
        number = {name: float(value) for name, value in read.items()}
        step = {}
        for name in ("fs", "ss"):
            terms = re.findall(r"([+-][\d.]+)([xyz])", values[f"{panel}/{name}"])
            step[name] = np.array([sum(float(v) for v, axis in terms if axis == a) for a in "xyz"])
        place = np.array([number["corner_x"], number["corner_y"], 0.0])
        place = place + (float(fs) - number["min_fs"]) * step["fs"] + (float(ss) - number["min_ss"]) * step["ss"]
        place = place / number["res"]
        place[2] += float(values["clen"].split()[0]) + number["coffset"]
        out.append((place / np.linalg.norm(place) - [0, 0, 1]) * energy / 1239.841984)
    return np.array(out)


@pytest.fixture(scope="module")
def stream(made: Images) -> Stream:
    text = StreamText(experiment(FILE), "1.2", "command")
    return Stream(text.head(1.305) + text.images(made) + text.images(images(3, seed=4)))


def test_stream_names_its_images(made: Images, stream: Stream) -> None:
    assert [chunk["serial"] for chunk in stream.chunks] == list(range(1, 10))
    assert [chunk["event"] for chunk in stream.chunks[:6]] == [f"//{i}" for i in (5, 4, 3, 2, 1, 0)]
    assert {chunk["file"] for chunk in stream.chunks} == {str(FILE)}
    assert [chunk["indexed_by"] for chunk in stream.chunks[:3]] == ["none", "hitsieve", "hitsieve"]
    assert [len(chunk["crystals"]) for chunk in stream.chunks] == [0, 1, 2] * 3
    assert [len(chunk["peaks"]) for chunk in stream.chunks[:6]] == made.results.n_spots.tolist()
    energies = [chunk["energy"] for chunk in stream.chunks[:2]]
    assert np.allclose(energies, 12398.41984 / np.array(WAVELENGTHS))


def test_stream_and_geometry_agree_on_q(stream: Stream) -> None:
    n = 0
    for chunk in stream.chunks:
        peaks = chunk["peaks"]
        q = q_of(stream.geometry, [[row[0], row[1], row[4]] for row in peaks], chunk["energy"])
        assert np.abs(np.linalg.norm(q, axis=1) - [float(row[2]) for row in peaks]).max() < 0.01
        for crystal in chunk["crystals"]:
            rows = crystal["reflections"]
            hkl = np.array([[int(v) for v in row[:3]] for row in rows])
            found = q_of(stream.geometry, [row[7:10] for row in rows], chunk["energy"])
            # Reflections are up to 2e-3 nm^-1 off the sphere; a hundredth of a pixel is 1e-4 nm^-1.
            assert np.abs(found - hkl @ crystal["A"].T).max() < 3e-3
            n += len(rows)
    assert n > 100


def test_stream_cell(stream: Stream) -> None:
    crystal = stream.chunks[1]["crystals"][0]
    assert crystal["cell"] == pytest.approx([6.14, 7.9, 9.6, 90, 101, 90])
    assert crystal["lattice"] == ("monoclinic", "C", "b")
    lengths = np.linalg.norm(np.linalg.inv(crystal["A"]), axis=1)
    assert np.allclose(lengths, [6.14, 7.9, 9.6], rtol=1e-4)
    assert "\n".join(stream.cell) + "\n" == cell_file(CELL)
    assert "\n".join(stream.geometry) + "\n" == geometry_file(experiment(FILE), 1.305)


@pytest.mark.parametrize(
    ("cell", "centring", "expected"),
    [
        ((79, 79, 38, 90, 90, 90), "P", ("tetragonal", "P", "c")),
        ((38, 79, 79, 90, 90, 90), "I", ("tetragonal", "I", "a")),
        ((104.9, 104.9, 104.9, 90, 90, 90), "I", ("cubic", "I", None)),
        ((93, 93, 130, 90, 90, 120), "P", ("hexagonal", "P", "c")),
        ((93, 93, 130, 90, 90, 120), "R", ("hexagonal", "H", "c")),
        ((60, 60, 60, 80, 80, 80), "P", ("rhombohedral", "R", None)),
        ((61, 122, 168, 90, 90, 90), "C", ("orthorhombic", "C", None)),
        ((50, 70, 90, 90, 105, 90), "P", ("monoclinic", "P", "b")),
        ((50, 70, 90, 90, 90, 105), "P", ("monoclinic", "P", "c")),
        ((45, 60, 75, 80, 95, 105), "P", ("triclinic", "P", None)),
    ],
)
def test_lattice_type(cell: tuple[float, ...], centring: str, expected: tuple[str, str, str | None]) -> None:
    values = dict(line.split(" = ") for line in cell_file(UnitCell(cell, centring)).splitlines() if " = " in line)
    assert (values["lattice_type"], values["centering"], values.get("unique_axis")) == expected
    assert [float(values[name].split()[0]) for name in ("a", "b", "c", "al", "be", "ga")] == list(cell)


def test_own_reader_takes_the_geometry(tmp_path: Path) -> None:
    from hitsieve.model import Beam
    from hitsieve.source.crystfel import apply_geometry
    from hitsieve.source.detector import Metadata

    path = tmp_path / "made.geom"
    path.write_text(geometry_file(experiment(FILE), 1.3))
    read = apply_geometry(path, Metadata(Detector(shape=(800, 240)), Beam(), ()))
    assert read.beam.wavelength == pytest.approx(1.3, rel=1e-6)
    for ours, theirs in zip(detector().panels, read.detector.panels, strict=True):
        assert (ours.name, ours.first, ours.shape) == (theirs.name, theirs.first, theirs.shape)
        for name in ("origin", "fast", "slow"):
            assert np.allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-9)


def test_unknown_geometry_or_wavelength() -> None:
    from dataclasses import replace

    blind = replace(experiment(FILE), detector=Detector(shape=(800, 240)))
    for make in (DialsFiles, lambda lacking: StreamText(lacking, "1", "c")):
        with pytest.raises(MetadataError, match="geometry"):
            make(blind)
    some = images(3)
    dark = replace(some, wavelength=np.array([1.3, np.nan, 1.3]))
    for add in (DialsFiles(experiment(FILE)).add, StreamText(experiment(FILE), "1", "c").images):
        with pytest.raises(MetadataError, match="wavelength of image 10"):
            add(dark)


def test_lists() -> None:
    assert event_list(FILE, np.array([0, 3])) == f"{FILE} //0\n{FILE} //3\n"
    told = source_list(np.array([7, 9]), ["/a b.h5", "/c.h5"], np.array([7, 0]))
    assert told == "image\tsource_file\tsource_row\n7\t/a b.h5\t7\n9\t/c.h5\t0\n"


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    finals = [tmp_path / "new" / name for name in ("a.expt", "a.refl")]
    with pytest.raises(ZeroDivisionError):
        with writing_files(finals, overwrite=False, inputs=()) as write:
            write(finals[0], b"half")
            assert 1 / 0
    assert not (tmp_path / "new").exists()
    with writing_files(finals, overwrite=False, inputs=()) as write:
        for part in (b"one", b" two"):
            write(finals[0], part)
        assert not finals[0].exists()
    assert finals[0].read_bytes() == b"one two"
    assert finals[1].read_bytes() == b""
    with pytest.raises(OutputError, match="exists"):
        with writing_files(finals, overwrite=False, inputs=()):
            pytest.fail("must not be reached")
    with pytest.raises(OutputError, match="file of the input"):
        with writing_files(finals, overwrite=True, inputs=finals[1:]):
            pytest.fail("must not be reached")
