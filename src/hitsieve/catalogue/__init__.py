"""The one record of a run, and the local catalogue of all runs with its search."""

from hitsieve.catalogue.about import About, Home
from hitsieve.catalogue.datacite import datacite
from hitsieve.catalogue.factsfile import find_facts
from hitsieve.catalogue.found import Change, Found, Order, Part
from hitsieve.catalogue.local import Catalogue, beside_catalogue, default_catalogue
from hitsieve.catalogue.preview import preview
from hitsieve.catalogue.publication import Creator, Publication, join, publication, read_publication
from hitsieve.catalogue.published import (
    ADDED,
    DATACITE_FILE,
    MANIFEST,
    METADATA,
    PREVIEW,
    CrateFile,
    Published,
    manifest_line,
)
from hitsieve.catalogue.record import CELL_FIELDS, FileKind, PumpState, Record, StoredFile, homes
from hitsieve.catalogue.rocrate import crate_metadata, require_rocrate
from hitsieve.catalogue.tokenfile import token_in

__all__ = [
    "ADDED",
    "CELL_FIELDS",
    "DATACITE_FILE",
    "MANIFEST",
    "METADATA",
    "PREVIEW",
    "About",
    "Catalogue",
    "Change",
    "CrateFile",
    "Creator",
    "FileKind",
    "Found",
    "Home",
    "Order",
    "Part",
    "Publication",
    "Published",
    "PumpState",
    "Record",
    "StoredFile",
    "beside_catalogue",
    "crate_metadata",
    "datacite",
    "default_catalogue",
    "find_facts",
    "homes",
    "join",
    "manifest_line",
    "preview",
    "publication",
    "read_publication",
    "require_rocrate",
    "token_in",
]
