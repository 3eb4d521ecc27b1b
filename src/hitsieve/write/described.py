"""What a finished run's files say of the measurement as a whole, and a digest of its hits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from hitsieve.errors import SourceError
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output


@dataclass(frozen=True, slots=True)
class Described:
    """Words of the source about the measurement; None where it says nothing."""

    title: str | None = None
    sample_name: str | None = None
    sample_id: str | None = None
    """Identifier of the sample."""
    experiment: str | None = None
    """Identifier of the experiment or proposal."""
    instrument: str | None = None
    facility: str | None = None
    """Name of the source of the beam."""
    start_time: str | None = None
    """As the source states it, likewise the end."""
    end_time: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the source names (NXuser); None for what it does not say."""

    name: str | None
    email: str | None
    role: str | None
    """As it is stated."""

    @property
    def is_investigator(self) -> bool:
        """Whether the role is that of the principal investigator, in the word of NXuser or another spelling."""
        return re.sub(r"[\W_]+", " ", self.role or "").strip().lower() in ("principal investigator", "pi")


@dataclass(frozen=True, slots=True)
class Responsible:
    """Who is responsible for a measurement, as the source has it."""

    people: tuple[Person, ...] = ()
    """In the order of its groups."""
    sent: Mapping[str, str] = field(default_factory=dict)
    """Texts in the group `user` of the entry, by name: there Jungfraujoch writes what a beamline sends along."""


def describe(path: Path) -> Described:
    """Words about the measurement in an annotated master or a hit-only file.

    Raises
    ------
    SourceError
        It cannot be read.
    """
    with _entry(path) as entry:
        if entry is None:
            return Described()
        instrument = _of_class(entry, "NXinstrument", "instrument")
        source = _of_class(entry, "NXsource", "source") or _of_class(instrument, "NXsource", "source")
        sample = _of_class(entry, "NXsample", "sample")
        return Described(
            title=_text(entry, "title"),
            sample_name=_text(sample, "name"),
            sample_id=_identifier(sample),
            experiment=_text(entry, "experiment_identifier"),
            instrument=_text(instrument, "name"),
            facility=_text(source, "name"),
            start_time=_text(entry, "start_time"),
            end_time=_text(entry, "end_time") or _text(entry, "end_time_estimated"),
        )


def responsible(path: Path) -> Responsible:
    """Whom an annotated master or a hit-only file names, and what a beamline sent along.

    Raises
    ------
    SourceError
        It cannot be read.
    """
    with _entry(path) as entry:
        if entry is None:
            return Responsible()
        groups = _all_of_class(entry, "NXuser", "user")
        people = tuple(Person(*(_text(group, name) for name in ("name", "email", "role"))) for group in groups)
        sent = entry.get("user")
        names = sent if isinstance(sent, h5py.Group) else ()
        return Responsible(people, {name: text for name in names if (text := _text(sent, name))})


@contextmanager
def _entry(path: Path) -> Iterator[h5py.Group | None]:
    try:
        with open_output(path, "*_annotated.h5") as file:
            entry = file.get(entry_of(file))
            yield entry if isinstance(entry, h5py.Group) else None
    except (OSError, RuntimeError, KeyError) as error:
        raise SourceError(f"{path}: cannot be read: {error}", mend="copy it again") from error


def digest_of_hits(path: Path) -> str:
    """SHA-256 over the SHA-256 (hexadecimal, in order) of all stored chunks of a hit-only file.

    Raises
    ------
    SourceError
        It cannot be read, or is no hit-only file.
    """
    try:
        with open_output(path, "*_hits.h5") as file:
            hashes = file[f"{entry_of(file)}/hit_finding/sha256"][()]
            return hashlib.sha256(b"".join(hashes.tolist())).hexdigest()
    except (OSError, RuntimeError, KeyError) as error:
        raise SourceError(f"{path}: cannot be read as a hit-only file: {error}", mend="copy it again") from error


def _identifier(sample: h5py.Group | None) -> str | None:
    """What NXobject calls identifierNAME, whatever the name."""
    names = () if sample is None else (name for name in sample if name.startswith("identifier"))
    return next((text for name in names if (text := _text(sample, name))), None)


def _of_class(parent: h5py.Group | None, kind: str, name: str) -> h5py.Group | None:
    """The member of a NeXus class that is called so, or else the first of the class."""
    return next(iter(_all_of_class(parent, kind, name)), None)


def _all_of_class(parent: h5py.Group | None, kind: str, name: str) -> list[h5py.Group]:
    """Members of a NeXus class, the one that is called so first."""
    if parent is None:
        return []
    members = (parent.get(key) for key in dict.fromkeys((name, *parent)))
    groups = [item for item in members if isinstance(item, h5py.Group)]
    return [item for item in groups if _decoded(item.attrs.get("NX_class")) == kind]


def _text(group: h5py.Group | None, name: str) -> str | None:
    item = None if group is None else group.get(name)
    if not isinstance(item, h5py.Dataset) or item.size != 1 or h5py.check_string_dtype(item.dtype) is None:
        return None
    value = item[()] if item.shape == () else item[()].ravel()[0]
    return _decoded(value).strip() or None


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
