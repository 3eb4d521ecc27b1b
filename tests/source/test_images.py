"""CBF and other images, written with fabio."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import fabio.cbfimage
import fabio.edfimage
import numpy as np
import pytest

from hitsieve.errors import SourceError
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

from .builders import SHAPE

HEADER = """
# Detector: PILATUS3 6M, S/N 60-0119, Diamond
# 2019-09-11T13:20:28.123
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness 0.000450 m
# Exposure_time 0.0190000 s
# Count_cutoff 115897 counts
# Wavelength 0.96859 A
# Detector_distance 0.35100 m
# Beam_xy (4.50, 2.25) pixels
"""


def cbf(path: Path, first: int = 0, header: str | None = HEADER, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    data = np.arange(first, first + shape[0] * shape[1], dtype=np.int32).reshape(shape)
    data[0, :2] = -1, -2
    fields = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": header} if header else {}
    plain = path if path.suffix == ".cbf" else path.with_suffix("")
    fabio.cbfimage.CbfImage(data=data, header=fields).write(str(plain))
    packer = {".gz": gzip, ".bz2": bz2}.get(path.suffix)
    if packer is not None:
        path.write_bytes(packer.compress(plain.read_bytes()))
        plain.unlink()
    return data


@pytest.mark.parametrize("suffix", [".cbf", ".cbf.gz", ".cbf.bz2"])
def test_pilatus_images(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"thau_3_2_{k:04d}{suffix}" for k in range(1, 4)]
    expected = [cbf(path, 10 * k) for k, path in enumerate(paths)]
    with open_run(paths) as opened:
        run = opened.run
        assert (run.style, run.stem, len(run), run.dtype) == ("images", "thau_3_2", 3, np.int32)
        assert [f.path for f in run.files] == paths
        assert all(f.codec is None for f in run.files)
        for i, image in enumerate(expected):
            np.testing.assert_array_equal(opened.pixels(i), image)
            with pytest.raises(SourceError, match="read directly"):
                opened.stored(i)
        assert run.beam.wavelength == 0.96859
        assert run.detector.distance == 0.351
        assert run.detector.beam_center == (4.5, 2.25)
        assert run.detector.pixel_size == (172e-6, 172e-6)
        assert run.detector.saturation_value == 115897
        assert run.detector.underload_value == 0
        assert run.detector.sensor_material == "Si"
        assert run.detector.sensor_thickness == 0.00045
        np.testing.assert_allclose(run.detector.lab(4.5, 2.25), [[0, 0, 0.351]], atol=1e-15)
        assert {p.what for p in run.problems} == {"states no pixel mask"}


def test_header_without_geometry_is_told(tmp_path: Path) -> None:
    cbf(tmp_path / "a.cbf", header=None)
    with open_run([tmp_path / "a.cbf"]) as opened:
        assert opened.run.stem == "a"
        assert opened.run.detector.panels == ()
        assert opened.run.beam.wavelength is None
        assert any("states no geometry" in p.what for p in opened.run.problems)


def test_zero_distance_means_not_set(tmp_path: Path) -> None:
    cbf(tmp_path / "a.cbf", header=HEADER.replace("0.35100", "0.0"))
    with open_run([tmp_path / "a.cbf"]) as opened:
        assert opened.run.detector.distance is None


def test_edf(tmp_path: Path) -> None:
    data = np.arange(48, dtype=np.uint16).reshape(SHAPE)
    image = fabio.edfimage.EdfImage(data=data)
    image.append_frame(data=data + 1)
    image.write(str(tmp_path / "a.edf"))
    with open_run([tmp_path / "a.edf"]) as opened:
        assert len(opened.run) == 2
        np.testing.assert_array_equal(opened.pixels(1), data + 1)


def test_image_of_another_size(tmp_path: Path) -> None:
    cbf(tmp_path / "a.cbf")
    cbf(tmp_path / "b.cbf", shape=(8, 6))
    with pytest.raises(SourceError, match=r"8 x 6 pixels.*6 x 8") as caught:
        open_run([tmp_path / "a.cbf", tmp_path / "b.cbf"])
    assert "b.cbf" in str(caught.value)


def test_floats_are_refused(tmp_path: Path) -> None:
    fabio.edfimage.EdfImage(data=np.ones(SHAPE, np.float32)).write(str(tmp_path / "a.edf"))
    with pytest.raises(SourceError, match="integer counts"):
        open_run([tmp_path / "a.edf"])


def test_truncated_later_image_is_told_when_read(tmp_path: Path) -> None:
    paths = [tmp_path / "a_1.cbf", tmp_path / "a_2.cbf"]
    for path in paths:
        cbf(path, shape=(200, 300))
    paths[1].write_bytes(paths[1].read_bytes()[:30000])
    with open_run(paths) as opened:
        opened.pixels(0)
        with pytest.raises(SourceError, match=r"a_2\.cbf"):
            opened.pixels(1)


def test_damaged_packed_image_is_unreadable(tmp_path: Path) -> None:
    paths = [tmp_path / "a_1.cbf.gz", tmp_path / "a_2.cbf.gz"]
    for path in paths:
        cbf(path)
    paths[1].write_bytes(b"not gzip at all")
    with open_run(paths) as opened:
        assert set(opened.run.images.unreadable) == {1}
        assert any("a_2" in str(p) for p in opened.run.problems)


def test_every_header_is_read(tmp_path: Path) -> None:
    values = [0.96859, 0.96861, 0.9685]
    paths = [tmp_path / f"a_{k}.cbf" for k in range(3)]
    for path, value in zip(paths, values, strict=True):
        cbf(path, header=HEADER.replace("0.96859", str(value)))
    with open_run(paths) as opened:
        assert opened.run.beam.wavelength == pytest.approx(np.mean(values))
        np.testing.assert_array_equal(opened.run.beam.wavelengths, values)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.96859 A", "1.2 A", ["wavelength", "1.2 angstrom", "0.96859 angstrom"]),
        ("0.35100 m", "0.2 m", ["distance", "0.2 m", "0.351 m"]),
        ("(4.50, 2.25)", "(4.50, 3.25)", ["beam centre", "(4.5, 3.25)", "(4.5, 2.25)"]),
        ("172e-6 m x 172e-6 m", "75e-6 m x 75e-6 m", ["pixel size", "0.000172", "7.5e-05"]),
    ],
)
@pytest.mark.parametrize("suffix", [".cbf", ".cbf.gz"])
def test_headers_of_different_experiments(tmp_path: Path, suffix: str, old: str, new: str, words: list[str]) -> None:
    paths = [tmp_path / f"a_{k}{suffix}" for k in range(4)]
    for path in paths:
        cbf(path, header=HEADER.replace(old, new) if path == paths[2] else HEADER)
    with pytest.raises(SourceError) as caught:
        open_run(paths)
    for word in (*words, str(paths[0]), str(paths[2])):
        assert word in str(caught.value)


def test_distance_set_for_all(tmp_path: Path) -> None:
    paths = [tmp_path / f"a_{k}.cbf" for k in range(2)]
    for path, distance in zip(paths, ("0.35100", "0.0"), strict=True):
        cbf(path, header=HEADER.replace("0.35100", distance))
    with open_run(paths) as opened:
        assert opened.run.detector.distance == 0.351
        assert any("a_1.cbf" in p.where and "distance 0" in p.what for p in opened.run.problems)
    cbf(paths[1], header=HEADER.replace("0.35100", "0.2"))
    with open_run(paths, SourceSettings(set=("distance=0.3",))) as opened:
        assert opened.run.detector.distance == 0.3


@pytest.mark.parametrize(
    ("stated", "iso"),
    [
        ("2019-09-11T13:20:28.123", "2019-09-11T13:20:28.123"),
        ("2019-09-11T13:20:28.123456789", "2019-09-11T13:20:28.123456789"),
        ("2019-09-11T13:20:28.123+02:00", "2019-09-11T13:20:28.123+02:00"),
        ("2011/Apr/08 12:34:56.789", "2011-04-08T12:34:56.789"),
        ("sometime or other", None),
    ],
)
def test_times_of_the_images(tmp_path: Path, stated: str, iso: str | None) -> None:
    cbf(tmp_path / "a.cbf", header=HEADER.replace("2019-09-11T13:20:28.123", stated))
    with open_run(tmp_path / "a.cbf") as opened:
        headers = opened.run.headers
        assert headers is not None
        assert headers.start_time == iso
        assert headers.text[0].strip() == HEADER.replace("2019-09-11T13:20:28.123", stated).strip()
        assert headers.count_time.tolist() == [0.019]
        assert np.isnan(headers.frame_time).all()


def test_image_named_twice(tmp_path: Path) -> None:
    cbf(tmp_path / "a.cbf")
    (tmp_path / "b.cbf").symlink_to(tmp_path / "a.cbf")
    for other in ("a.cbf", "b.cbf"):
        with pytest.raises(SourceError, match="each file once"):
            open_run([tmp_path / "a.cbf", tmp_path / other])
