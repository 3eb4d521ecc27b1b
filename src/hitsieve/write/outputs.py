"""The files of one run, by name, and how they are found again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hitsieve.errors import SettingsError, SourceError
from hitsieve.model import Run
from hitsieve.settings import WriteSettings
from hitsieve.write.summary import Summary

_SUFFIXES = {
    "hits": "_hits.h5",
    "annotated": "_annotated.h5",
    "images": "_images.parquet",
    "summary": "_summary.json",
}
_MISSES = "_misses.h5"
_ENDINGS = (*_SUFFIXES.values(), _MISSES)
_PART = re.compile(r"_part_\d{6}_hits\.h5")
"""What follows the stem of a run in the name of hits that were written while it was received."""
SUMMARY_SUFFIX = _SUFFIXES["summary"]
"""End of the name of a summary."""
_MOST_STATES = 64
"""Most pump states with a file each: all are open at once."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files of one run."""

    hits: Path
    """Self-contained NXmx with the hits only."""
    annotated: Path
    """NXmx master over the original images."""
    images: Path
    """Parquet table, one row an image."""
    summary: Path
    """The run's numbers, as JSON."""
    pump_hits: tuple[Path, ...] = ()
    """As `hits`, with the hits of one pump state each; in the order of the states."""
    misses: Path | None = None
    """As `hits`, with all misses; None where they are not kept."""

    @classmethod
    def of(cls, folder: Path, stem: str, states: Sequence[str] = (), *, misses: bool = False) -> Outputs:
        """Names of the outputs of a run in a folder, with files for the pump states named, and for the misses."""
        pump_hits = tuple(folder / f"{stem}_{_plain(state)}{_SUFFIXES['hits']}" for state in states)
        named = {kind: folder / f"{stem}{suffix}" for kind, suffix in _SUFFIXES.items()}
        return cls(**named, pump_hits=pump_hits, misses=folder / f"{stem}{_MISSES}" if misses else None)

    @classmethod
    def of_run(cls, run: Run, settings: WriteSettings) -> Outputs:
        """Names of the outputs of a run.

        Raises
        ------
        SettingsError
            A file is wanted for each pump state, and there are none, too many, or such that two files would have one
            name.
        """
        if not settings.split_pump:
            return cls.of(settings.output, run.stem, misses=settings.misses == "keep")
        if run.pump is None:
            mend = "give --pump, --pump-dataset or --pump-csv, or leave out --split-pump"
            raise SettingsError(f"{run.path}: a file for each pump state is wanted, but no state is known", mend=mend)
        names = run.pump.names
        if len(names) > _MOST_STATES:
            what = f"{run.path}: {len(names)} pump states are too many for a file each, at most {_MOST_STATES}"
            raise SettingsError(what, mend="leave out --split-pump")
        outputs = cls.of(settings.output, run.stem, names, misses=settings.misses == "keep")
        first: dict[Path, str] = {}
        for name, path in zip(names, outputs.pump_hits, strict=True):
            other = first.setdefault(path, name)
            if other != name:
                what = f"{run.path}: pump states {other!r} and {name!r} would both be written to {path.name}"
                raise SettingsError(what, mend="name them otherwise, or leave out --split-pump")
        return outputs

    def __iter__(self) -> Iterator[Path]:
        misses = () if self.misses is None else (self.misses,)
        return iter((self.hits, self.annotated, self.images, self.summary, *self.pump_hits, *misses))


def _plain(state: str) -> str:
    """Name of a pump state as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9.+=-]+", "-", state).strip("-.") or "state"


def find_outputs(path: Path) -> Outputs:
    """Find the outputs of a run from one of them, or from a folder that holds those of one run.

    Raises
    ------
    SourceError
        There are none, or those of several runs, or the annotated master or the summary is absent; or they may not be
        seen.
    """
    try:
        return _found(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SourceError(f"{path}: cannot be read: {why}", mend="check its permissions") from error


def _found(path: Path) -> Outputs:
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder", mend="name an output of hitsieve run")
    folder = path if path.is_dir() else path.parent
    stems = _stems(folder)
    if path.is_dir():
        if not stems:
            raise SourceError(
                f"{path}: holds no outputs of hitsieve run", mend="name the folder given to it as --output"
            )
        if len(stems) > 1:
            named = ", ".join(f"{stem}{_SUFFIXES['summary']}" for stem in stems[:4])
            raise SourceError(f"{path}: holds the outputs of {len(stems)} runs", mend=f"name one of them: {named}")
        stem = stems[0]
    else:
        stem = _stem_of(path, stems)
    outputs = Outputs.of(folder, stem, misses=(folder / f"{stem}{_MISSES}").is_file())
    for needed in (outputs.summary, outputs.annotated):
        if not needed.is_file():
            raise _absent(needed, outputs)
    return outputs


def _absent(needed: Path, outputs: Outputs) -> SourceError:
    run = read_summary(outputs.summary).verdict_on if outputs.summary.is_file() else None
    if run is None:
        return SourceError(f"{needed}: is absent", mend="keep the outputs of a run together; it is needed here")
    what = f"{outputs.summary}: was written by hitsieve rethink without --hits: there is no {needed.name} to read"
    return SourceError(what, mend=f"name the run, {run}, or call hitsieve rethink again with --hits")


def left_over(outputs: Outputs) -> list[Path]:
    """Files of hits or misses beside the outputs of a run that bear its name, but are neither its nor another run's.

    Parts of a series that was received are its own.
    """
    folder, stem = outputs.summary.parent, outputs.summary.name.removesuffix(_SUFFIXES["summary"])
    stems, own = _stems(folder), {path.name for path in outputs}
    # The stem may hold what a pattern would read as a wildcard.
    endings = (_SUFFIXES["hits"], _MISSES)
    files = (file for file in folder.iterdir() if file.name.endswith(endings) and file.name not in own)
    files = (file for file in files if not _PART.fullmatch(file.name.removeprefix(stem)))
    return sorted(file for file in files if file.name.startswith(f"{stem}_") and _stem_of(file, stems) == stem)


def _stems(folder: Path) -> list[str]:
    """Stems of the runs of which a folder holds the annotated master or the summary."""
    needed = (_SUFFIXES["annotated"], _SUFFIXES["summary"])
    return sorted({file.name.removesuffix(end) for end in needed for file in folder.glob(f"[!.]*{end}")})


def _stem_of(path: Path, stems: list[str]) -> str:
    """Stem of the run that a file is of; the hits of one pump state are named after run and state."""
    for suffix in _ENDINGS:
        if path.name.endswith(suffix):
            stem = path.name.removesuffix(suffix)
            longer = [known for known in stems if stem == known or stem.startswith(f"{known}_")]
            return max(longer, key=len, default=stem)
    raise SourceError(
        f"{path}: is not an output of hitsieve run",
        mend=f"name a file that ends in {', '.join(_ENDINGS)}, or their folder",
    )


def read_summary(path: Path) -> Summary:
    """Read the summary of a run.

    Raises
    ------
    SourceError
        It cannot be read, is no summary, or is of another version of the schema.
    """
    again = "copy it again, or write it again with hitsieve run"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from None
    except ValueError as error:
        raise SourceError(f"{path}: is not JSON: {error}", mend=again) from error
    ours = str(Summary.model_fields["schema_version"].default)
    version = str(values.get("schema_version", "none")) if isinstance(values, dict) else "none"
    if version.split(".")[0] != ours.split(".", maxsplit=1)[0]:
        raise SourceError(
            f"{path}: is of version {version} of the schema, this version of hitsieve reads {ours}",
            mend="run hitsieve run again on the original files, or use the version of hitsieve that wrote it",
        )
    try:
        return Summary.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SourceError(f"{path}: is not a summary of hitsieve: {where}: {first['msg']}", mend=again) from error
