"""What each fact of a record is called and measured in, and where it stands in the homes that are written from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HIT_FINDING = "/entry/hit_finding/"
MEASURED = "variableMeasured"
"""Term of schema.org for a number that a data set gives, with its unit."""
DATACITE = {
    "name": "titles",
    "alternateName": "titles (AlternativeTitle)",
    "identifier": "alternateIdentifiers",
    "dateCreated": "dates (Created)",
    "temporalCoverage": "dates (Collected)",
    "hasPart": "sizes, formats",
    "about": "subjects",
    "recordedAt": "descriptions (Methods)",
    "locationCreated": "geoLocations (geoLocationPlace)",
    "instrument": "descriptions (Methods)",
    "softwareVersion": "descriptions (Methods)",
    "description": "descriptions (TechnicalInfo)",
    MEASURED: "descriptions (Methods)",
}
"""Where DataCite (schema 4) has what an RO-Crate calls so."""
Kind = Literal["number", "text", "time", "names"]


@dataclass(frozen=True, slots=True)
class About:
    """Name, unit and homes of one field of a record."""

    human: str
    """Name for people; the same everywhere."""
    unit: str = ""
    """Empty: dimensionless, or text."""
    nxmx: str = ""
    """Place in the HDF5 outputs, with [k] for one number of several; empty where they have none."""
    scicat: str | None = ""
    """Key in SciCat's scientificMetadata; empty: the name of the field; /key: a field of the data set itself; None: not
    sent."""
    crate: str = MEASURED
    """Property in an RO-Crate (schema.org terms), from which DataCite's fields follow; empty: none."""


@dataclass(frozen=True, slots=True)
class Home:
    """One line of the table of homes."""

    field: str
    about: About
    meaning: str
    """In words."""
    kind: Kind | None
    """Of the column of the local catalogue; None where the field has none and stands in the whole record only."""
    share: bool = False
    """A number from 0 to 1 that may be given in %."""

    @property
    def scicat(self) -> str:
        """Where SciCat has it: a flat key of scientificMetadata, /key of the data set, or nothing."""
        return "" if self.about.scicat is None else self.about.scicat or self.field

    @property
    def key(self) -> str:
        """Key of the scientificMetadata of a set of hits, by which it is searched; nothing where it has none.

        What has a field of the data set as well is there under its own name: those fields say it in another form.
        """
        if not self.scicat.startswith("/"):
            return self.scicat
        return "" if self.kind is None else self.field

    @property
    def datacite(self) -> str:
        """Property of DataCite, or nothing."""
        return DATACITE.get(self.about.crate, "")
