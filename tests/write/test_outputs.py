"""What the outputs of a run hold, as h5py, pyarrow and nxmx read them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import nxmx
import pyarrow.parquet as pq
import pytest
from making import PACKINGS, fetch, images, make_results, make_run, opened, write_run

from hitsieve.model import State
from hitsieve.source import find_masters
from hitsieve.write import Summary

HITS = [2, 3, 9, 17, 23]
STYLES = ["vds", "strided", "external", "single"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("packing", ["bslz4", "bszstd", "lz4", "gzip"])
def test_hits_are_equal_and_chunks_verbatim(tmp_path: Path, style: str, packing: str) -> None:
    with opened(make_run(tmp_path / "in", style, packing)) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
        with h5py.File(outputs.hits) as handle:
            data = handle["entry/data/data"]
            assert np.array_equal(data[()], images(24)[HITS])
            assert data.chunks == (1, *data.shape[1:])
            process = handle["entry/hit_finding"]
            assert process["verbatim"][()].all()
            assert process["source_image"][()].tolist() == HITS
            for row, image in enumerate(HITS):
                assert data.id.read_direct_chunk((row, 0, 0))[1] == source.chunk(image)
            audit = process["audit"]
            kept = audit["source_image"][()]
            assert len(kept) == 3
            assert not set(kept) & set(HITS)
            assert np.array_equal(audit["data"][()], images(24)[kept])


@pytest.mark.parametrize("style", STYLES)
def test_per_image_arrays_are_cut(tmp_path: Path, style: str) -> None:
    with opened(make_run(tmp_path / "in", style)) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    with h5py.File(outputs.hits) as handle, h5py.File(outputs.annotated) as annotated:
        entry, whole = handle["entry"], annotated["entry"]
        assert np.allclose(entry["instrument/beam/incident_wavelength"], 1 + np.array(HITS) / 1000)
        assert len(whole["instrument/beam/incident_wavelength"]) == 24
        assert (entry["xfel/pulse_id"][()] - 10**12).tolist() == HITS
        assert entry["xfel/labels"].asstr()[()].tolist() == [f"shot {i}" for i in HITS]
        assert entry["MX_source/nPeaks"][()].tolist() == HITS
        if style != "single":
            assert (entry["detector/timestamp"][()] / 1.5).tolist() == HITS
            assert (whole["detector/timestamp"][()] / 1.5).tolist() == list(range(24))
            assert entry["azint/image"][:, 3].tolist() == HITS
            assert entry["azint/bin_to_q"].shape == (7,)
        assert entry["instrument/detector/module/data_size"].shape == (2,)


@pytest.mark.parametrize("style", STYLES)
def test_metadata_and_links_are_carried(tmp_path: Path, style: str) -> None:
    master = make_run(tmp_path / "in", style)
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    with h5py.File(outputs.hits) as handle:
        entry = handle["entry"]
        detector = entry["instrument/detector"]
        assert detector["pixel_mask"] == detector["detectorSpecific/pixel_mask"]
        assert detector["pixel_mask"].compression == "gzip"
        assert entry.get("sample_alias", getlink=True).path == "/entry/sample"
        assert entry["sample_alias/name"][()] == b"lysozyme"
        assert entry["user/name"].dtype == np.dtype("S7")
        assert list(entry["data"]) == ["data"]
        assert "image_nr_low" not in entry["data/data"].attrs
        assert detector["detectorSpecific/nimages"][()] * detector["detectorSpecific/ntrigger"][()] == len(HITS)
        assert entry["hit_finding/restore/source_ntrigger"][()] == 24
        assert "problems" not in entry["hit_finding"]
        links: list[object] = []
        handle.visititems_links(lambda _, link: links.append(link))
        assert not any(isinstance(link, h5py.ExternalLink) for link in links)
        if style == "single":
            assert detector["data"] == entry["data/data"]
    with h5py.File(master) as before, h5py.File(outputs.annotated) as after:
        assert after["entry/instrument/detector/detectorSpecific/ntrigger"][()] == 24
        assert dict(before["entry/instrument/detector/distance"].attrs) == dict(
            after["entry/instrument/detector/distance"].attrs
        )


def test_names_that_are_not_utf8_cost_nothing_else(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    places = ("/", "/entry", "/entry/data", "/entry/instrument", "/entry/instrument/detector", "/entry/user")
    with h5py.File(master, "a") as handle:
        for place in places:
            h5py.h5g.create(handle[place].id, "Müller".encode("latin-1"))
    bad: list[Path] = []
    found = find_masters([master.parent], (), bad=lambda path, _: bad.append(path))
    assert [one.path for one in found] == [master] and not bad
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    with h5py.File(outputs.hits) as handle:
        assert handle["entry/user/name"][()] == b"A. User"
        assert handle["entry/data/data"].shape == (len(HITS), *source.run.detector.shape)
        told = handle["entry/hit_finding/problems"].asstr()[()]
    assert sum("its name is not UTF-8" in line for line in told) == len(places)


@pytest.mark.parametrize("style", STYLES)
def test_annotated_shows_all_images_and_spots(tmp_path: Path, style: str) -> None:
    with opened(make_run(tmp_path / "in", style)) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
        expected = make_results(source.run, HITS, 0, 24)
    with h5py.File(outputs.annotated) as handle:
        data = handle["entry/data/data"]
        assert data.is_virtual
        assert all(not Path(source.file_name).is_absolute() for source in data.virtual_sources())
        assert len(data.virtual_sources()) == (1 if style == "single" else 3)
        assert np.array_equal(data[()], images(24))
        process = handle["entry/hit_finding"]
        assert np.array_equal(process["state"][()], expected.state)
        assert h5py.check_enum_dtype(process["state"].dtype) == {state.name.lower(): state.value for state in State}
        assert np.array_equal(process["spots/offsets"][()], expected.offsets)
        for name in ("x", "intensity", "n_pixels", "flags", "resolution"):
            assert np.array_equal(process[f"spots/{name}"][()], getattr(expected.spots, name))
        assert process["spots/resolution"].attrs["units"] == "angstrom"


def test_outputs_stay_readable_when_moved_together(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "a" / "in", "vds")) as source:
        write_run(source, tmp_path / "a" / "out", HITS)
    (tmp_path / "a").rename(tmp_path / "b")
    with h5py.File(tmp_path / "b" / "out" / "test_annotated.h5") as handle:
        assert np.array_equal(handle["entry/data/data"][()], images(24))


def test_peak_lists_are_pixel_indices(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
        expected = make_results(source.run, HITS, 0, 24)
    with h5py.File(outputs.hits) as handle:
        peaks = handle["entry/MX"]
        assert peaks["nPeaks"][()].tolist() == [5 + i % 3 for i in HITS]
        for row, image in enumerate(HITS):
            spots = expected.spots_of(image)
            n = len(spots)
            assert np.array_equal(peaks["peakXPosRaw"][row, :n], spots.x - 0.5)
            assert np.array_equal(peaks["peakYPosRaw"][row, :n], spots.y - 0.5)
            assert np.array_equal(peaks["peakTotalIntensity"][row, :n], spots.intensity)
            assert np.array_equal(peaks["peakSNR"][row, :n], spots.snr)
            assert not peaks["peakXPosRaw"][row, n:].any()


def test_run_without_hits(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "external")) as source:
        outputs = write_run(source, tmp_path / "out", [])
    with h5py.File(outputs.hits) as handle:
        assert handle["entry/data/data"].shape == (0, 48, 64)
        assert handle["entry/xfel/pulse_id"].shape == (0,)
        assert handle["entry/MX/nPeaks"].shape == (0,)
        assert handle["entry/hit_finding/hit_rate"][()] == 0


def test_missing_file_reads_as_fill(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    (tmp_path / "in" / "test_data_000002.h5").unlink()
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", [2, 17])
    with h5py.File(outputs.annotated) as handle:
        data = handle["entry/data/data"][()]
        assert np.array_equal(data[:8], images(24)[:8])
        assert (data[8:16] == 65535).all()
        process = handle["entry/hit_finding"]
        assert (process["state"][8:16] == State.MISSING).all()
        assert process["reason_image"][()].tolist() == list(range(8, 16))
        assert process["reason_text"].asstr()[0]
        assert np.isnan(handle["entry/detector/timestamp"][8:16]).all()
    with h5py.File(outputs.hits) as handle:
        assert (handle["entry/detector/timestamp"][()] / 1.5).tolist() == [2, 17]


def test_mixed_packings_are_packed_anew(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "external")
    with h5py.File(tmp_path / "in" / "test_data_000002.h5", "r+") as handle:
        values = handle["entry/data/data"][()]
        del handle["entry/data/data"]
        handle["entry/data"].create_dataset("data", data=values, chunks=(1, 48, 64), **PACKINGS["bszstd"])
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    with h5py.File(outputs.hits) as handle:
        assert np.array_equal(handle["entry/data/data"][()], images(24)[HITS])
        assert handle["entry/hit_finding/verbatim"][()].tolist() == [True, True, False, True, True]


def test_table_and_summary(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "strided")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
        expected = make_results(source.run, HITS, 0, 24)
        table = pq.read_table(outputs.images)
        assert table["image"].to_pylist() == list(range(24))
        assert table["state"].to_pylist() == [State(s).name.lower() for s in expected.state]
        assert table["row"].to_pylist() == source.run.images.row.tolist()
        assert table["file"].to_pylist() == [str(source.run.files[i].path) for i in source.run.images.file]
        assert table["reason"].null_count == 24
        assert np.array_equal(table["background"].to_numpy(), expected.background)
    summary = Summary.model_validate_json(outputs.summary.read_text())
    assert summary.n_hits == len(HITS)
    assert json.loads(outputs.summary.read_text())["date"].endswith("Z")


@pytest.mark.parametrize("style", STYLES)
def test_nxmx_reads_both(tmp_path: Path, style: str) -> None:
    with opened(make_run(tmp_path / "in", style)) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    for path, n in ((outputs.hits, len(HITS)), (outputs.annotated, 24)):
        with h5py.File(path) as handle:
            (entry,) = nxmx.NXmx(handle).entries
            (detector,) = entry.instruments[0].detectors
            (module,) = detector.modules
            chain = nxmx.get_dependency_chain(module.fast_pixel_direction)
            assert [axis.path.rsplit("/", 1)[-1] for axis in chain] == [
                "fast_pixel_direction",
                "module_offset",
                "det_z",
            ]
            assert entry.data[0].signal == "data"
            assert len(entry.data[0]["data"]) == n
            assert entry.start_time is not None
            assert entry.source.name == "SLS"
            assert entry.samples[0].name == "lysozyme"
            assert detector.pixel_mask is not None
            assert len(entry.instruments[0].beams[0].incident_wavelength) == n


def test_hit_only_file_can_be_sieved_again(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        first = write_run(source, tmp_path / "out", HITS)
    with opened(first.hits) as source:
        second = write_run(source, tmp_path / "again", [1, 4])
        assert fetch(source, 1)
    with h5py.File(second.hits) as handle:
        assert np.array_equal(handle["entry/data/data"][()], images(24)[[3, 23]])
        assert handle["entry/hit_finding_source/source_image"][()].tolist() == [3, 23]
        assert handle["entry/MX_source/nPeaks"].shape == (2,)
