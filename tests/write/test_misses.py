"""The misses file: with the hits it holds every stored chunk of the run, and a row for every image."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from making import PACKINGS, SHAPE, images, make_pump, make_results, make_run, opened, write_run

from hitsieve.model import State
from hitsieve.pipeline.verify import verify
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.source import OpenedRun
from hitsieve.write import Outputs, RunWriter, open_results

HITS = [2, 3, 9, 17, 23]


def chunks_of(master: Path) -> list[bytes]:
    """Stored chunk of each image of a run that `make_run` made, by h5py alone."""
    found: dict[int, bytes] = {}
    parts = sorted(master.parent.glob("test_data_*.h5")) or [master]
    with h5py.File(master) as file:
        strided = "data" in file["entry/data"] and file["entry/data/data"].is_virtual
        strided = strided and file["entry/data/data"].virtual_sources()[0].vspace.get_regular_hyperslab()[1][0] > 1
    first = 0
    for number, path in enumerate(parts):
        with h5py.File(path) as file:
            data = file["entry/data/data"]
            for row in range(len(data)):
                image = number + row * len(parts) if strided else first + row
                found[image] = data.id.read_direct_chunk((row, 0, 0))[1]
            first += len(data)
    return [found[image] for image in range(len(found))]


def kept_chunks(*files: Path | None) -> dict[int, bytes]:
    """Stored bytes of each image that files of hits and misses hold, each proven by its hash."""
    found: dict[int, bytes] = {}
    for path in files:
        assert path is not None
        with h5py.File(path) as file:
            process = file["entry/hit_finding"]
            for row, image in enumerate(process["source_image"][()].tolist()):
                assert image not in found
                found[image] = file["entry/data/data"].id.read_direct_chunk((row, 0, 0))[1]
                assert hashlib.sha256(found[image]).hexdigest().encode() == process["sha256"][row]
            if "rest" in process:
                rest = {name: process["rest"][name][()] for name in ("source_image", "offsets", "bytes", "sha256")}
                for row, image in enumerate(rest["source_image"].tolist()):
                    start, end = rest["offsets"][row : row + 2]
                    if end > start:
                        found[image] = rest["bytes"][start:end].tobytes()
                        assert hashlib.sha256(found[image]).hexdigest().encode() == rest["sha256"][row]
    return found


@pytest.mark.parametrize("style", ["vds", "strided", "external", "single"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_hits_and_misses_hold_every_chunk(tmp_path: Path, style: str, packing: str) -> None:
    master = make_run(tmp_path / "in", style, packing)
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep")
    assert outputs.misses == tmp_path / "out" / "test_misses.h5"
    assert set(outputs) == set((tmp_path / "out").iterdir())
    wanted = chunks_of(master)
    assert kept_chunks(outputs.hits, outputs.misses) == dict(enumerate(wanted))
    values = images(24)
    with h5py.File(outputs.misses) as file, h5py.File(outputs.hits) as hits:
        process = file["entry/hit_finding"]
        misses = [i for i in range(24) if i not in HITS]
        assert process["source_image"][()].tolist() == misses
        assert process["verbatim"][()].all() and hits["entry/hit_finding/verbatim"][()].all()
        assert np.array_equal(file["entry/data/data"][()], values[misses])
        assert process["state"][()].tolist() == [State.MISS] * len(misses)
        assert process["n_spots"][()].tolist() == [i % 4 for i in misses]
        assert (process["holds"].asstr()[()], hits["entry/hit_finding/holds"].asstr()[()]) == ("misses", "hits")
        assert file["entry/xfel/pulse_id"][()].tolist() == [10**12 + i for i in misses]
        assert file["entry/instrument/detector/detectorSpecific/ntrigger"][()] == len(misses)
        assert "MX" not in file["entry"] and "MX_source" in file["entry"]
        assert len(process["rest/source_image"]) == 0
    for source_path in (None, master):
        report = verify(outputs.misses, source_path)
        assert report.ok, report.failures
        assert (report.n_misses, report.n_unreadable, report.n_hits, report.n_audit) == (19, 0, 0, 0)
    assert len(open_results(outputs.misses)) == 24


def damaged(folder: Path, style: str = "vds", packing: str = "bslz4") -> OpenedRun:
    """A run whose second file is missing, and whose image 20 was damaged."""
    master = make_run(folder, style, packing)
    if style != "single":
        (folder / "test_data_000002.h5").unlink()
    place = folder / "test_data_000003.h5" if style != "single" else master
    with h5py.File(place) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(4 if style != "single" else 20)
    content = bytearray(place.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 16] = b"\xff" * 16
    place.write_bytes(content)
    return opened(master)


def check_rest(outputs: Outputs, source: OpenedRun, n_missing: int) -> None:
    with h5py.File(outputs.misses) as file:
        rest = file["entry/hit_finding/rest"]
        lost = [*range(8, 8 + n_missing), 20]
        assert rest["source_image"][()].tolist() == lost
        assert rest["state"][()].tolist() == [State.MISSING] * n_missing + [State.UNREADABLE]
        assert rest["reason"].asstr()[-1] == "flipped bits"
        assert np.diff(rest["offsets"][()]).astype(bool).tolist() == [False] * n_missing + [True]
        assert rest["bytes"][()].tobytes() == source.chunk(20)
        assert rest["is_chunk"][()].tolist() == [False] * n_missing + [True]
        own = rest["metadata/entry"]
        assert own["xfel/pulse_id"][()].tolist() == [10**12 + i for i in lost]
        assert own["xfel/labels"].asstr()[()].tolist() == [f"shot {i}" for i in lost]
        assert np.allclose(own["instrument/beam/incident_wavelength"], 1.0 + np.array(lost) / 1000)


@pytest.mark.parametrize(("style", "packing"), [("vds", "bslz4"), ("vds", "lz4"), ("external", "gzip")])
def test_unreadable_images_keep_their_bytes_and_missing_ones_their_rows(
    tmp_path: Path, style: str, packing: str
) -> None:
    with damaged(tmp_path / "in", style, packing) as source:
        hits = [i for i in HITS if not 8 <= i < 16]
        outputs = write_run(source, tmp_path / "out", hits, misses="keep", bad={20: "flipped bits"})
        check_rest(outputs, source, 8)
        held = kept_chunks(outputs.hits, outputs.misses)
        assert held == {i: source.chunk(i) for i in range(24) if not 8 <= i < 16}
    report = verify(outputs.misses, tmp_path / "in" / "test_master.h5")
    assert report.ok, report.failures
    assert (report.n_misses, report.n_unreadable) == (24 - 8 - 1 - len(hits), 1)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    with damaged(tmp_path / "in", "single") as source:
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep", bad={20: "flipped bits"})
        assert outputs.misses is not None
        with h5py.File(outputs.misses, "r+") as file:
            file["entry/hit_finding/rest/bytes"][100] ^= 1
            stored = bytearray(file["entry/data/data"].id.read_direct_chunk((3, 0, 0))[1])
            stored[50] ^= 1
            file["entry/data/data"].id.write_direct_chunk((3, 0, 0), bytes(stored))
    first, second = verify(outputs.misses).failures
    assert (first.group, first.row, first.source_image, first.finding) == ("misses", 3, 5, "damaged")
    assert (second.group, second.row, second.source_image, second.finding) == ("unreadable", 0, 20, "damaged")


def test_another_run_is_found(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "single")) as source:
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep")
    assert outputs.misses is not None
    other = make_run(tmp_path / "other", "single", n=24)
    with h5py.File(other, "r+") as file:
        file["entry/data/data"][...] = np.ones((24, *SHAPE))
    assert verify(outputs.misses, other).another_run


def test_files_of_pump_states_come_beside(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        source.run = replace(source.run, pump=make_pump(24))
        outputs = write_run(source, tmp_path / "out", HITS, misses="keep", split_pump=True)
    assert len(list(outputs)) == 7
    with h5py.File(outputs.misses) as file:
        pump = file["entry/hit_finding/pump"][()].tolist()
        assert pump == [int(make_pump(24).code[i]) for i in range(24) if i not in HITS]


def test_a_misses_file_of_an_earlier_run_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        kept = write_run(source, tmp_path / "out", HITS, misses="keep")
        write_run(source, tmp_path / "out", HITS, overwrite=True)
    assert f"{kept.misses}: is not of this run, and stays" in caplog.text


def test_not_kept_unless_asked(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    assert outputs.misses is None
    assert not (tmp_path / "out" / "test_misses.h5").exists()


def test_a_hits_or_misses_batch_must_be_complete(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        settings = RunSettings(write=WriteSettings(output=tmp_path / "o", misses="keep"))
        with RunWriter(source.run, settings) as writer, pytest.raises(ValueError, match="images are needed of"):
            writer.add(make_results(source.run, HITS, 0, 4), {2: source.stored(2), 3: source.stored(3)})
