"""What the outputs record of themselves: provenance, descriptions, problems, and what is unknown."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from making import fetch, make_results, make_run, make_summary, opened, write_run

from hitsieve.pipeline.run import run
from hitsieve.pipeline.verify import verify
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.write import RunWriter

HITS = [2, 3, 9, 17, 23]
BUILT_IN = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}


def test_places_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "data" / "in", "vds")
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    report = run([Path("link/in/test_master.h5")], RunSettings(write=WriteSettings(output=Path("out"))))
    monkeypatch.chdir("/")
    parts = [str(tmp_path / "data" / "in" / f"test_data_{k:06d}.h5") for k in (1, 2, 3)]
    out = tmp_path / "out"
    for name in ("hits", "annotated"):
        with h5py.File(out / f"test_{name}.h5") as handle:
            assert handle["entry/hit_finding/source_files"].asstr()[()].tolist() == parts
    with h5py.File(out / "test_annotated.h5") as handle:
        assert all(not Path(part.file_name).is_absolute() for part in handle["entry/data/data"].virtual_sources())
    table = pq.read_table(out / "test_images.parquet")
    assert set(table["file"].to_pylist()) == set(parts)
    master = str(tmp_path / "data" / "in" / "test_master.h5")
    assert table.schema.metadata[b"source"].decode() == master
    assert report.summary.source.path == master
    assert verify(out / "test_hits.h5", tmp_path / "link" / "in" / "test_master.h5").ok


def test_late_losses_reach_all_who_ask(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    (tmp_path / "in" / "test_data_000002.h5").unlink()
    report = run([master], RunSettings(write=WriteSettings(output=tmp_path / "out")))
    lost = [str(problem) for problem in report.problems if "rows are absent" in problem.what]
    assert any("timestamp: 8 of 24 rows are absent and hold the fill value" in line for line in lost)
    lines = [str(problem) for problem in report.problems]
    assert len(lines) == len(set(lines))
    saved = json.loads((tmp_path / "out" / "test_summary.json").read_text())["problems"]
    assert saved == lines
    for name in ("hits", "annotated"):
        with h5py.File(tmp_path / "out" / f"test_{name}.h5") as handle:
            assert handle["entry/hit_finding/problems"].asstr()[()].tolist() == lines


def test_carrying_waits_for_all_images(tmp_path: Path) -> None:
    settings = RunSettings(write=WriteSettings(output=tmp_path / "out"))
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, settings) as writer:
        writer.add(make_results(source.run, [2], 0, 8), {2: fetch(source, 2)})
        with pytest.raises(ValueError, match="8 images added of 24"):
            writer.carry()
        writer.add(make_results(source.run, [2], 8, 24), {})
        assert writer.carry() == writer.carry() == ()
        writer.finish(make_summary(source.run, settings, 1, 0), [])


def test_columns_need_no_plug_in(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    seen = []
    for path in (outputs.hits, outputs.annotated):
        with h5py.File(path) as handle:

            def look(name: str, item: h5py.HLObject) -> None:
                if isinstance(item, h5py.Dataset) and name != "audit/data":
                    plist = item.id.get_create_plist()
                    seen.append(name)
                    assert {plist.get_filter(i)[0] for i in range(plist.get_nfilters())} <= BUILT_IN, name

            handle["entry/hit_finding"].visititems(look)
            handle["entry/MX"].visititems(look) if "MX" in handle["entry"] else None
    assert {"state", "n_spots", "spots/x", "spots/flags", "source_row"} <= set(seen)


def test_every_dataset_is_described(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    (tmp_path / "in" / "test_data_000003.h5").unlink()
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", [2, 3])
    for path in (outputs.hits, outputs.annotated):
        with h5py.File(path) as handle:
            process = handle["entry/hit_finding"]
            assert "problems" in process
            silent: list[str] = []

            def look(name: str, item: h5py.HLObject, silent: list[str] = silent) -> None:
                note = item.parent.attrs.get("NX_class") == "NXnote"
                images = name == "audit/data"
                if isinstance(item, h5py.Dataset) and not note and not images and "description" not in item.attrs:
                    silent.append(name)

            process.visititems(look)
            assert silent == []
    with h5py.File(outputs.hits) as handle:
        audit = handle["entry/hit_finding/audit"]
        assert (audit["n"][()], audit["min"][()]) == (len(audit["data"]), 3)


def test_unknown_is_null_in_the_table(tmp_path: Path) -> None:
    settings = RunSettings(write=WriteSettings(output=tmp_path / "out"))
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, settings) as writer:
        results = make_results(source.run, [], 0, 24, {5: "flipped bits"})
        for name in ("n_spots_counted", "n_spots_ice", "n_strong", "n_saturated", "max_count"):
            getattr(results, name)[5] = -1
        results.background[5] = np.nan
        writer.add(results, {})
        outputs = writer.finish(make_summary(source.run, settings, 0, 0, 1), [])
    table = pq.read_table(outputs.images)
    for name in ("n_spots_counted", "n_spots_ice", "n_strong", "n_saturated", "max_count", "background"):
        assert [i for i, value in enumerate(table[name].to_pylist()) if value is None] == [5], name
    assert table["resolution"].null_count == 24
    assert table["reason"].to_pylist()[5] == "flipped bits"
    for field in table.schema:
        assert field.metadata[b"description"], field.name
    assert table.schema.field("resolution").metadata[b"units"] == b"angstrom"
    assert b"NaN" not in table.schema.field("background").metadata[b"description"]
    about = table.schema.metadata
    assert (about[b"program"], about[b"version"]) == (b"hitsieve", version("hitsieve").encode())
    assert RunSettings.model_validate_json(about[b"settings"]) == settings


def test_images_of_an_earlier_audit_are_left_behind(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        first = write_run(source, tmp_path / "out", HITS)
    with opened(first.hits) as source:
        second = write_run(source, tmp_path / "again", [1, 4])
    for path in (second.hits, second.annotated):
        with h5py.File(path) as handle:
            process = handle["entry/hit_finding_source"]
            assert "data" not in process["audit"]
            assert process["audit/source_image"].shape == (3,)
            (line,) = handle["entry/hit_finding/problems"].asstr()[()]
            assert "earlier hit finding" in line


def test_files_that_are_open_for_pixels_give_their_metadata(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds", "gzip")) as source:
        assert source.pixels(0).shape == (48, 64)
        outputs = write_run(source, tmp_path / "out", HITS)
    with h5py.File(outputs.hits) as handle:
        assert (handle["entry/detector/timestamp"][()] / 1.5).tolist() == HITS
        assert "problems" not in handle["entry/hit_finding"]
