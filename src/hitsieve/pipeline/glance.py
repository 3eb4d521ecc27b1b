"""Draws a finished run at a glance, from its outputs alone."""

from __future__ import annotations

import numpy as np

from hitsieve.model import State
from hitsieve.picture import Along, Curve, RunCounts, Scene, SpotKind, draw_glance
from hitsieve.source import open_run
from hitsieve.spots import good_pixels
from hitsieve.write import StoredResults


def glance(stored: StoredResults) -> bytes | None:
    """Draw the hit with most spots that count, and the hit rate along the run; None where there is no hit to draw.

    Returns
    -------
    bytes or None
        A PNG file.

    Raises
    ------
    SourceError
        The hit-only file cannot be read.
    """
    hits = np.flatnonzero(stored.column("state") == State.HIT)
    if not len(hits) or not stored.outputs.hits.is_file():
        return None
    row = int(np.argmax(stored.column("n_spots_counted")[hits]))
    results = stored.read([hits[row]])
    with open_run(stored.outputs.hits) as opened:
        run, pixels = opened.run, opened.pixels(row)
        nothing = np.empty(0)
        scene = Scene(
            title=f"{stored.summary.source.stem}, image {hits[row]}: {len(results.spots)} spots",
            lines=(),
            image=pixels,
            used=good_pixels(run, pixels),
            detector=run.detector,
            beam=run.beam,
            spots=results.spots,
            kinds=np.full(len(results.spots), SpotKind.COUNTED, dtype=np.uint8),
            curve=Curve(None, nothing, nothing, np.zeros(pixels.shape, dtype=np.uint16), local=True),
            counts=RunCounts(np.empty(0, dtype=np.int32), 0, None),
        )
    line = stored.summary.timeline
    n_searched = np.asarray(line.n_searched, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.asarray(line.n_hits, dtype=np.float64) / n_searched
    return draw_glance(scene, Along(np.asarray(line.first, dtype=np.int64), rate, len(stored)))
