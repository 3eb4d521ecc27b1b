"""Settings of a beamline: those of `hitsieve run`, and what becomes of runs by themselves."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from hitsieve.pipeline.apart import SLOWEST
from hitsieve.settings import Input, RunSettings, Settings

PLACES = ("folder", "top", "inside", "stem")
"""Names in a template of the folder of outputs."""


def _template(text: str) -> str:
    try:
        parts = [part for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{text!r} is no template of a folder: {error}") from None
    named = [f"{name}{f'!{conversion}' if conversion else ''}{how and f':{how}'}" for _, name, how, conversion in parts]
    odd = [name for name in named if name not in PLACES]
    if odd:
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise ValueError(f"{text!r}: {{{odd[0]}}} means nothing (known: {known})")
    if not text.startswith(("/", "{folder}", "{top}")):
        raise ValueError(f"{text!r}: begins neither with /, nor with {{folder}}, nor with {{top}}")
    return text


class WatchSettings(Settings):
    """Which runs are seen to, when, and where their outputs go."""

    output: Annotated[str, AfterValidator(_template)] = "{folder}/hitsieve"
    """Folder for the outputs of a run. In it, {folder} is the folder of the master, {top} the one that is watched,
    {inside} the way from that to the folder of the master, and {stem} the name of the run: /results/{inside} mirrors
    the tree."""
    leave_out: tuple[str, ...] = ()
    """Names of folders that are not looked into, wherever they are; * and ? stand for any letters."""
    settle: Annotated[float, Field(ge=0)] = 10.0
    """Time (s) for which neither master nor data files may have changed before a run is taken for finished."""
    rescan: Annotated[float, Field(gt=0)] = 60.0
    """Time (s) between looks at the whole tree: network shares tell nobody what other computers do."""
    give_up: Annotated[float, Field(gt=0)] = 24.0
    """Time (hours) after which a run that is still not whole, or whose files are gone, is told as stuck."""
    incomplete: Literal["hold", "sieve"] = "hold"
    """What becomes of a run that is stuck because images are missing: hold: it waits for somebody; sieve: it is sieved
    as it is, and what is missing is counted."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """Runs that are seen to at a time, each in a process of its own, with the worker threads of the settings."""
    retry_first: Annotated[float, Field(gt=0)] = 15.0
    """Time (s) until something that may mend itself is tried again; it doubles each time ..."""
    retry_longest: Annotated[float, Field(gt=0)] = 900.0
    """... up to this (s)."""
    hung: Annotated[float, Field(gt=0)] = 1800.0
    """Time (s) without progress, and a minute more for each GB of the run, after which a step is taken for hung: it is
    ended, and tried again later. What waits for a share that never answers ends in no other way."""
    stop_wait: Annotated[float, Field(ge=0)] = 60.0
    """Longest time (s) that whoever stops the watcher waits for what cannot be stopped at once."""
    journal: Input = None
    """File that holds what was done; made if absent. By default what HITSIEVE_JOURNAL names, else watch.sqlite beside
    the local catalogue. It must lie on a disk of this computer."""
    metrics: str | None = None
    """Where Prometheus reads how many runs are how far: [HOST]:PORT, such as :9101."""
    notify: str | None = None
    """Address of the program that writes the files and tells when one is finished, such as tcp://writer:5557."""
    notify_socket: Literal["sub", "pull"] = "sub"
    """Kind of socket that it needs: sub where it publishes (Jungfraujoch's writer), pull where it pushes."""


class ScicatSettings(Settings):
    """How runs are registered in SciCat; without a server they are not."""

    server: str | None = None
    """URL of SciCat's backend."""
    facility: str = "generic"
    """Whose conventions hold: generic or psi."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """Facts that hold for all runs, as in a file of facts."""
    facts_file: Input = None
    """TOML file with facts; by default <stem>_facts.toml or hitsieve-facts.toml beside the results, else beside the
    source."""
    token_file: Input = None
    """File that holds a token; by default HITSIEVE_SCICAT_TOKEN, or HITSIEVE_SCICAT_USER and HITSIEVE_SCICAT_PASSWORD,
    say who asks."""
    ingestor: bool = False
    """The account is the facility's ingestor."""
    new_raw: bool = False
    """Make a raw dataset of each run, though its folder is one already."""
    replace: bool = False
    """Put the facts of a run in the place of those of another run of hitsieve on the same images."""
    archive: bool = False
    """Also ask for the raw data to be archived."""
    checksums: Literal["hits", "all", "none"] = "hits"
    """Of which files SHA-256 are sent."""
    insecure: bool = False
    """Allow http to another computer."""
    patience: Annotated[float, Field(ge=0)] = 10.0
    """Longest time (s) that is spent on one request that the server does not answer."""
    outbox: Input = None
    """File of the outbox; by default what HITSIEVE_OUTBOX names, else outbox.sqlite beside the local catalogue."""


class BeamlineSettings(RunSettings):
    """All settings of `hitsieve watch`."""

    facility: str = "generic"
    """Whose ways are taken for granted where nothing else is said: generic or sls-x06sa."""
    watch: WatchSettings = WatchSettings()
    scicat: ScicatSettings = ScicatSettings()

    @model_validator(mode="after")
    def _outputs_have_one_place(self) -> BeamlineSettings:
        for name in ("output", "overwrite"):
            if name in self.write.model_fields_set:
                raise ValueError(f"write.{name}: has no meaning here: watch.output says where outputs go")
        return self

    @property
    def run(self) -> RunSettings:
        """What `hitsieve run` would be given."""
        return RunSettings(**{name: getattr(self, name) for name in RunSettings.model_fields})


def folder_for(master: Path, top: Path, stem: str, settings: WatchSettings) -> Path:
    """Where the outputs of a run go; names in the tree are taken as they are."""
    inside = master.parent.relative_to(top)
    places = {"folder": str(master.parent), "top": str(top), "inside": str(inside), "stem": stem}
    return Path(settings.output.format(**places))


def longest_silence(n_bytes: int, settings: BeamlineSettings) -> float:
    """Time (s) without progress after which a step of a run of so many bytes is taken for hung."""
    cluster = settings.cluster
    waits = cluster.wait if cluster.slurm or cluster.scheduler is not None else 0.0
    return settings.watch.hung + waits + n_bytes / SLOWEST


def root_of(settings: WatchSettings, top: Path) -> Path:
    """The folder that must be there before anything is written: no share that is away is taken for an empty folder."""
    fixed = settings.output.split("{", maxsplit=1)[0]
    return Path(fixed if fixed.endswith("/") else fixed.rpartition("/")[0] or "/") if fixed else top
