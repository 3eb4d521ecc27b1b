"""Flags that say how a run is published."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from hitsieve.catalogue import Publication

PUBLISHING = Group("Publishing: what an RO-Crate says besides")


@Parameter(name="*", group=PUBLISHING)
@dataclass(frozen=True)
class Publishing:
    """What the files of a run cannot tell."""

    facts: Path | None = None
    """TOML file with facts, and a table [publication]; by default <stem>_facts.toml or hitsieve-facts.toml beside the
    results, else beside the source. Flags win over it."""
    title: str | None = None
    """Title; by default that of the measurement."""
    description: str | None = None
    """Abstract; by default one with the numbers of the run."""
    creator: Annotated[list[str] | None, Parameter(negative=())] = None
    """Who made the data, as 'Family, Given <ORCID iD>'; may be given more than once."""
    license: str | None = None
    """SPDX identifier of a licence for data, such as CC-BY-4.0, or the address of another."""
    publisher: str | None = None
    """Who makes the data available, such as Zenodo."""
    raw: str | None = None
    """DOI, handle or address of the raw data set."""
    doi: str | None = None
    """DOI of the crate, where it is reserved already."""

    @property
    def given(self) -> list[str]:
        """Flags that were given."""
        return [f"--{field.name}" for field in fields(self) if getattr(self, field.name) is not None]

    def read(self) -> Publication:
        """What the flags say.

        Raises
        ------
        SettingsError
            A value is wrong.
        """
        from hitsieve.catalogue import Creator, publication

        told = {name: getattr(self, name) for name in ("title", "description", "license", "publisher", "raw", "doi")}
        creators = None if self.creator is None else tuple(Creator.read(text) for text in self.creator)
        return publication(told | {"creators": creators})
