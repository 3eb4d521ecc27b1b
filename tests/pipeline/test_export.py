"""What an export refuses, leaves out, and says about it; and images that lack a wavelength of their own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.errors import SettingsError, SourceError
from hitsieve.pipeline.explain import explain
from hitsieve.pipeline.export import ExportRequest, export
from hitsieve.pipeline.run import run as sieve
from hitsieve.settings import RunSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.write import open_results

CELL = "79,79,38,90,90,90"


def finished(master: Path, output: Path, **rooms: object) -> Path:
    settings = {"write": {"output": output}, "verdict": {"min_spots": 10}, "index": {"cell": CELL}, **rooms}
    sieve([master], RunSettings.model_validate(settings))
    return output


def settings(**given: object) -> SimulateSettings:
    return SimulateSettings.model_validate(
        {"name": "made", "detector": "test-256k", "images": 24, "hit_fraction": 0.5, "seed": 2, **given}
    )


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """Master and results of a run with a wavelength an image, but for two hits; and the images that are hits."""
    folder = tmp_path_factory.mktemp("gaps")
    made = simulate(folder / "raw", settings())
    first = finished(made.master, folder / "first")
    with open_results(first) as stored:
        hits = np.flatnonzero(stored.column("n_lattices") > 0)
    with h5py.File(made.master, "r+") as file:
        beam = file["entry/instrument/beam"]
        values = np.full(24, float(beam["incident_wavelength"][()]))
        values[hits[:2]] = np.nan, 0
        del beam["incident_wavelength"]
        beam["incident_wavelength"] = values
        beam["incident_wavelength"].attrs["units"] = "angstrom"
    return made.master, finished(made.master, folder / "out"), hits


def test_images_without_a_wavelength_are_named_and_only_they_are_not_indexed(
    gaps: tuple[Path, Path, np.ndarray],
) -> None:
    master, out, hits = gaps
    with open_run(master) as opened:
        (problem,) = [problem for problem in opened.run.problems if "wavelength" in problem.what]
        assert f"2 of 24 images ({hits[0]}, {hits[1]})" in problem.what and "--set wavelength" in problem.mend
        assert np.flatnonzero(~opened.run.beam.known(np.arange(24))).tolist() == hits[:2].tolist()
        assert opened.run.beam.wavelength == pytest.approx(np.nanmean(opened.run.beam.wavelengths))
    with open_results(out) as stored:
        assert np.flatnonzero(stored.column("n_lattices") > 0).tolist() == hits[2:].tolist()
        assert np.isnan(stored.column("resolution")[hits[:2]]).all()
        assert np.isfinite(stored.column("resolution")[hits[2:]]).all()
        assert np.all(stored.column("state")[hits] == 1)
        assert any("states no wavelength" in text for text in stored.summary.problems)
    explain(out, int(hits[0]), picture=out / "first.png")
    assert (out / "first.png").stat().st_size > 0


@pytest.mark.parametrize(("format", "only"), [("dials", "hits"), ("stream", "hits"), ("stream", "indexed")])
def test_images_without_a_wavelength_are_left_out(
    format: str, only: str, gaps: tuple[Path, Path, np.ndarray], tmp_path: Path
) -> None:
    _, out, hits = gaps
    hits = hits if only == "hits" else hits[2:]
    report = export(out, ExportRequest(format, tmp_path, only))  # type: ignore[arg-type]
    assert report.n_images == len(hits) - 2 * (only == "hits")
    left_out = [problem for problem in report.problems if "left out" in problem.what]
    assert len(left_out) == (only == "hits")


def test_mask_that_has_changed_is_refused(gaps: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    master = gaps[0]
    with h5py.File(master) as file:
        shape = file["entry/data/data"].shape[1:]
    mask, file = np.zeros(shape, dtype=np.uint32), tmp_path / "mask.npy"
    mask[100, 100:104] = 1
    np.save(file, mask)
    again = finished(master, tmp_path / "again", source={"mask": file})
    assert export(again, ExportRequest("dials", tmp_path / "same")).n_images > 0
    # As many pixels as before, elsewhere.
    np.save(file, np.roll(mask, 9))
    with pytest.raises(SourceError, match=r"or has changed: the pixel mask is not the one recorded"):
        export(again, ExportRequest("dials", tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_geometry_file_that_has_changed_is_refused(gaps: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    master, out, hits = gaps
    export(out, ExportRequest("stream", tmp_path / "made.stream"))
    geometry = tmp_path / "made.geom"
    again = finished(master, tmp_path / "again", source={"geometry": geometry})
    assert export(again, ExportRequest("dials", tmp_path / "same")).n_images == len(hits)
    text = geometry.read_text()
    geometry.write_text(text.replace("clen = 0.", "clen = 1."))
    mend = "give it back the text that is recorded in .*again/made_annotated.h5, hit_finding/geometry/data"
    with pytest.raises(SourceError, match=rf"made.geom is not what it was .*{mend}"):
        export(again, ExportRequest("dials", tmp_path / "other"))
    with pytest.raises(SourceError, match="is not what it was"):
        explain(again, int(hits[0]), picture=tmp_path / "x.png")
    geometry.unlink()
    with pytest.raises(SourceError, match=rf"made.geom cannot be read.*{mend}"):
        export(again, ExportRequest("stream", tmp_path / "other"))
    with open_results(again) as stored:
        assert stored.geometry == text


def test_run_without_hits_is_not_sent_to_its_hits(tmp_path: Path) -> None:
    made = simulate(tmp_path / "raw", settings(hit_fraction=0.0, images=10))
    out = finished(made.master, tmp_path / "out", verdict={"min_spots": 30})
    for kind in ("dials", "stream", "events"):
        with pytest.raises(SourceError, match=r"the run has no hits \(give it other rules with hitsieve rethink"):
            export(out, ExportRequest(kind))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("format", "name"),
    [("dials", "foo.lst"), ("stream", "x_source.tsv"), ("events", "x.expt"), ("events", "a.stream")],
)
def test_output_named_like_a_file_of_another_format(
    format: str, name: str, gaps: tuple[Path, Path, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"is no file of the format .*\(name a folder, or a file \*\."):
        export(gaps[1], ExportRequest(format, tmp_path / name, "hits"))  # type: ignore[arg-type]
    assert not (tmp_path / name).exists()


def test_any_file_of_the_format_names_all(gaps: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    for name in ("x_source.tsv", "y.lst"):
        report = export(gaps[1], ExportRequest("events", tmp_path / name))
        assert sorted(path.name for path in report.files) == [f"{name[0]}.lst", f"{name[0]}_source.tsv"]
    (tmp_path / "folder.lst").mkdir()
    report = export(gaps[1], ExportRequest("events", tmp_path / "folder.lst"))
    assert report.files[0] == tmp_path / "folder.lst" / "made.lst"
