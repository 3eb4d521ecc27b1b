"""Finds lattices in the spots of an image."""

from hitsieve.index.cellfile import read_cell
from hitsieve.index.known import CellIndexer, index_known
from hitsieve.index.unknown import ConsensusCell, consensus_cell, index_unknown
from hitsieve.index.vectors import reciprocal_vectors

__all__ = [
    "CellIndexer",
    "ConsensusCell",
    "consensus_cell",
    "index_known",
    "index_unknown",
    "read_cell",
    "reciprocal_vectors",
]
