"""What a facility is used to: names of groups and places, licence, limits. Each is a TOML file in this package."""

from __future__ import annotations

import re
import sys
from importlib import resources
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hitsieve.catalogue.record import Record
from hitsieve.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Beam = Literal["synchrotron", "xfel"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(_Part):
    """How much goes into one."""

    block_files: Annotated[int, Field(ge=1)]
    """Most files of a block."""
    block_bytes: Annotated[int, Field(ge=1)]
    """Most bytes of the files of a block; one larger file has a block of its own."""
    dataset_files: Annotated[int, Field(ge=1)]
    """Most files of a dataset."""


class Beamline(_Part):
    """Where a dataset was measured."""

    pattern: str
    """Regular expression, found in the name of the instrument or of the source of the beam, whatever the case."""
    creation_location: str | None = None
    beam: Beam | None = None


class Facility(_Part):
    """The conventions of one facility."""

    name: str
    limits: Limits
    license: str | None = None
    pid_prefix: str | None = None
    """What identifiers of datasets begin with, where an ingestor chooses them."""
    owner_group: str | None = None
    """Regular expression of a whole word that is an owner group."""
    access_group_of_location: bool = False
    """The location without its first part, joined in small letters, is a group that may read."""
    lifecycle: dict[str, Any] = Field(default_factory=dict)
    """datasetlifecycle of raw data whose files are there."""
    beamlines: tuple[Beamline, ...] = ()

    def beamline(self, record: Record) -> Beamline | None:
        """The beamline that a record names; None where it names none that is known here."""
        for name in (record.instrument, record.facility):
            for beamline in self.beamlines if name else ():
                if re.search(beamline.pattern, name or "", re.IGNORECASE):
                    return beamline
        return None

    def group(self, record: Record) -> str | None:
        """The owner group, from the experiment or the folders of the source; None where they name none."""
        if self.owner_group is None:
            return None
        for word in (record.experiment or "", *reversed(PurePath(record.source_path).parts)):
            if re.fullmatch(self.owner_group, word):
                return word
        return None

    def access_groups(self, location: str | None) -> tuple[str, ...]:
        """Groups that may read, after the location."""
        parts = [part for part in (location or "").split("/") if part][1:]
        return ("".join(parts).lower(),) if self.access_group_of_location and parts else ()


def facility_names() -> tuple[str, ...]:
    """Names of the facilities that are known."""
    files = resources.files(__package__).joinpath("facilities").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def read_facility(name: str) -> Facility:
    """The conventions of a facility.

    Raises
    ------
    SettingsError
        There is none of this name.
    """
    if name not in facility_names():
        mend = f"known are {', '.join(facility_names())}; without --facility nothing is taken for granted"
        raise SettingsError(f"no facility {name!r} is known", mend=mend)
    file = resources.files(__package__).joinpath("facilities", f"{name}.toml")
    return Facility.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
