"""Odd sources come back from hits and misses as well: CBF, uncompressed, of two compressions, outputs of hitsieve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fabio
import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from making import SHAPE, images, make_pump, make_run, opened, write_run

from hitsieve.errors import OutputError, SourceError
from hitsieve.pipeline.restore import RestoreReport, RestoreRequest, restore
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run
from hitsieve.write import Outputs

HITS = [2, 3, 9, 17, 23]


def back(outputs: Outputs, source: Path | list[Path] | None = None, **changes: object) -> RestoreReport:
    """Restore beside the outputs, and compare with the source."""
    assert outputs.misses is not None
    named = () if source is None else tuple(source) if isinstance(source, list) else (source,)
    target = outputs.hits.with_name("back.h5")
    return restore(RestoreRequest(outputs.hits, outputs.misses, target, source=named, **changes))  # type: ignore[arg-type]


def test_an_uncompressed_source_has_the_same_pixels(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "single")
    with h5py.File(master, "r+") as file:
        for path in ("entry/data/data", "entry/instrument/detector/data"):
            del file[path]
        file["entry/data/data"] = images(24)
    with opened(master) as source:
        report = back(write_run(source, tmp_path / "out", HITS, misses="keep"), master)
    assert report.differences == ()
    assert (report.restored.n_proven, report.restored.n_verbatim) == (24, 0)
    with h5py.File(report.restored.path) as file:
        assert np.array_equal(file["entry/data/data"][()], images(24))


def test_images_of_another_compression_are_packed_anew_and_their_damaged_ones_are_told(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    with h5py.File(tmp_path / "in" / "test_data_000003.h5", "r+") as file:
        values = file["entry/data/data"][()]
        del file["entry/data/data"]
        made = file.create_dataset("entry/data/data", data=values, chunks=(1, *SHAPE), **hdf5plugin.LZ4())
        stored = bytearray(made.id.read_direct_chunk((2, 0, 0))[1])
        stored[16:20] = b"\xff" * 4
        made.id.write_direct_chunk((2, 0, 0), bytes(stored))
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep", bad={18: "flipped bits"})
        report = back(outputs)
        with h5py.File(outputs.misses) as file:
            rest = file["entry/hit_finding/rest"]
            assert rest["bytes"][()].tobytes() == source.chunk(18)
            assert not rest["is_chunk"][0]
    found = report.restored
    assert (found.n_proven, found.n_verbatim, found.n_unreadable, found.n_lost) == (23, 16, 0, 1)
    with h5py.File(found.path) as file:
        kept = np.delete(np.arange(24), 18)
        assert np.array_equal(file["entry/data/data"][()][kept], images(24)[kept])
        assert (file["entry/data/data"][18] == 65535).all()
        assert file["entry/xfel/pulse_id"][18] == 10**12 + 18


def test_images_that_are_not_hdf5(tmp_path: Path) -> None:
    paths = [tmp_path / f"shot_{i:05d}.cbf" for i in range(6)]
    for i, (path, values) in enumerate(zip(paths, images(6, "i4"), strict=True)):
        contents = f"\n# Wavelength 1.0 A\n# Exposure_time 0.0{i + 1} s\n"
        header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": contents}
        CbfImage(data=values, header=header).write(str(path))
    paths[4].write_bytes(paths[4].read_bytes()[:700])
    with open_run(paths, SourceSettings()) as source:
        outputs = write_run(source, tmp_path / "out", [1], misses="keep", bad={4: "cut short"})
    report = back(outputs)
    with h5py.File(outputs.misses) as file:
        assert file["entry/hit_finding/rest/bytes"][()].tobytes() == paths[4].read_bytes()
    with h5py.File(report.restored.path) as file:
        data = file["entry/data/data"]
        for i in (0, 1, 2, 3, 5):
            assert np.array_equal(data[i], fabio.open(str(paths[i])).data)
        assert file["entry/instrument/beam/incident_wavelength"][()] == 1.0
        count_time = file["entry/instrument/detector/count_time"][()]
        texts = file["entry/instrument/detector/detectorSpecific/source_header"].asstr()[()]
        for i in (0, 1, 2, 3, 5):
            assert np.isclose(count_time[i], (i + 1) / 100)
            assert f"Exposure_time 0.0{i + 1} s" in texts[i]
    assert report.restored.n_lost == 1


def test_an_output_of_hitsieve_comes_back_as_the_source_of_another(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    with opened(master) as source:
        first = write_run(source, tmp_path / "first", [i for i in range(24) if i % 2], misses="keep")
    for path in (first.hits, first.misses):
        with opened(path) as source:
            assert len(source.run) == 12
            outputs = write_run(source, tmp_path / "second", [1, 5, 6], misses="keep", overwrite=True)
        report = back(outputs, path, overwrite=True)
        # The images of the audit sample are not carried, with what belongs to them alone.
        assert report.differences == ()
        with h5py.File(report.restored.path) as after, h5py.File(path) as before:
            for name in ("entry/MX/nPeaks", "entry/MX_source/nPeaks", "entry/hit_finding/sha256"):
                assert (name in after) == (name in before)
                assert name not in before or np.array_equal(after[name][()], before[name][()])
            assert np.array_equal(after["entry/data/data"][()], before["entry/data/data"][()])


@pytest.mark.parametrize("hits", [[], list(range(24))])
def test_all_on_one_side(tmp_path: Path, hits: list[int]) -> None:
    master = make_run(tmp_path / "in", "strided")
    with opened(master) as source:
        report = back(write_run(source, tmp_path / "out", hits, misses="keep"), master)
    assert (report.differences, report.restored.n_verbatim) == ((), 24)
    with h5py.File(report.restored.path) as file:
        assert file["entry/xfel/pulse_id"].chunks is None
        assert file["entry/xfel/labels"].asstr()[()].tolist() == [f"shot {i}" for i in range(24)]


def test_hits_of_a_pump_state_are_refused(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        source.run = replace(source.run, pump=make_pump(24))
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep", split_pump=True)
    with pytest.raises(SourceError, match="holds hits of one pump state, not hits"):
        back(replace(outputs, hits=outputs.pump_hits[0]))


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep")
    (tmp_path / "out" / "back.h5").write_text("mine")
    with pytest.raises(OutputError, match="output exists"):
        back(outputs)
    assert (tmp_path / "out" / "back.h5").read_text() == "mine"
    assert back(outputs, overwrite=True).restored.n_proven == 24
