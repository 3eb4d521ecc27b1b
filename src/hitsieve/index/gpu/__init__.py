"""Indexes with a known cell on graphics cards, with the answers of the compiled core."""

from hitsieve.index.gpu.searching import CardIndexing, devices_of
from hitsieve.index.gpu.trials import kernels

__all__ = ["CardIndexing", "devices_of", "kernels"]
