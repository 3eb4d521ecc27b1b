"""Received images as files, read by the readers of stored runs."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
import pytest

from hitsieve.errors import OutputError
from hitsieve.model import Detector, PackedImage, SeriesKey, SeriesStart
from hitsieve.source import open_run
from hitsieve.write import ReceivedSeries
from hitsieve.write.received import RESERVE
from hitsieve.write.streamvalues import MOST_NAMES

SHAPE = (16, 24)


def image(number: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(number).integers(0, 1000, SHAPE).astype("<u2")


def chunk(number: int, folder: Path) -> bytes:
    """The image as the HDF5 filter packs it."""
    with h5py.File(folder / f"{number}.h5", "w") as file:
        made = file.create_dataset("data", data=image(number)[None], chunks=(1, *SHAPE), **hdf5plugin.Bitshuffle())
        return bytes(made.id.read_direct_chunk((0, 0, 0))[1])


def packed(number: int, folder: Path) -> PackedImage:
    return PackedImage(SHAPE, np.dtype("<u2"), "bslz4", chunk(number, folder))


def start(n_images: int | None) -> SeriesStart:
    detector = Detector(SHAPE, distance=0.1, beam_center=(12.0, 8.0), pixel_size=(75e-6, 75e-6), saturation_value=900)
    return SeriesStart(SeriesKey(3, "unique"), n_images, detector, 1.25, stated={"count_time": 0.5, "odd": "kept"})


@pytest.mark.parametrize(("announced", "known", "n"), [(4000, 0, 4000), (None, 0, 2501), (None, 2600, 2600)])
def test_images_in_any_order_with_gaps(tmp_path: Path, announced: int | None, known: int, n: int) -> None:
    numbers = [2500, 0, 999, 7, 1]
    received = ReceivedSeries(tmp_path / "spool", "name", packed(2500, tmp_path), start(announced))
    for number in numbers:
        received.add(number, packed(number, tmp_path))
    received.finish(known)
    with open_run(received.master) as opened:
        run = opened.run
        assert len(run) == n
        assert sorted(set(range(n)) - set(run.images.missing)) == sorted(numbers)
        for number in numbers:
            assert opened.stored(number) == chunk(number, tmp_path)
            assert np.array_equal(opened.pixels(number), image(number))


@pytest.mark.parametrize("announced", [None, 2])
def test_after_a_crash_images_are_found_that_nobody_announced(tmp_path: Path, announced: int | None) -> None:
    received = ReceivedSeries(tmp_path / "spool", "name", packed(0, tmp_path), start(announced))
    for number in (0, 1, 4):
        received.add(number, packed(number, tmp_path))
        received.flush()
    with open_run(received.master) as opened:
        assert len(opened.run) == 5
        assert set(opened.run.images.missing) == {2, 3}
        assert opened.stored(4) == chunk(4, tmp_path)


def test_what_the_start_states_is_read_again(tmp_path: Path) -> None:
    received = ReceivedSeries(tmp_path / "spool", "name", packed(0, tmp_path), None)
    received.add(0, packed(0, tmp_path))
    received.flush()
    with open_run(received.master) as opened:
        assert (opened.run.detector.panels, opened.run.beam.wavelength) == ((), None)
    received.restate(start(1))
    received.flush()
    with open_run(received.master) as opened:
        run = opened.run
    detector = run.detector
    assert (detector.distance, detector.beam_center, detector.saturation_value) == (0.1, (12.0, 8.0), 900)
    assert run.beam.wavelength == 1.25
    assert detector.lab(12.0, 8.0)[0] == pytest.approx([0, 0, 0.1])
    with h5py.File(received.master) as file:
        kept = file["entry/instrument/detector/detectorSpecific"]
        assert '"odd": "kept"' in kept["start_message"].asstr()[()]
        assert kept["series_unique_id"].asstr()[()] == "unique"
        assert file["entry/instrument/detector/count_time"][()] == 0.5


def test_many_files_in_any_order_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    received = ReceivedSeries(folder, "name", packed(0, tmp_path), start(None))
    numbers = [5000, 0, 1000, 2000, 3000, 4000, 5001, 1]
    for number in numbers:
        received.add(number, packed(number, tmp_path))
        assert (folder / ".reserve").stat().st_size == RESERVE
    received.finish()
    assert len(list(folder.iterdir())) == 6 + 1
    with open_run(received.master) as opened:
        assert [opened.stored(number) for number in numbers] == [chunk(number, tmp_path) for number in numbers]


def test_values_that_images_bring_along(tmp_path: Path) -> None:
    received = ReceivedSeries(tmp_path / "spool", "name", packed(0, tmp_path), start(5))
    for number, values in {
        3: {"pulse": (1 << 63) - 1, "start_time": 0.5, "mixed": 1, "note": "a"},
        0: {"pulse": 7, "start_time": 0.25, "mixed": 0.5, "note": 4},
        1: {"late": 1, "mixed": 2},
        9: {"pulse": 5},
    }.items():
        received.values.add(number, values)
    received.add(0, packed(0, tmp_path))
    for finish in (received.flush, lambda: received.finish(10)):
        finish()
        with h5py.File(received.master) as file:
            kept = file["entry/instrument/detector/detectorSpecific/image_values"]
            rows = {name: (kept[name].asstr() if name == "note" else kept[name])[()].tolist()[:5] for name in kept}
            n = len(kept["pulse"])
            unit = kept["start_time"].attrs["units"]
        nan = pytest.approx(float("nan"), nan_ok=True)
        assert rows == {
            "pulse": [7, -1, -1, (1 << 63) - 1, -1],
            "start_time": [0.25, nan, nan, 0.5, nan],
            "mixed": [0.5, 2.0, nan, 1.0, nan],
            "note": ["4", "", "", "a", ""],
            "late": [-1, 1, -1, -1, -1],
        }
        assert unit == "s"
    assert n == 10


def test_names_of_values_are_bounded(tmp_path: Path) -> None:
    received = ReceivedSeries(tmp_path / "spool", "name", packed(0, tmp_path), None)
    for number in range(3):
        received.values.add(number, {f"{number}-{i}": i for i in range(50)})
    assert len(received.values) == MOST_NAMES
    assert 0 < len(received.values.refused) <= MOST_NAMES


def test_a_folder_that_holds_something_is_not_written_into(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="output exists"):
        ReceivedSeries(tmp_path, "name", packed(0, tmp_path), None)


def test_other_images_do_not_fit(tmp_path: Path) -> None:
    received = ReceivedSeries(tmp_path / "spool", "name", packed(0, tmp_path), None)
    assert received.why_not(packed(1, tmp_path)) == ""
    assert "int16" in received.why_not(PackedImage(SHAPE, np.dtype("<i2"), "bslz4", b""))
    assert "not packed" in received.why_not(PackedImage(SHAPE, np.dtype("<u2"), None, b""))
