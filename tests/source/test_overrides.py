"""What the user sets takes the place of what the source says, and is recorded."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.errors import MetadataError, SettingsError
from hitsieve.model import Run
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

from .builders import SHAPE, counts, data_file, nxmx


def opened(path: Path, *items: str, **settings: object) -> Run:
    with open_run([path], SourceSettings(set=items, **settings)) as run:
        return run.run


def test_everything_set_on_a_bare_file(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 1))
    items = ("distance=0.15", "wavelength=1.2", "beam_center_x=3", "beam_center_y=2", "pixel_size=75e-6")
    run = opened(path, *items, "saturation_value=1000", "underload_value=-1", "sample_name=my crystal")
    (panel,) = run.detector.panels
    np.testing.assert_allclose(panel.lab(3, 2), [0, 0, 0.15], atol=1e-15)
    assert run.beam.wavelength == 1.2
    assert (run.detector.saturation_value, run.detector.underload_value) == (1000, -1)
    assert run.overrides["sample_name"] == "my crystal"
    sensed = opened(path, "sensor_material=CdTe", "sensor_thickness=750e-6")
    assert (sensed.detector.sensor_material, sensed.detector.sensor_thickness) == ("CdTe", 750e-6)
    assert sensed.overrides["sensor_thickness"] == "750e-6"
    assert run.overrides["distance"] == "0.15"
    assert {p.what for p in run.problems} == {"states no pixel mask"}


def test_flat_detector_moves(tmp_path: Path) -> None:
    run = opened(nxmx(tmp_path / "a.h5"), "distance=0.3", "beam_center_x=1.5", "pixel_size=1e-4")
    (panel,) = run.detector.panels
    np.testing.assert_allclose(panel.lab(1.5, 2.5), [0, 0, 0.3], atol=1e-15)
    np.testing.assert_allclose(panel.lab(2.5, 2.5), [-1e-4, 0, 0.3], atol=1e-15)
    assert run.detector.beam_center == (1.5, 2.5)
    assert run.detector.pixel_size == (1e-4, 1e-4)


def test_panels_move_rigidly(data_dir: Path) -> None:
    path = data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5"
    before = opened(path)
    after = opened(path, f"distance={before.detector.distance + 0.01}", "beam_center_x=40", "beam_center_y=6530")
    moves = np.array(
        [np.subtract(b.origin, a.origin) for a, b in zip(before.detector.panels, after.detector.panels, strict=True)]
    )
    np.testing.assert_allclose(moves, np.broadcast_to(moves[0], moves.shape), atol=1e-12)
    assert moves[0, 2] == pytest.approx(0.01)
    np.testing.assert_allclose(after.detector.lab(40, 6530)[0, :2], 0, atol=1e-9)
    assert [p.fast for p in before.detector.panels] == [p.fast for p in after.detector.panels]


def test_one_wavelength_for_all_shots(data_dir: Path) -> None:
    run = opened(data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5", "wavelength=1.3")
    assert run.beam.wavelength == 1.3
    assert run.beam.wavelengths is None


@pytest.mark.parametrize(
    "item",
    [
        "distance",
        "distance=",
        "distance=far",
        "distance=-0.1",
        "wavelength=0",
        "wavelength=nan",
        "saturation_value=1.5",
        "sensor_thickness=0",
        "colour=blue",
        "beam_center_x=inf",
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, item: str) -> None:
    with pytest.raises(SettingsError) as caught:
        opened(nxmx(tmp_path / "a.h5"), item)
    assert item in str(caught.value)
    assert caught.value.mend


def test_half_a_beam_centre_needs_the_other_half(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both coordinates"):
        opened(data_file(tmp_path / "a.h5", counts(0, 1)), "beam_center_x=3")


def test_pixel_size_of_several_panels(data_dir: Path) -> None:
    with pytest.raises(SettingsError, match="several panels"):
        opened(data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5", "pixel_size=1e-4")


def test_mask_is_added(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    own, more = np.zeros(SHAPE, np.uint32), np.zeros(SHAPE, bool)
    own[0, 0], more[1, 1] = 2, True
    with h5py.File(path, "a") as file:
        file["entry/instrument/detector/pixel_mask"][...] = own
        file["more"] = more.astype(np.uint8)
    np.save(tmp_path / "more.npy", more)
    for mask in (tmp_path / "more.npy", Path(f"{path}:/more")):
        run = opened(path, mask=mask)
        np.testing.assert_array_equal(run.detector.pixel_mask, own | more)
        assert run.overrides["mask"] == str(mask)


GEOM = """
; two panels, one above the other
wavelength = 1.3 A
clen = 0.08
res = 10000   ; 100 um
rigid_group_all = top,bottom
adu_per_eV = 0.001
top/min_fs = 0
top/max_fs = 7
top/min_ss = 0
top/max_ss = 2
top/corner_x = 4.0
top/corner_y = 1.0
top/fs = -1.0x +0.0y
top/ss = -y
top/coffset = 0.002
bottom/min_fs = 0
bottom/max_fs = 7
bottom/min_ss = 3
bottom/max_ss = 5
bottom/corner_x = -2.5
bottom/corner_y = -4
bottom/fs = 0.6x + 0.8z
bottom/ss = +1.0y
bad_corner/min_fs = 6
bad_corner/max_fs = 7
bad_corner/min_ss = 0
bad_corner/max_ss = 1
bad_corner/panel = top
bad_stop/min_x = 2.0
bad_stop/max_x = 5.0
bad_stop/min_y = -5.0
bad_stop/max_y = 0.0
"""


def geom(folder: Path, text: str = GEOM) -> Path:
    path = folder / "a.geom"
    path.write_text(text)
    return path


def test_crystfel_geometry(tmp_path: Path) -> None:
    run = opened(nxmx(tmp_path / "a.h5"), geometry=geom(tmp_path))
    top, bottom = run.detector.panels
    assert top.origin == pytest.approx((4e-4, 1e-4, 0.082))
    assert top.fast == pytest.approx((-1e-4, 0, 0))
    assert top.slow == pytest.approx((0, -1e-4, 0))
    assert bottom.origin == pytest.approx((-2.5e-4, -4e-4, 0.08))
    assert bottom.fast == pytest.approx((0.6e-4, 0, 0.8e-4))
    assert (bottom.first, bottom.shape) == ((3, 0), (3, 8))
    assert run.beam.wavelength == pytest.approx(1.3)
    assert run.detector.beam_center == pytest.approx((4, 1))
    assert run.detector.distance == pytest.approx(0.082)
    assert run.overrides["geometry"].endswith("a.geom")
    expected = np.zeros(SHAPE, bool)
    expected[:2, 6:] = True
    # x runs from 4 to -4 over the columns of the top panel: 2 < x < 5 are its first two, y < 0 its rows 1 and 2.
    expected[1:3, :2] = True
    # On the bottom panel x > 2 from x = -2.5 + 0.6 * (i + 0.5), i = 8 on: none.
    np.testing.assert_array_equal(run.detector.pixel_mask != 0, expected)


def test_geometry_agrees_with_the_source_that_it_describes(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5"
    panels = opened(path).detector.panels
    lines = []
    for p in panels:
        res = 1 / np.linalg.norm(p.fast)
        lines += [
            f"{p.name}/{key} = {value}"
            for key, value in (
                ("res", repr(float(res))),
                ("min_fs", p.first[1]),
                ("max_fs", p.first[1] + p.shape[1] - 1),
                ("min_ss", p.first[0]),
                ("max_ss", p.first[0] + p.shape[0] - 1),
                ("corner_x", float(p.origin[0] * res)),
                ("corner_y", float(p.origin[1] * res)),
                ("clen", p.origin[2]),
                ("fs", "{:+.15f}x {:+.15f}y {:+.15f}z".format(*np.multiply(p.fast, res))),
                ("ss", "{:+.15f}x {:+.15f}y {:+.15f}z".format(*np.multiply(p.slow, res))),
            )
        ]
    again = opened(path, geometry=geom(tmp_path, "\n".join(lines))).detector.panels
    for a, b in zip(panels, again, strict=True):
        np.testing.assert_allclose(b.origin, a.origin, atol=1e-12)
        np.testing.assert_allclose([b.fast, b.slow], [a.fast, a.slow], atol=1e-15)


def test_camera_length_from_the_input(tmp_path: Path) -> None:
    text = GEOM.replace("clen = 0.08", "clen = /entry/instrument/detector/distance").replace("wavelength", "; ")
    run = opened(nxmx(tmp_path / "a.h5"), geometry=geom(tmp_path, text + "photon_energy = 12.39841984 keV\n"))
    assert run.detector.panels[1].origin[2] == pytest.approx(0.1)
    assert run.beam.wavelength == pytest.approx(1.0)
    assert any("clen" in p.what for p in run.problems)
    with pytest.raises(MetadataError, match="clen"):
        opened(data_file(tmp_path / "b.h5", counts(0, 1)), geometry=geom(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("res = 10000   ; 100 um", "", "no res"),
        ("top/max_fs = 7", "top/max_fs = 8", "does not fit"),
        ("top/max_fs = 7", "top/max_fs = many", "not a number"),
        ("top/fs = -1.0x +0.0y", "top/fs = left", "not a vector"),
        ("top/ss = -y", "top/ss", "line"),
        ("= top\n", "= side\n", "side"),
        ("bad_stop/max_y = 0.0", "", "neither"),
        ("top/corner_y = 1.0", "top/dim0 = 3\ntop/corner_y = 1", "higher-dimensional"),
    ],
)
def test_geometry_files_that_make_no_sense(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GEOM
    with pytest.raises(MetadataError, match=words) as caught:
        opened(nxmx(tmp_path / "a.h5"), geometry=geom(tmp_path, GEOM.replace(old, new)))
    assert "a.geom" in str(caught.value)


def test_absent_or_empty_geometry_file(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with pytest.raises(MetadataError, match="cannot be read"):
        opened(path, geometry=tmp_path / "gone.geom")
    with pytest.raises(MetadataError, match="no panel"):
        opened(path, geometry=geom(tmp_path, "clen = 1"))
