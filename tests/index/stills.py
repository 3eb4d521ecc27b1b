"""Spot lists, from their home."""

from hitsieve.testing.lists import real_list as real_list
from hitsieve.testing.stills import *  # noqa: F403
from hitsieve.testing.stills import Floats as Floats
