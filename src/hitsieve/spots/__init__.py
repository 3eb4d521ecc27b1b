"""Finds spots on images, in their stored form where possible."""

from hitsieve.spots.finder import Finder, Searched, build_finder, good_pixels
from hitsieve.spots.profile import Profile, background_profile

__all__ = ["Finder", "Profile", "Searched", "background_profile", "build_finder", "good_pixels"]
