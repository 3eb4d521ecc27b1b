"""The one record of a run, and the local catalogue of all runs with its search."""

from hitsieve.catalogue.about import About, Home
from hitsieve.catalogue.local import Catalogue, Change, Found, default_catalogue
from hitsieve.catalogue.record import CELL_FIELDS, FileKind, PumpState, Record, StoredFile, homes

__all__ = [
    "CELL_FIELDS",
    "About",
    "Catalogue",
    "Change",
    "FileKind",
    "Found",
    "Home",
    "PumpState",
    "Record",
    "StoredFile",
    "default_catalogue",
    "homes",
]
