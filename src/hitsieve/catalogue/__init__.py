"""The one record of a run, and the local catalogue of all runs with its search."""

from hitsieve.catalogue.about import About, Home
from hitsieve.catalogue.record import CELL_FIELDS, FileKind, PumpState, Record, StoredFile, homes

__all__ = ["CELL_FIELDS", "About", "FileKind", "Home", "PumpState", "Record", "StoredFile", "homes"]
