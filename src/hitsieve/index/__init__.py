"""Finds lattices in the spots of an image."""

from hitsieve.index.known import CellIndexer, index_known
from hitsieve.index.vectors import reciprocal_vectors

__all__ = ["CellIndexer", "index_known", "reciprocal_vectors"]
