"""What is to be in SciCat for one run, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hitsieve.catalogue.record import Record
from hitsieve.catalogue.scicat import bodies
from hitsieve.catalogue.scicat.bodies import Body, DataFile
from hitsieve.catalogue.scicat.facility import Facility
from hitsieve.catalogue.scicat.facts import Facts
from hitsieve.errors import ServerError

Did = Literal["created", "changed", "there", "left alone"]
Progress = Callable[[int, int], None]


class OtherContent(ServerError):
    """SciCat has something else at this place, and it was left as it is."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a dataset."""

    folder: str
    """Absolute."""
    files: tuple[DataFile, ...]
    lacking: str = ""
    """Why they cannot be told: some are gone. Empty where they can."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be in SciCat for one run."""

    record: Record
    facts: Facts
    facility: Facility
    raw: Files
    derived: Files
    picture: bytes | None = None
    """PNG of a hit; None where there is none."""
    raw_pid: str | None = None
    """Identifier of the raw dataset; None: it is looked for, and made where it is absent."""
    new_raw: bool = False
    """Make a raw dataset of this run, also where its folder is one already."""
    archive: bool = False
    """Also ask for the raw data to be archived."""
    replace: bool = False
    """Put the facts of this run in the place of those of another."""
    ingestor: bool = False
    """Choose the identifiers, by the prefix of the facility."""

    def raw_body(self) -> Body:
        """The raw dataset."""
        body = bodies.raw_body(self.record, self.facts, self.raw.folder, self.raw.files, self.facility.lifecycle)
        return self._with_pid("raw", self.record.source_path) | body

    def raw_metadata(self) -> dict[str, Body]:
        """What is told of the raw data."""
        return bodies.raw_metadata(self.record, self.facts, self.raw.folder)

    def derived_body(self, raw_pid: str | None) -> Body:
        """The dataset with the hits."""
        body = bodies.derived_body(self.record, self.facts, self.derived.folder, raw_pid)
        return self._with_pid("derived", self.record.id) | body

    def blocks(self, pid: str, files: tuple[DataFile, ...]) -> list[Body]:
        """Files in blocks."""
        return bodies.blocks(pid, files, self.facts, self.facility.limits)

    @property
    def caption(self) -> str:
        """Of the picture."""
        return f"hits of {self.record.stem} ({self.record.id[:8]})"

    def shown(self) -> Body:
        """All bodies as they would be sent; `<raw>` and `<derived>` stand for the identifiers that SciCat gives."""
        raw, derived = self.raw_pid or "<raw>", "<derived>"
        shown: Body = {}
        if self.raw_pid is None and self.record.verdict_on is None:
            shown["raw"] = self.raw_body()
            shown["raw_origdatablocks"] = self.blocks(raw, self.raw.files)
        elif self.record.verdict_on is None:
            shown["raw_patch"] = {"scientificMetadata": self.raw_metadata()}
        shown["derived"] = self.derived_body(raw)
        shown["derived_origdatablocks"] = self.blocks(derived, self.derived.files)
        if self.picture is not None:
            shown["attachment"] = bodies.attachment(self.caption, self.picture, self.facts)
        if self.archive:
            shown["job"] = bodies.archive_job(raw, self.facts)
        return shown

    def _with_pid(self, kind: str, what: str) -> Body:
        prefix = self.facility.pid_prefix
        return {"pid": bodies.own_pid(prefix, kind, what)} if self.ingestor and prefix else {}


@dataclass(slots=True)
class Registered:
    """One dataset, as it is in SciCat now."""

    pid: str
    did: Did
    ours: bool = False
    """hitsieve made it."""
    n_blocks: int = 0
    """Blocks of files that were sent."""
    n_files: int = 0
    """Files in them."""
    n_listed: int = 0
    """Files that were there before."""


@dataclass(slots=True)
class Report:
    """What is in SciCat for a run now."""

    raw: Registered | None = None
    derived: Registered | None = None
    picture: Did | None = None
    archive: Did | None = None
    warnings: list[str] = field(default_factory=list)
    """What could not be done, and the user should know, one line each."""
