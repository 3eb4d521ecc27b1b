"""Finds lattices in the spots of an image."""

from hitsieve.index.bravais import BravaisCandidate, bravais_candidates
from hitsieve.index.cellfile import read_cell
from hitsieve.index.consensus import FEWEST_AGREEING, FoundCell, find_cell, find_cells
from hitsieve.index.doubt import another_cell
from hitsieve.index.geometry import GeometryCheck, GeometryFit
from hitsieve.index.known import CellIndexer, index_known
from hitsieve.index.predict import Predicted, predict, reach_of, resolution_within, why_not_predicted
from hitsieve.index.unknown import ConsensusCell, consensus_cell, index_unknown
from hitsieve.index.vectors import Vectors, reciprocal_vectors

__all__ = [
    "FEWEST_AGREEING",
    "BravaisCandidate",
    "CellIndexer",
    "ConsensusCell",
    "FoundCell",
    "GeometryCheck",
    "GeometryFit",
    "Predicted",
    "Vectors",
    "another_cell",
    "bravais_candidates",
    "consensus_cell",
    "find_cell",
    "find_cells",
    "index_known",
    "index_unknown",
    "predict",
    "reach_of",
    "read_cell",
    "reciprocal_vectors",
    "resolution_within",
    "why_not_predicted",
]
