"""Where fields and modules disagree, the modules say where the detector is; and what their paths count from."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.model import Run
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

from .builders import SHAPE, axis, field, nxmx

PIXEL = 1e-4
CENTER = (3.0, 2.0)
"""Where the beam meets the module."""
DISTANCE = 0.2


def opened(path: Path, *items: str) -> Run:
    with open_run([path], SourceSettings(set=items)) as run:
        return run.run


def with_module(path: Path, depends_on: str = "transformations/det_z") -> Path:
    """A run whose one module names no transformation for its pixels, so that of the detector counts."""
    with h5py.File(nxmx(path), "a") as file:
        detector = file["entry/instrument/detector"]
        for name in ("distance", "beam_center_x", "beam_center_y", "x_pixel_size", "y_pixel_size"):
            del detector[name]
        moves = detector.create_group("transformations")
        offset = [CENTER[0] * PIXEL, CENTER[1] * PIXEL, 0]
        axis(moves, "det_z", "translation", DISTANCE, "m", [0, 0, 1], ".", offset=offset, offset_units="m")
        detector["depends_on"] = depends_on
        module = detector.create_group("module")
        module.attrs["NX_class"] = "NXdetector_module"
        module["data_origin"], module["data_size"] = [0, 0], list(SHAPE)
        for name, direction in (("fast", [-1, 0, 0]), ("slow", [0, -1, 0])):
            axis(module, f"{name}_pixel_direction", "translation", PIXEL, "m", direction, ".")
            del module[f"{name}_pixel_direction"].attrs["depends_on"]
    return path


def state(path: Path, center: tuple[float, float], distance: float) -> Path:
    """Add stated values."""
    with h5py.File(path, "a") as file:
        detector = file["entry/instrument/detector"]
        field(detector, "beam_center_x", center[0])
        field(detector, "beam_center_y", center[1])
        field(detector, "distance", distance, "m")
    return path


@pytest.mark.parametrize(
    "depends_on",
    ["transformations/det_z", "./transformations/det_z", "/entry/instrument/detector/transformations/det_z"],
)
def test_relative_path_counts_from_the_detector(tmp_path: Path, depends_on: str) -> None:
    run = opened(with_module(tmp_path / "a.h5", depends_on))
    assert not run.problems
    assert run.detector.panels[0].name == "module"
    np.testing.assert_allclose(run.detector.panels[0].lab(*CENTER), [0, 0, DISTANCE], atol=1e-12)


@pytest.mark.parametrize(
    ("center", "distance"), [((40.0, 60.0), 0.2), ((3.0, 2.0), 0.3), ((40.0, 60.0), 0.3), ((3.0, 40.0), 0.2)]
)
def test_contradicted_values_are_the_panels(tmp_path: Path, center: tuple[float, float], distance: float) -> None:
    run = opened(state(with_module(tmp_path / "a.h5"), center, distance))
    assert any("the modules are used" in p.what for p in run.problems)
    assert run.detector.beam_center == pytest.approx(CENTER)
    assert run.detector.distance == pytest.approx(DISTANCE)


def test_values_that_agree_are_as_stated(tmp_path: Path) -> None:
    run = opened(state(with_module(tmp_path / "a.h5"), (3.5, 2.5), 0.2001))
    assert not run.problems
    assert run.detector.beam_center == (3.5, 2.5)
    assert run.detector.distance == 0.2001


@pytest.mark.parametrize("stated", [(40.0, 60.0), (3.5, 2.5)])
def test_half_a_beam_centre_leaves_the_other_half(tmp_path: Path, stated: tuple[float, float]) -> None:
    path = with_module(tmp_path / "a.h5")
    before = opened(path).detector.panels[0]
    detector = opened(state(path, stated, DISTANCE), "beam_center_x=1.5").detector
    assert detector.beam_center == pytest.approx((1.5, CENTER[1]))
    move = np.subtract(detector.panels[0].origin, before.origin)
    np.testing.assert_allclose(move, [-1.5 * PIXEL, 0, 0], atol=1e-12)
    np.testing.assert_allclose(detector.panels[0].lab(1.5, CENTER[1]), [0, 0, DISTANCE], atol=1e-12)
