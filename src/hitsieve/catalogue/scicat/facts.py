"""What SciCat wants to know of a dataset beyond its record: whose it is, who may read it, what was measured."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from hitsieve.catalogue.factsfile import FILES
from hitsieve.catalogue.publication import TABLE as PUBLICATION
from hitsieve.catalogue.publication import several
from hitsieve.catalogue.record import Record
from hitsieve.catalogue.scicat.facility import Beam, Facility
from hitsieve.errors import MetadataError, SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PANET = "http://purl.org/pan-science/PaNET/"
TECHNIQUES = {
    "serial-synchrotron": ("PaNET01169", "serial synchrotron crystallography"),
    "fixed-target": ("PaNET01310", "fixed target serial synchrotron crystallography"),
    "lcp": ("PaNET01311", "lipidic cubic phase serial synchrotron crystallography"),
    "time-resolved-synchrotron": ("PaNET01312", "time-resolved serial synchrotron crystallography"),
    "serial-femtosecond": ("PaNET01168", "serial femtosecond crystallography"),
    "time-resolved-femtosecond": ("PaNET01309", "time-resolved serial femtosecond crystallography"),
    "macromolecular": ("PaNET01164", "macromolecular crystallography"),
}
"""Word: identifier and name in the PaNET ontology."""


_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def _mail(text: str | None) -> str | None:
    if text is not None and not _MAIL.fullmatch(text):
        raise ValueError(f"{text!r} is no e-mail address")
    return text


def _shown(text: str) -> str:
    """A terminal, a web page or a database may take what cannot be shown for a command, or for the end."""
    if any(not (letter.isprintable() or letter in "\n\t") for letter in text):
        raise ValueError("holds a character that cannot be shown")
    return text


LONGEST = 20_000
"""Most letters of one fact."""
Shown = Annotated[str, AfterValidator(_shown)]
Mail = Annotated[Shown | None, AfterValidator(_mail)]
Names = Annotated[tuple[Shown, ...], BeforeValidator(several)]


class Facts(BaseModel):
    """Facts of the sample and the experiment; null, or empty, where they are not known."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
        str_min_length=1,
        str_max_length=LONGEST,
    )

    title: Shown | None = None
    """Name of the raw dataset; by default the title in the source, else the name of the run."""
    description: Shown | None = None
    """What was done, in free words."""
    sample_name: Shown | None = None
    """Name of the sample; by default that in the source."""
    sample_id: Shown | None = None
    """Identifier of the sample, such as a HEIDI id; by default that in the source."""
    proposal: Shown | None = None
    """Identifier of the proposal; by default the experiment that the source names."""
    pi: Shown | None = None
    """Principal investigator; by default whom the source names in this role."""
    pi_email: Mail = None
    """E-mail address of the principal investigator."""
    owner: Shown | None = None
    """Who owns the data; by default the principal investigator."""
    owner_email: Mail = None
    """E-mail address of the owner."""
    owner_group: Shown | None = None
    """Group that owns the data."""
    access_groups: Names = ()
    """Groups that may read them, beside those that the facility adds."""
    contact_email: Mail = None
    """E-mail address for questions; by default that of the owner, else of the principal investigator."""
    creation_location: Shown | None = None
    """Where the data were measured, as /SITE/FACILITY/BEAMLINE."""
    instrument_id: Shown | None = None
    """Identifier of the instrument in SciCat."""
    beam: Beam | None = None
    """synchrotron or xfel; by default what the facility knows of the beamline."""
    delivery: Literal["fixed-target", "lcp", "jet"] | None = None
    """How crystals came into the beam."""
    techniques: Annotated[tuple[Literal[tuple(TECHNIQUES)], ...], BeforeValidator(several)] = ()  # type: ignore[valid-type]
    """Techniques by name; by default they follow from beam, delivery and pump states."""
    license: Shown | None = None
    """Licence of the data."""
    keywords: Names = ()
    """Words to find the datasets by."""


_MAILS = ("pi_email", "owner_email", "contact_email")
_OF_SOURCE = (
    *("title", "description", "sample_name", "sample_id", "proposal", "pi", "owner", "owner_group"),
    *("creation_location", "instrument_id", *_MAILS),
)
"""Facts that a source may send along."""
NEEDED = ("owner", "owner_group", "contact_email")
"""Without these SciCat takes no dataset."""


def read_facts(path: Path) -> Facts:
    """Facts from a TOML file; its table [publication] is for what is published, and not looked at.

    Raises
    ------
    SettingsError
        It cannot be read, has an unknown key or a wrong value.
    """
    mend = "see docs/how-to/register-in-scicat.md for a sample"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"{path}: cannot be read: {why}", mend="name a TOML file with facts") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}", mend=mend) from error
    try:
        return Facts.model_validate({name: value for name, value in values.items() if name != PUBLICATION})
    except ValidationError as error:
        raise SettingsError(f"{path}: {wrong_facts(error)}", mend=mend) from error


def wrong_facts(error: ValidationError) -> str:
    """What is wrong with facts, in one line."""
    said = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            said.append(f"unknown fact {name} (known: {', '.join(Facts.model_fields)})")
        else:
            said.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(said)


def all_facts(record: Record, given: Iterable[Facts], facility: Facility) -> Facts:
    """Join what is known: first what was given, in order, then what the source says, then what the facility is used to.

    Raises
    ------
    MetadataError
        Something is lacking without which SciCat takes no dataset; all of it is named.
    """
    beamline = facility.beamline(record)
    said = [
        *given,
        Facts(
            sample_name=_cleaned(record.sample_name),
            sample_id=_cleaned(record.sample_id),
            proposal=_cleaned(record.experiment),
        ),
        Facts(
            owner_group=facility.group(record),
            creation_location=beamline.creation_location if beamline else None,
            beam=beamline.beam if beamline else None,
            license=facility.license,
        ),
    ]
    known: dict[str, Any] = {}
    for facts in reversed(said):
        known |= {name: value for name, value in facts if value not in (None, ())}
    known.setdefault("owner", known.get("pi"))
    known.setdefault("contact_email", known.get("owner_email") or known.get("pi_email"))
    lacking = [name for name in NEEDED if known.get(name) is None]
    if lacking:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in lacking)
        what = f"{record.place}: SciCat needs {', '.join(lacking)}, which neither flags, facts nor the source say"
        mend = f"give {flags}, or write {FILES[0].format(stem=record.stem)} beside the results"
        raise MetadataError(what, mend=mend)
    groups = (*known.get("access_groups", ()), *facility.access_groups(known.get("creation_location")))
    known["access_groups"] = tuple(dict.fromkeys(groups))
    known["techniques"] = known.get("techniques") or techniques(record, known.get("beam"), known.get("delivery"))
    return Facts.model_validate(known)


def _cleaned(text: str | None) -> str | None:
    """What a source says, as far as it can be shown; None where nothing is left."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text or "")
    return shown.strip()[:LONGEST].strip() or None


def facts_of_texts(texts: Mapping[str, str]) -> Facts:
    """What a source says under the names of facts, as far as it can be used."""
    known = {name: _cleaned(texts[name]) for name in _OF_SOURCE if name in texts}
    usable = {name: text for name, text in known.items() if text and (name not in _MAILS or _MAIL.fullmatch(text))}
    return Facts.model_validate(usable)


def techniques(record: Record, beam: Beam | None, delivery: str | None) -> tuple[str, ...]:
    """Names of the techniques that follow from what is known; none where it is not known what the beam was."""
    if beam is None:
        return ()
    pumped = record.pump is not None
    if beam == "xfel":
        return ("serial-femtosecond", *(["time-resolved-femtosecond"] if pumped else []))
    special = [delivery] if delivery in TECHNIQUES else []
    return ("serial-synchrotron", *special, *(["time-resolved-synchrotron"] if pumped else []))
