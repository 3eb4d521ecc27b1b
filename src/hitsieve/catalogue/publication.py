"""What publishing a run needs and its files cannot tell: who made it, under which licence, and where it appears."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from hitsieve.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LICENCES = {
    "CC0-1.0": ("Creative Commons Zero v1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "CC-BY-4.0": ("Creative Commons Attribution 4.0 International", "https://creativecommons.org/licenses/by/4.0/"),
    "CC-BY-SA-4.0": (
        "Creative Commons Attribution Share Alike 4.0 International",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    ),
    "CC-BY-NC-4.0": (
        "Creative Commons Attribution Non Commercial 4.0 International",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
    "CC-BY-NC-SA-4.0": (
        "Creative Commons Attribution Non Commercial Share Alike 4.0 International",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    ),
    "ODC-By-1.0": ("Open Data Commons Attribution License v1.0", "https://opendatacommons.org/licenses/by/1-0/"),
    "ODbL-1.0": ("Open Data Commons Open Database License v1.0", "https://opendatacommons.org/licenses/odbl/1-0/"),
    "PDDL-1.0": (
        "Open Data Commons Public Domain Dedication & License 1.0",
        "https://opendatacommons.org/licenses/pddl/1-0/",
    ),
}
"""Licences for data by their SPDX identifier: name and address. Others are named by their address."""
TABLE = "publication"
"""Table of a facts file that a publication stands in."""
_URL = re.compile(r"https?://[^\s/]+\.[^\s]+")
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_HANDLE = re.compile(r"\d+(\.\d+)*/\S+")


def _is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def _is_licence(text: str) -> str:
    known, named = {name.lower(): name for name in LICENCES}, text.strip().lower().replace(" ", "-")
    if named in known:
        return known[named]
    if not _is_url(text):
        raise ValueError(f"{text!r} is neither the address of a licence nor one of {', '.join(LICENCES)}")
    return text


def _is_address(text: str) -> str:
    if not _is_url(text):
        raise ValueError(f"{text!r} is no http address")
    return text


def _is_orcid(text: str) -> str:
    """An ORCID iD without its address; its last character checks the others (ISO 7064 11,2)."""
    bare = re.sub(r"^https?://orcid\.org/", "", text.strip())
    if re.fullmatch(r"(\d{4}-){3}\d{3}[\dX]", bare) is None:
        raise ValueError(f"{text!r} is no ORCID iD, such as 0000-0002-1825-0097")
    total = 0
    for digit in bare.replace("-", "")[:-1]:
        total = 2 * (total + int(digit))
    if "0123456789X"[(12 - total % 11) % 11] != bare[-1]:
        raise ValueError(f"{text!r} is no ORCID iD: a digit of it is wrong")
    return bare


def _is_doi(text: str) -> str:
    bare = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", text.strip())
    if _DOI.fullmatch(bare) is None:
        raise ValueError(f"{text!r} is no DOI, such as 10.5281/zenodo.1234567")
    return bare


def _is_identifier(text: str) -> str:
    if Identifier.of(text) is None:
        raise ValueError(f"{text!r} is no DOI, handle (20.500.11935/...) or http address")
    return text


class Identifier(BaseModel):
    """What a data set elsewhere is found by."""

    model_config = ConfigDict(frozen=True)

    kind: str
    """DOI, Handle or URL, as DataCite calls them."""
    value: str
    """Without its address, where it is a DOI or a handle."""
    url: str
    """Where it is found."""

    @classmethod
    def of(cls, text: str) -> Identifier | None:
        """Tell what a text is; None where it is none of them."""
        bare = re.sub(r"^(https?://(dx\.)?doi\.org/|https?://hdl\.handle\.net/|doi:|hdl:)", "", text.strip())
        if _DOI.fullmatch(bare):
            return cls(kind="DOI", value=bare, url=f"https://doi.org/{bare}")
        if _HANDLE.fullmatch(bare):
            return cls(kind="Handle", value=bare, url=f"https://hdl.handle.net/{bare}")
        return cls(kind="URL", value=bare, url=bare) if _is_url(bare) else None


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Creator(_Part):
    """Who made the data."""

    name: Words
    """Family name, given name; of an organisation, its name without a comma."""
    orcid: Annotated[str, AfterValidator(_is_orcid)] | None = None
    affiliation: Words | None = None

    @classmethod
    def read(cls, text: str) -> Creator:
        """Read `Family, Given <ORCID iD>`, of which the latter may be absent.

        Raises
        ------
        SettingsError
            It is something else.
        """
        found = re.fullmatch(r"([^<>]+?)\s*(?:<([^<>]*)>)?", text.strip())
        if found is None:
            raise SettingsError(f"--creator {text!r} cannot be read", mend="give 'Family, Given <ORCID iD>'")
        try:
            return cls(name=found[1], orcid=found[2])
        except ValidationError as error:
            raise SettingsError(
                f"--creator {text!r}: {_said(error)}", mend="give 'Family, Given <ORCID iD>'"
            ) from error


class Publication(_Part):
    """The facts of a publication; null where they are not known."""

    title: Words | None = None
    """By default the title that the source states."""
    description: Words | None = None
    """By default one that the record of the run gives."""
    creators: tuple[Creator, ...] = ()
    license: Annotated[str, AfterValidator(_is_licence)] | None = None
    """SPDX identifier of a licence for data, or the address of another licence."""
    publisher: Words | None = None
    """Who makes the data available, such as Zenodo or a facility."""
    publisher_id: Annotated[str, AfterValidator(_is_address)] | None = None
    """Address of the publisher, best that of the Research Organization Registry (https://ror.org/...)."""
    published: date | None = None
    """When; by default the day on which the crate is made."""
    keywords: tuple[Words, ...] = ()
    doi: Annotated[str, AfterValidator(_is_doi)] | None = None
    """DOI of the data set, where it is reserved already."""
    raw: Annotated[str, AfterValidator(_is_identifier)] | None = None
    """DOI, handle or address of the raw data set."""
    funder: Words | None = None
    award: Words | None = None
    """Number of the grant."""

    @model_validator(mode="after")
    def _each_once(self) -> Publication:
        known = [creator.orcid or creator.name for creator in self.creators]
        twice = next((one for one in known if known.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"two creators are {twice}")
        return self


def publication(values: Mapping[str, Any]) -> Publication:
    """Make a publication of what flags say, by name; a value None is not given.

    Raises
    ------
    SettingsError
        A value is wrong.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return Publication.model_validate(given)
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        flag = f"--{where[0]}" if where else "--creator"
        raise SettingsError(f"{flag}: {_said(error, names=False)}", mend="see hitsieve export --help") from error


def read_publication(path: Path, shared: Mapping[str, Any]) -> Publication:
    """Read the table [publication] of a facts file.

    Parameters
    ----------
    path : Path
        TOML file; its other contents are not looked at.
    shared : mapping
        Facts of the file that a publication shares with others, by name; the table wins over them.

    Raises
    ------
    SettingsError
        The file cannot be read, or a value is wrong.
    """
    try:
        return Publication.model_validate({**shared, **_table(path)})
    except ValidationError as error:
        raise SettingsError(f"facts file {path}, [{TABLE}]: {_said(error)}", mend=_SAMPLE) from error


def join(*said: Publication) -> Publication:
    """What several say together; the first that says a thing wins."""
    known: dict[str, Any] = {}
    for one in reversed(said):
        known |= {name: getattr(one, name) for name in one.model_fields_set}
    return Publication.model_construct(**known)


_SAMPLE = "see docs/reference/crates.md for a sample"


def _table(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        what = f"facts file {path} cannot be read: {why}"
        raise SettingsError(what, mend="name a TOML file that exists and is readable") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"facts file {path} is not TOML: {error}", mend=_SAMPLE) from error
    table = values.get(TABLE, {})
    if not isinstance(table, dict):
        raise SettingsError(f"facts file {path}: {TABLE} is no table", mend=_SAMPLE)
    return table


def _said(error: ValidationError, *, names: bool = True) -> str:
    """What is wrong with all values, in one line."""
    lines = []
    for item in error.errors():
        what = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            what = (
                f"is unknown (known: {', '.join(Publication.model_fields)})" if len(item["loc"]) == 1 else "is unknown"
            )
        where = ".".join(str(part) for part in item["loc"])
        lines.append(f"{where}: {what}" if names and where else what)
    return "; ".join(lines)
