"""A run as it is published: its record, what its makers say of it, and the files of the crate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from hitsieve.catalogue.about import MEASURED
from hitsieve.catalogue.publication import LICENCES, Identifier, Publication
from hitsieve.catalogue.record import Record, homes

METADATA = "ro-crate-metadata.json"
PREVIEW = "ro-crate-preview.html"
DATACITE_FILE = "datacite.json"
MANIFEST = "manifest-sha256.txt"
ADDED = (DATACITE_FILE, PREVIEW, METADATA, MANIFEST)
"""Files of a crate that are made for it, in the order in which they are written: each knows those before."""
SUBJECT = "serial crystallography"


@dataclass(frozen=True, slots=True)
class CrateFile:
    """A file of the crate."""

    name: str
    what: str
    """In words."""
    media_type: str
    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal."""
    nxmx: bool = False
    """Whether it is an NXmx file."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number or words that the data set gives."""

    key: str
    """Field of the record; of a pump state, behind the name of the state and a slash: light/hit_rate."""
    name: str
    value: float | int | str
    unit: str
    meaning: str

    @property
    def shown(self) -> str:
        """Value with its unit, for people: six digits are enough for them."""
        value = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return f"{value} {self.unit}".strip()


@dataclass(frozen=True, slots=True)
class Published:
    """What a crate and its DataCite record are written from."""

    record: Record
    publication: Publication
    files: tuple[CrateFile, ...]
    day: str
    """On which it is published (ISO 8601)."""

    @property
    def title(self) -> str:
        """That of the publication, or that of the measurement."""
        return self.publication.title or self.record.title or ""

    @property
    def description(self) -> str:
        """That of the publication, or what the record says."""
        if self.publication.description:
            return self.publication.description
        record = self.record
        of = f" of {record.sample_name}" if record.sample_name else ""
        kept = f", and {record.n_audit:,} of its misses drawn at random" if record.n_audit else ""
        return (
            f"The {record.n_hits:,} hits among the {record.n_images:,} images of the serial-crystallography run "
            f"{record.stem}{of}{kept}: found and stored without loss by {record.program} {record.version}."
        )

    @property
    def licence(self) -> tuple[str, str, str]:
        """SPDX identifier (empty for others), name and address."""
        text = self.publication.license or ""
        name, url = LICENCES.get(text, (text, text))
        return (text if text in LICENCES else "", name, url)

    @property
    def keywords(self) -> tuple[str, ...]:
        """Each once."""
        sample = filter(None, (self.record.sample_name, self.record.sample_id))
        return tuple(dict.fromkeys((SUBJECT, *sample, *self.publication.keywords)))

    @property
    def raw(self) -> Identifier | None:
        """What the raw data set is found by."""
        return Identifier.of(self.publication.raw) if self.publication.raw else None

    @property
    def collected(self) -> str | None:
        """When the measurement was, as an instant or an interval; None where no such time is stated."""
        times = [time for time in (self.record.start_time, self.record.end_time) if time and _is_time(time)]
        return "/".join(times) if self.record.start_time in times else None

    @property
    def place(self) -> str | None:
        """Facility and beamline."""
        return ", ".join(dict.fromkeys(filter(None, (self.record.facility, self.record.instrument)))) or None

    @property
    def size(self) -> int:
        """Bytes of the data files."""
        return sum(file.size for file in self.files)

    def measured(self) -> Iterator[Measured]:
        """All numbers that are known of the run."""
        for home in homes():
            value = getattr(self.record, home.field)
            if home.about.crate != MEASURED or value is None or home.field == "pump_states":
                continue
            if isinstance(value, tuple):
                value = ", ".join(value)
            yield Measured(home.field, home.about.human, value, home.about.unit, home.meaning)
        named = {home.field: home for home in homes()}
        for state in self.record.pump_states:
            for key, value in state:
                if key in named and value is not None:
                    about = named[key].about
                    name = f"{about.human} ({state.name})"
                    yield Measured(f"{state.name}/{key}", name, value, about.unit, named[key].meaning)


def manifest_line(sha256: str, name: str) -> str:
    """Line of the manifest, as sha256sum reads it."""
    return f"{sha256}  {name}\n"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True
