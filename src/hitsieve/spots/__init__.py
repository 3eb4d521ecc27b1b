"""Finds spots on images, in their stored form where possible."""

from hitsieve.spots.finder import Finder, Searched, build_finder

__all__ = ["Finder", "Searched", "build_finder"]
