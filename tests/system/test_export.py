"""`hitsieve export`: DIALS loads, refines and shows what it wrote; readers of CrystFEL files find what was indexed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from dialsprograms import dials, needs_dials
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .conftest import Hitsieve

LOOK = """
import json, sys
import numpy as np
from dials.algorithms.refinement.prediction.managed_predictors import ExperimentsPredictorFactory
from dials.array_family import flex
from dxtbx.model.experiment_list import ExperimentListFactory

def look(models, reflections):
    experiments = ExperimentListFactory.from_json_file(models, check_format=True)
    spots = flex.reflection_table.from_file(reflections)
    told = {"consistent": spots.are_experiment_identifiers_consistent(experiments), "id": list(spots["id"])}
    told["images"] = [e.imageset.get_raw_data(0)[0].as_numpy_array().ravel().tolist() for e in experiments[:4]]
    if experiments[0].crystal is not None:
        predict = ExperimentsPredictorFactory.from_experiments(experiments, force_stills=True, spherical_relp=False)
        predict(spots)
        pixel = experiments[0].detector[0].get_pixel_size()[0]
        off = np.array(spots["xyzcal.mm"])[:, :2] - np.array(spots["xyzobs.mm.value"])[:, :2]
        told["off"] = (np.hypot(*off.T) / pixel).tolist()
        told["A"] = [list(e.crystal.get_A()) for e in experiments]
        told["cells"] = [list(e.crystal.get_unit_cell().parameters()) for e in experiments]
    return told

print(json.dumps([look(*pair) for pair in zip(sys.argv[1::2], sys.argv[2::2])]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, hitsieve: Hitsieve) -> tuple[Simulated, Path]:
    """A small run with crystals of good size, sieved and indexed; its simulation and its folder."""
    folder = tmp_path_factory.mktemp("export")
    settings = {"detector": "test-256k", "images": 24, "images_per_file": 9, "hit_fraction": 0.5, "spots": (60, 200)}
    made = simulate(folder, SimulateSettings.model_validate(settings | {"seed": 4, "second_lattice": 0.3}))
    done = hitsieve("run", made.master, "-o", folder / "out", "--quiet")
    assert done.returncode == 0, done.stderr
    return made, folder / "out"


@pytest.fixture(scope="module")
def lattices(run: tuple[Simulated, Path]) -> dict[int, np.ndarray]:
    """A matrices by image of the run."""
    with h5py.File(run[1] / "simulated_annotated.h5") as file:
        group = file["entry/hit_finding/lattices"]
        offsets, A = group["offsets"][()], group["reciprocal_basis"][()]
    return {i: A[offsets[i] : offsets[i + 1]] for i in range(len(offsets) - 1) if offsets[i + 1] > offsets[i]}


def hits(run: tuple[Simulated, Path]) -> list[int]:
    with h5py.File(run[1] / "simulated_hits.h5") as file:
        return [int(image) for image in file["entry/hit_finding/source_image"][()]]


EXPORTS = {"hits": (), "annotated": ("--annotated",), "spots": ("--only", "hits")}


@dataclass(frozen=True)
class Seen:
    """What was exported, and what DIALS sees of it."""

    folder: Path
    said: str
    told: dict[str, Any]


@pytest.fixture(scope="module")
def seen(run: tuple[Simulated, Path], hitsieve: Hitsieve, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Exports, and `refined`: what DIALS makes of the first; it is asked once for all, as it is slow to start."""
    folder, said = tmp_path_factory.mktemp("dials"), {}
    for name, flags in EXPORTS.items():
        done = hitsieve("export", run[1], "--format", "dials", "-o", folder / name, *flags)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout
    few = "auto_reduction.action=remove"
    dials(folder / "hits", "dials.refine", "simulated.expt", "simulated.refl", "output.log=None", few)
    stems = {name: folder / name / "simulated" for name in EXPORTS} | {"refined": folder / "hits" / "refined"}
    files = [f"{stem}{end}" for stem in stems.values() for end in (".expt", ".refl")]
    told = json.loads(dials(folder, "-c", LOOK, *files))
    return {name: Seen(stems[name].parent, said.get(name, ""), one) for name, one in zip(stems, told, strict=True)}


@pytest.mark.dials
@needs_dials
@pytest.mark.parametrize("file", ["hits", "annotated"])
def test_dials_takes_the_lattices(
    run: tuple[Simulated, Path], lattices: dict[int, np.ndarray], seen: dict[str, Seen], file: str
) -> None:
    total = sum(len(found) for found in lattices.values())
    assert total > len(lattices) > 8
    assert seen[file].said.splitlines()[0] == f"{len(lattices)} images, {total} lattices"
    told = seen[file].told
    assert told["consistent"]
    # What DIALS predicts from its own reading of the models lies where the spots are.
    assert np.median(told["off"]) < 0.5
    assert np.percentile(told["off"], 95) < 1.5
    to_dials = np.diag([-1.0, 1.0, -1.0])
    ours = np.concatenate([lattices[image] for image in sorted(lattices)])
    assert np.allclose(np.reshape(told["A"], (-1, 3, 3)), to_dials @ ours, atol=1e-9)
    assert np.allclose(told["cells"], [79, 79, 38, 90, 90, 90], rtol=0.02)
    expt = json.loads((seen[file].folder / "simulated.expt").read_text())
    with h5py.File(run[1] / f"simulated_{file}.h5") as stored:
        for one, image in zip(expt["experiment"], told["images"], strict=False):
            row = expt["imageset"][one["imageset"]]["single_file_indices"][0]
            assert np.array_equal(image, stored["entry/data/data"][row].ravel())


@pytest.mark.dials
@needs_dials
def test_dials_shows_the_lattices(seen: dict[str, Seen]) -> None:
    shown = dials(seen["hits"].folder, "dials.show", "simulated.expt", "simulated.refl")
    assert f"Reflection list contains {len(seen['hits'].told['id'])} reflections" in shown


@pytest.mark.dials
@needs_dials
def test_dials_refines_the_lattices(seen: dict[str, Seen]) -> None:
    told = seen["refined"].told
    assert np.median(told["off"]) < 0.3
    assert np.allclose(told["cells"], [79, 79, 38, 90, 90, 90], rtol=0.02)


@pytest.mark.long
@pytest.mark.dials
@needs_dials
def test_dials_reports_on_the_lattices(seen: dict[str, Seen]) -> None:
    dials(seen["hits"].folder, "dials.report", "simulated.expt", "simulated.refl")
    assert (seen["hits"].folder / "dials.report.html").exists()


@pytest.mark.dials
@needs_dials
def test_dials_takes_the_spots_of_all_hits(run: tuple[Simulated, Path], seen: dict[str, Seen]) -> None:
    told = seen["spots"].told
    assert told["consistent"]
    with h5py.File(run[1] / "simulated_hits.h5") as file:
        assert np.bincount(told["id"]).tolist() == file["entry/hit_finding/n_spots"][()].tolist()


def test_independent_readers_of_stream_and_geometry(
    run: tuple[Simulated, Path], lattices: dict[int, np.ndarray], hitsieve: Hitsieve, tmp_path: Path
) -> None:
    stream_reader = pytest.importorskip(
        "reciprocalspaceship.io.crystfel", reason="reciprocalspaceship is not installed"
    )
    geometry_reader = pytest.importorskip("cfelpyutils.geometry.crystfel_utils", reason="cfelpyutils is not installed")
    assert hitsieve("export", run[1], "--format", "stream", "-o", tmp_path).returncode == 0
    loader = stream_reader.StreamLoader(str(tmp_path / "simulated.stream"))
    assert loader.extract_target_unit_cell() == pytest.approx([79, 79, 38, 90, 90, 90])
    chunks = loader.read_crystfel(num_cpus=1)
    images = hits(run)
    assert len(chunks) == len(images)
    read = geometry_reader.load_crystfel_geometry(str(tmp_path / "simulated.geom"))
    panel = read.detector["panels"]["module"]
    energy = read.beam["photon_energy"]
    for chunk, image in zip(chunks, images, strict=True):
        assert len(chunk["A_matrices"]) == len(lattices.get(image, ()))
        for A, ours, peaks in zip(chunk["A_matrices"], lattices.get(image, ()), chunk["peak_lists"], strict=True):
            assert np.allclose(A, ours, atol=1e-7)
            hkl, fs, ss = peaks[:, :3], peaks[:, 7], peaks[:, 8]
            place = np.array(
                [
                    panel["cnx"] + fs * panel["fsx"] + ss * panel["ssx"],
                    panel["cny"] + fs * panel["fsy"] + ss * panel["ssy"],
                    np.full(len(fs), (panel["clen"] + panel["coffset"]) * panel["res"]),
                ]
            ).T
            s1 = place / np.linalg.norm(place, axis=1, keepdims=True)
            q = (s1 - [0, 0, 1]) * energy / 12398.41984
            assert np.median(np.linalg.norm(q - hkl @ A.T, axis=1)) < 2e-3


def test_stream_holds_every_hit(
    run: tuple[Simulated, Path], lattices: dict[int, np.ndarray], hitsieve: Hitsieve, tmp_path: Path
) -> None:
    done = hitsieve("export", run[1] / "simulated_summary.json", "--format", "stream", "-o", tmp_path / "x.stream")
    assert done.stdout.splitlines()[1:] == [str(tmp_path / f"x.{end}") for end in ("stream", "geom", "cell")]
    text = (tmp_path / "x.stream").read_text()
    images = hits(run)
    assert text.count("----- Begin chunk -----") == text.count("hit = 1") == len(images)
    assert text.count("indexed_by = hitsieve") == sum(image in lattices for image in images)
    assert text.count("--- Begin crystal") == sum(len(lattices.get(image, ())) for image in images)
    assert "profile_radius" not in text
    geometry = text.split("----- Begin geometry file -----\n")[1].split("----- End geometry file -----")[0]
    assert geometry == (tmp_path / "x.geom").read_text()
    only = hitsieve("export", run[1], "--format", "stream", "--only", "indexed", "-o", tmp_path / "indexed")
    assert only.returncode == 0
    assert (tmp_path / "indexed" / "simulated.stream").read_text().count("Begin chunk") == len(lattices)


def test_own_geometry_indexes_as_before(run: tuple[Simulated, Path], hitsieve: Hitsieve, tmp_path: Path) -> None:
    assert hitsieve("export", run[1], "--format", "stream", "-o", tmp_path).returncode == 0
    again = hitsieve(
        "run", run[0].master, "--geometry", tmp_path / "simulated.geom", "-o", tmp_path / "again", "--quiet"
    )
    assert again.returncode == 0, again.stderr
    indexed = [
        pq.read_table(folder / "simulated_images.parquet", columns=["n_lattices"])["n_lattices"].to_pylist()
        for folder in (run[1], tmp_path / "again")
    ]
    assert indexed[0] == indexed[1]


@pytest.mark.parametrize("file", ["hits", "annotated"])
def test_lists(run: tuple[Simulated, Path], hitsieve: Hitsieve, process: Hitsieve, tmp_path: Path, file: str) -> None:
    flags = ["--annotated"] if file == "annotated" else []
    done = process("export", run[1], "--format", "events", "-o", tmp_path, *flags, "--json")
    told = json.loads(done.stdout)
    assert told["files"] == [str(tmp_path / name) for name in ("simulated.lst", "simulated_source.tsv")]
    images = hits(run)
    assert told["n_images"] == len(images)
    listed = [line.split(" //") for line in (tmp_path / "simulated.lst").read_text().splitlines()]
    sources = [line.split("\t") for line in (tmp_path / "simulated_source.tsv").read_text().splitlines()]
    assert sources.pop(0) == ["image", "source_file", "source_row"]
    assert [int(source[0]) for source in sources] == images
    for (path, row), (_, source, source_row) in zip(listed, sources, strict=True):
        with h5py.File(path) as here, h5py.File(source) as there:
            assert Path(path).name == f"simulated_{file}.h5"
            image = here["entry/data/data"][int(row)]
            assert np.array_equal(image, there["entry/data/data"][int(source_row)])


def test_nothing_is_overwritten_or_left_half(run: tuple[Simulated, Path], hitsieve: Hitsieve, tmp_path: Path) -> None:
    before = tmp_path / "simulated.refl"
    before.write_text("mine")
    refused = hitsieve("export", run[1], "--format", "dials", "-o", tmp_path)
    assert refused.returncode == 4
    assert "simulated.refl: output exists" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["simulated.refl"]
    assert before.read_text() == "mine"
    assert hitsieve("export", run[1], "--format", "dials", "-o", tmp_path, "--overwrite").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simulated.expt", "simulated.refl"]
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert hitsieve("export", run[1], "--format", "dials", "-o", tmp_path, "--overwrite").returncode == 0
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_nothing_to_export(tmp_path: Path, hitsieve: Hitsieve) -> None:
    made = simulate(
        tmp_path / "sim", SimulateSettings(name="blank", detector="test-256k", images=6, hit_fraction=0.0, seed=2)
    )
    assert hitsieve("run", made.master, "-o", tmp_path / "out", "--quiet").returncode == 0
    for form in ("stream", "events", "dials"):
        done = hitsieve("export", tmp_path / "out", "--format", form, "-o", tmp_path / "made")
        assert done.returncode == 3
        assert "nothing to export: the run has no hits" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "made").exists()


def test_run_without_indexing(run: tuple[Simulated, Path], tmp_path: Path, hitsieve: Hitsieve) -> None:
    assert hitsieve("run", run[0].master, "-o", tmp_path, "--indexing", "off", "--quiet").returncode == 0
    done = hitsieve("export", tmp_path, "--format", "dials")
    assert done.returncode == 3
    assert "nothing to export: the run is not indexed" in done.stderr
    assert hitsieve("export", tmp_path, "--format", "stream").returncode == 0
    assert "Begin unit cell" not in (tmp_path / "simulated.stream").read_text()
    assert not (tmp_path / "simulated.cell").exists()


def test_no_run(tmp_path: Path, hitsieve: Hitsieve) -> None:
    done = hitsieve("export", tmp_path, "--format", "events")
    assert done.returncode == 3
    assert hitsieve("export", "--format", "events").returncode == 2
    assert hitsieve("export", tmp_path, "--format", "cbf").returncode == 2
    assert "export needs RUN" in hitsieve("export", "--format", "events").stderr


def test_help_is_quick_to_import() -> None:
    code = "import sys, hitsieve.cli.export; print(*sorted({'msgpack', 'gemmi', 'scipy', 'h5py'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_indexed_misses_are_those_of_the_annotated_master(
    run: tuple[Simulated, Path], lattices: dict[int, np.ndarray], hitsieve: Hitsieve, tmp_path: Path
) -> None:
    flags = ["--rule", "spots", "--min-spots", "1000", "--quiet"]
    assert hitsieve("run", run[0].master, "-o", tmp_path, *flags).returncode == 0
    assert hitsieve("export", tmp_path, "--format", "stream").returncode == 3
    assert hitsieve("export", tmp_path, "--format", "stream", "--only", "indexed").returncode == 0
    lines = (tmp_path / "simulated.stream").read_text().splitlines()
    assert {line for line in lines if line.startswith("Image filename")} == {
        f"Image filename: {(tmp_path / 'simulated_annotated.h5').resolve()}"
    }
    assert [line for line in lines if line.startswith("Event")] == [f"Event: //{image}" for image in sorted(lattices)]
    assert lines.count("hit = 0") == len(lattices)


def test_source_that_moved(run: tuple[Simulated, Path], hitsieve: Hitsieve, tmp_path: Path) -> None:
    shutil.copytree(run[0].master.parent, tmp_path / "here", ignore=shutil.ignore_patterns("out"))
    assert hitsieve("run", tmp_path / "here" / run[0].master.name, "-o", tmp_path / "out", "--quiet").returncode == 0
    (tmp_path / "here").rename(tmp_path / "there")
    lost = hitsieve("export", tmp_path / "out", "--format", "dials")
    assert lost.returncode == 3
    assert len(lost.stderr.splitlines()) == 1
    assert not (tmp_path / "out" / "simulated.expt").exists()
    master = tmp_path / "there" / run[0].master.name
    assert hitsieve("export", tmp_path / "out", "--format", "dials", "--source", master).returncode == 0
    assert (tmp_path / "out" / "simulated.expt").exists()
    # Lists need nothing of the source.
    assert hitsieve("export", tmp_path / "out", "--format", "events").returncode == 0


def test_panels_of_a_geometry_file_in_the_order_of_the_images(
    run: tuple[Simulated, Path], hitsieve: Hitsieve, tmp_path: Path
) -> None:
    made = simulate(
        tmp_path / "sim",
        SimulateSettings(name="tiles", detector="jungfrau-1m", images=4, hit_fraction=1.0, modules=True, seed=3),
    )
    assert hitsieve("run", made.master, "-o", tmp_path / "out", "--quiet").returncode == 0
    assert hitsieve("export", tmp_path / "out", "--format", "stream").returncode == 0
    head, *panels = (tmp_path / "out" / "tiles.geom").read_text().split("\n\n")
    assert len(panels) > 1
    shuffled = tmp_path / "shuffled.geom"
    shuffled.write_text("\n\n".join([head, *(panel.strip() for panel in reversed(panels))]) + "\n")
    again = tmp_path / "again"
    done = hitsieve("run", made.master, "-o", again, "--geometry", shuffled, "--quiet")
    assert done.returncode == 0, done.stderr
    for folder in (tmp_path / "out", again):
        done = hitsieve("export", folder, "--format", "dials")
        assert done.returncode == 0
        assert "modules" not in done.stderr
    expts = [json.loads((folder / "tiles.expt").read_text()) for folder in (tmp_path / "out", again)]
    places = [[panel["raw_image_offset"] for panel in expt["detector"][0]["panels"]] for expt in expts]
    assert places[0] == places[1]
    # One panel where the images have several modules: DIALS cannot cut them so.
    one = tmp_path / "one.geom"
    first = [line for line in panels[0].splitlines() if not line.split("/")[1].startswith(("max", "min"))]
    with h5py.File(made.master) as file:
        n_slow, n_fast = file["entry/data/data"].shape[1:]
    name = first[0].split("/")[0]
    bounds = (("min_fs", 0), ("max_fs", n_fast - 1), ("min_ss", 0), ("max_ss", n_slow - 1))
    one.write_text("\n".join([head, "", *first, *(f"{name}/{key} = {value}" for key, value in bounds)]) + "\n")
    assert hitsieve("run", made.master, "-o", tmp_path / "o", "--geometry", one, "--quiet").returncode == 0
    done = hitsieve("export", tmp_path / "o", "--format", "dials", "--only", "hits")
    assert done.returncode == 0
    assert "the geometry file used for the run has 1 other panels" in done.stderr
