"""What the charts of a run are drawn from, as JSON: short, and null where nothing is known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.pipeline.view.along import Histogram, Stretch
from hitsieve.pipeline.view.grid import Grid, GridView
from hitsieve.pipeline.view.overview import Overview

CELL_NAMES = ("a", "b", "c", "α", "β", "γ")  # noqa: RUF001 - as angles are called
_UNITS = ("Å",) * 3 + ("°",) * 3


def stretch_json(overview: Overview, part: Stretch) -> dict[str, Any]:
    """A stretch of a run; lists have one entry a bin."""
    low, middle, high = part.background
    return {
        "n_images": len(overview),
        "min_spots": _min_spots(overview),
        "apart": overview.apart,
        "first": part.first,
        "last": part.last,
        "edges": part.edges.tolist(),
        "hits": part.n_hits.tolist(),
        "misses": part.n_misses.tolist(),
        "unreadable": part.n_unreadable.tolist(),
        "missing": part.n_missing.tolist(),
        "low": _short(part.low),
        "high": _short(part.high),
        "first_hit": part.first_hit.tolist(),
        "spots": [None if most < 0 else most for most in part.most_spots.tolist()],
        "background": {"p10": _short(low), "p50": _short(middle), "p90": _short(high)},
        "histograms": {
            "spots": _histogram(part.spots),
            "resolution": _histogram(part.resolution),
            "cell": [
                {"name": name, "unit": unit, **_histogram(one)}
                for name, unit, one in zip(CELL_NAMES, _UNITS, part.cell, strict=False)
            ],
        },
        "n_lattices": part.n_lattices,
        "pump": {
            "edges": part.pump_edges.tolist(),
            "states": [
                {
                    "name": state.name,
                    "number": state.number,
                    "hits": state.n_hits.tolist(),
                    "searched": state.n_searched.tolist(),
                }
                for state in part.pump
            ],
            "of_image": None if part.pump_of_image is None else part.pump_of_image.tolist(),
        },
        "segments": [
            {"kind": one.kind, "first": one.first, "last": one.last, "rate": _one(one.hit_rate)}
            for one in part.segments
        ],
        "n_segments": part.n_segments,
    }


def grid_json(grid: Grid, seen: GridView) -> dict[str, Any]:
    """A part of a grid scan; lists of lists have one list a row of squares."""
    return {
        "columns": grid.columns,
        "rows": grid.rows,
        "origin": grid.origin,
        "column_edges": seen.column_edges.tolist(),
        "row_edges": seen.row_edges.tolist(),
        "images": seen.n_images.tolist(),
        "hits": seen.n_hits.tolist(),
        "searched": seen.n_searched.tolist(),
        "spots": seen.most_spots.tolist(),
        "image": seen.image.tolist(),
        "outside": seen.n_outside,
    }


def as_json(value: Any) -> str:
    """The shortest JSON; NaN would be a fault.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _min_spots(overview: Overview) -> int | None:
    rule = overview.summary.rule
    return None if rule.rule == "indexed" else rule.min_spots


def _histogram(one: Histogram) -> dict[str, Any]:
    told: dict[str, Any] = {"edges": _short(one.edges, digits=6), "hits": one.hits.tolist()}
    return told if one.misses is None else told | {"misses": one.misses.tolist()}


def _short(values: npt.NDArray[np.float64], digits: int = 4) -> list[float | None]:
    return [_one(value, digits) for value in _floats(values)]


def _floats(values: npt.NDArray[np.float64]) -> Iterable[float]:
    return map(float, values)


def _one(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.{digits}g}")
