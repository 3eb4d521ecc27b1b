"""The plain NumPy finder of the tests, as a judge of the compiled one on whole images."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from benchmarks.child import ROOT
from hitsieve.settings import SpotSettings
from hitsieve.source import OpenedRun
from hitsieve.spots import Searched
from hitsieve.spots.bins import rings


def _reference() -> ModuleType:
    name = "hitsieve_reference"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "spots" / "reference.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def disagreements(opened: OpenedRun, found: Searched, images: Sequence[int]) -> str:
    """Search some images of a simulated JUNGFRAU run anew, unpacked; names what differs, or nothing."""
    reference, run, settings = _reference(), opened.run, SpotSettings()
    detector = run.detector
    assert run.dtype.kind == "i"
    assert len(detector.panels) == 1
    assert detector.pixel_mask is not None
    bins = rings(detector, run.beam, settings.bin_width)
    params = reference.Params(
        bins=bins.number,
        valid=(detector.pixel_mask == 0) & (detector.panel_map() == 0),
        background_bins=bins.background,
        underload=detector.underload_value or 0,
        saturation=detector.saturation_value,
        **settings.model_dump(exclude={"bin_width"}),
    )
    odd = []
    for image in images:
        want = reference.find(opened.pixels(image), params).columns()
        got = found.one(image)
        odd += [
            f"image {image}: {name}"
            for name, values in want.items()
            if not np.array_equal(getattr(got, name), values, equal_nan=values.dtype.kind == "f")
        ]
    return "; ".join(odd)
