"""Draws one image, with what was found on it and why, or a run at a glance, as a PNG file."""

from hitsieve.picture.canvas import in_one_plane, on_one_grid
from hitsieve.picture.glance import Along, draw_glance
from hitsieve.picture.marks import round_d
from hitsieve.picture.page import draw, is_drawn
from hitsieve.picture.scene import Curve, IceBands, RunCounts, Scene, SpotKind

__all__ = [
    "Along",
    "Curve",
    "IceBands",
    "RunCounts",
    "Scene",
    "SpotKind",
    "draw",
    "draw_glance",
    "in_one_plane",
    "is_drawn",
    "on_one_grid",
    "round_d",
]
