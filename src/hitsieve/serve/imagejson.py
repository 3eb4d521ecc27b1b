"""The facts of an image as JSON for the page: short numbers, and null where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.model import SpotFlag, Spots
from hitsieve.picture import round_d
from hitsieve.pipeline.view.image import ImageFacts, Shown
from hitsieve.pipeline.view.lattice import Prediction
from hitsieve.pipeline.view.sheet import Ring, Sheet
from hitsieve.pipeline.words import headline, rows

MOST_SPOTS = 5000
"""Spots of an image that are drawn, the strongest."""
N_TICKS = 8
"""Resolutions named along the axis of the profile."""


def facts_as_json(facts: ImageFacts) -> dict[str, Any]:
    """What the page shows of an image besides its counts."""
    account = facts.account
    lattices, spots = account.results.lattices, account.results.spots
    drawn = np.sort(np.argsort(-spots.snr, kind="stable")[:MOST_SPOTS])
    return {
        "stem": account.stem,
        "image": account.image,
        "images": facts.n_images,
        "state": account.state.name.lower(),
        "headline": headline(account),
        "why": rows(account),
        "around": facts.around,
        "saturated_above": facts.saturated_above,
        "sheet": _sheet(facts.sheet),
        "n_spots": len(spots),
        "spots": _spots(spots.take(drawn), facts.kinds[drawn]),
        "lattices": [
            {
                "cell": numbers(lattices.cell[i], 3),
                "indexed": int(lattices.n_indexed[i]),
                **_predicted(facts.predicted[i] if i < len(facts.predicted) else None),
            }
            for i in range(len(lattices))
        ],
    }


def shown_as_json(shown: Shown) -> dict[str, Any]:
    """Background, thresholds and peaks over resolution, and what another search says."""
    drawn = np.sort(np.argsort(-shown.spots.snr, kind="stable")[:MOST_SPOTS])
    axis, at = "tile", np.arange(len(shown.mean), dtype=np.float64)
    if shown.angle is not None:
        axis, at = "angle", np.degrees(shown.angle)
        if shown.wavelength is not None:
            axis, at = "q", 2.0 * np.sin(shown.angle / 2.0) / shown.wavelength
    ice = shown.ice
    return {
        "axis": axis,
        "at": numbers(at, 5),
        "mean": numbers(shown.mean, 4),
        "threshold": numbers(shown.threshold, 4),
        "local": shown.local,
        "spots": {
            "at": numbers(at[shown.bins[drawn]], 5),
            "peak": numbers(shown.spots.peak[drawn], 1),
            "kind": shown.kinds[drawn].tolist(),
        },
        "ticks": round_d(float(at[-1]), N_TICKS) if axis == "q" else [],
        "ice": ice and {"q": ice.q.tolist(), "half_width": ice.half_width, "left_out": ice.left_out},
        "why": rows(shown.account),
    }


def numbers(values: npt.NDArray[Any], decimals: int) -> list[float | None]:
    """Numbers with so many decimals; null where they are not finite."""
    rounded = np.round(np.asarray(values, dtype=np.float64), decimals)
    return [value if known else None for value, known in zip(rounded.tolist(), np.isfinite(rounded), strict=True)]


def _spots(spots: Spots, kinds: npt.NDArray[np.uint8]) -> dict[str, list[Any]]:
    return {
        "x": numbers(spots.x, 2),
        "y": numbers(spots.y, 2),
        "d": numbers(spots.resolution, 2),
        "snr": numbers(spots.snr, 1),
        "intensity": numbers(spots.intensity, 0),
        "peak": numbers(spots.peak, 0),
        "pixels": spots.n_pixels.tolist(),
        "kind": kinds.tolist(),
        "ice": (spots.flags & int(SpotFlag.ICE) != 0).astype(int).tolist(),
        "lattice": spots.lattice.tolist(),
        "h": spots.h.tolist(),
        "k": spots.k.tolist(),
        "l": spots.l.tolist(),
    }


def _predicted(prediction: Prediction | None) -> dict[str, Any]:
    if prediction is None:
        return {"reach": None, "predicted": None, "why_not": ""}
    made = prediction.reflections
    h, k, l = made.hkl.T.tolist()  # noqa: E741 - their names
    told = {"x": numbers(made.x, 2), "y": numbers(made.y, 2), "h": h, "k": k, "l": l}
    return {"reach": prediction.reach, "predicted": told, "why_not": prediction.why_not}


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {
        "shape": sheet.shape,
        "assembled": sheet.assembled,
        "panels": [
            {
                "first": panel.first,
                "shape": panel.shape,
                "origin": panel.origin,
                "fast": panel.fast,
                "slow": panel.slow,
            }
            for panel in sheet.panels
        ],
        "wavelength": sheet.beam.wavelength,
        "direction": sheet.beam.direction,
        "centre": sheet.centre,
        "centre_panel": sheet.centre_panel,
        "rings": [_ring(ring) for ring in sheet.rings],
        "ice": [_ring(ring) for ring in sheet.ice],
    }


def _ring(ring: Ring) -> dict[str, Any]:
    return {"d": ring.d, "lines": [[round(value, 1) for point in line for value in point] for line in ring.lines]}
