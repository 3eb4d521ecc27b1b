"""Draws one image, with what was found on it and why, as a PNG file."""

from hitsieve.picture.page import draw, is_drawn
from hitsieve.picture.scene import Curve, IceBands, RunCounts, Scene, SpotKind

__all__ = ["Curve", "IceBands", "RunCounts", "Scene", "SpotKind", "draw", "is_drawn"]
