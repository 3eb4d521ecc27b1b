"""Detectors that can be simulated, from the TOML files beside this module."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError
from hitsieve.model import Beam, Detector, Panel
from hitsieve.testing.settings import SimulateSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GAP, DEAD, HOT = 1, 2, 16
"""Bits of the NXmx pixel_mask: no sensor here, dead, noisy."""

# NumPy counts bytes in u8 and i8, not bits.
_NUMPY_NAMES = {f"{kind[0]}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32)}


@dataclass(frozen=True, slots=True)
class BadPixels:
    """Flat numbers of pixels that misbehave, and the counts of the hot ones."""

    dead: npt.NDArray[np.int64]
    hot: npt.NDArray[np.int64]
    """Hot pixels of the pixel mask."""
    hot_mean: npt.NDArray[np.float64]
    unmasked: npt.NDArray[np.int64]
    """Hot pixels that the mask does not know."""
    unmasked_counts: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Instrument:
    """A detector at its place in the beam."""

    detector: Detector
    beam: Beam
    mask: npt.NDArray[np.uint32]
    """NXmx pixel_mask, shape (slow, fast)."""
    distance: float
    """Sample to detector (m)."""
    centre: tuple[float, float]
    """(x, y) in pixels."""
    pixel_size: float
    """Side of the square pixels (m)."""
    dtype: np.dtype[np.generic]
    blind_value: int
    """Value of pixels in gaps."""
    most: int
    """Largest count that a pixel holds."""
    frame_time: float
    count_time: float
    bad: BadPixels
    modules: tuple[tuple[int, int, int, int], ...]
    """First pixel (slow, fast) and shape (slow, fast) of each module in the image."""

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Pixels that the mask calls good, shape (slow, fast)."""
        return np.asarray(self.mask == 0)


@cache
def _data(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("hitsieve.testing") / "detectors" / f"{name}.toml").read_text("utf-8"))


def _modules(data: dict[str, Any]) -> tuple[tuple[int, int, int, int], ...]:
    """First pixel and shape of each module, in raster order."""
    modules = data["modules"]
    step, shape = modules["step"], modules["shape"]
    rows, columns = range(modules["grid"][0]), range(modules["grid"][1])
    return tuple((i * step[0], j * step[1], shape[0], shape[1]) for i in rows for j in columns)


def _gaps(data: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Pixels with no sensor, between modules and between the chips of a module."""
    modules = data["modules"]
    chip = modules.get("chip", modules["shape"])
    chip_step = modules.get("chip_step", modules["shape"])
    module = np.ones(modules["shape"], dtype=np.bool_)
    for s in range(0, module.shape[0], chip_step[0]):
        for f in range(0, module.shape[1], chip_step[1]):
            module[s : s + chip[0], f : f + chip[1]] = False
    gaps = np.ones(data["shape"], dtype=np.bool_)
    for s, f, height, width in _modules(data):
        gaps[s : s + height, f : f + width] = module
    return gaps


def _bad_pixels(settings: SimulateSettings, gaps: npt.NDArray[np.bool_]) -> BadPixels:
    random = np.random.default_rng([settings.seed, 1])
    counts = (settings.dead_pixels, settings.hot_pixels, settings.unmasked_hot_pixels)
    sensitive = np.flatnonzero(~gaps)
    if sum(counts) > sensitive.size // 10:
        raise SettingsError(
            f"{sum(counts)} bad pixels are more than a tenth of the {sensitive.size} of {settings.detector}",
            mend="ask for fewer dead or hot pixels",
        )
    chosen = random.choice(sensitive, sum(counts), replace=False)
    dead, hot, unmasked = np.split(chosen, np.cumsum(counts)[:-1])
    return BadPixels(
        dead=dead,
        hot=hot,
        hot_mean=np.exp(random.uniform(np.log(20), np.log(5000), hot.size)),
        unmasked=unmasked,
        unmasked_counts=random.integers(10, 200, unmasked.size),
    )


def instrument(settings: SimulateSettings) -> Instrument:
    """Build the detector and the beam that the settings ask for."""
    data = _data(settings.detector)
    dtype = np.dtype(_NUMPY_NAMES[settings.dtype or data["dtype"]])
    limits = np.iinfo(dtype)
    unsigned = dtype.kind == "u"
    # Signed detectors mark gaps at the bottom of the type (JUNGFRAU) or by -1 (PILATUS), unsigned ones at its top.
    blind_value = int(limits.max) if unsigned else -1 if data["blind"] == "minus one" else int(limits.min)
    most = min(int(data["most"]), int(limits.max) - int(unsigned))
    gaps = _gaps(data)
    bad = _bad_pixels(settings, gaps)
    mask = np.where(gaps, np.uint32(GAP), np.uint32(0))
    mask.flat[bad.dead] = DEAD
    mask.flat[bad.hot] = HOT
    distance = settings.distance or float(data["distance"])
    size = float(data["pixel_size"])
    x, y = data["beam_center"]
    centre = (
        x if settings.beam_center_x is None else settings.beam_center_x,
        y if settings.beam_center_y is None else settings.beam_center_y,
    )
    # Seen from the source, columns run to the right and rows down: -x and -y of the laboratory.
    panel = Panel(
        name="detector",
        origin=(centre[0] * size, centre[1] * size, distance),
        fast=(-size, 0.0, 0.0),
        slow=(0.0, -size, 0.0),
        first=(0, 0),
        shape=mask.shape,
    )
    return Instrument(
        detector=Detector(
            shape=mask.shape,
            panels=(panel,),
            pixel_mask=mask,
            saturation_value=most - 1,
            underload_value=0 if unsigned or blind_value == -1 else blind_value + 1,
            description=data["description"],
            distance=distance,
            beam_center=centre,
            pixel_size=(size, size),
            sensor_material=data["sensor_material"],
            sensor_thickness=data["sensor_thickness"],
        ),
        beam=Beam(wavelength=settings.wavelength),
        mask=mask,
        distance=distance,
        centre=centre,
        pixel_size=size,
        dtype=dtype,
        blind_value=blind_value,
        most=most,
        frame_time=data["frame_time"],
        count_time=data["count_time"],
        bad=bad,
        modules=_modules(data),
    )
