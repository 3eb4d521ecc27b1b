"""Some of the hits of a run, chosen by what is known of them, as a hit-only file that is made while it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SettingsError, SourceError
from hitsieve.write import ComposedFile, HitsToChoose, store

Step = Callable[[int, int], None]
_MOST = 2**63 - 1


class NothingChosenError(SourceError):
    """No hit is as it is wanted."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which hits are wanted: those of which all that is given is true, and of those the first or some at random."""

    first: int | None = None
    """At most so many, the first in the order of the run."""
    random: int | None = None
    """At most so many, drawn at random, in the order of the run."""
    seed: int = 0
    """Of numpy.random.default_rng, which draws them."""
    pump: str | None = None
    """Name of their pump state."""
    d_max: float | None = None
    """Largest resolution estimate d (angstrom); hits without an estimate are left out."""
    min_lattices: int | None = None
    """Fewest lattices."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        SettingsError
            It does.
        """
        if self.first is not None and self.random is not None:
            raise SettingsError("first and random exclude each other", mend="give one of them")
        for name, least in (("first", 1), ("random", 1), ("seed", 0), ("min_lattices", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}", mend=f"give {least} or more")
            if value is not None and value > _MOST:
                raise SettingsError(f"{name} is too large", mend=f"give at most {_MOST}")
        if self.d_max is not None and not (np.isfinite(self.d_max) and self.d_max > 0):
            raise SettingsError(f"d_max is {self.d_max}", mend="give a number of angstrom above 0")

    @property
    def given(self) -> dict[str, Any]:
        """What is given, by name, as it is recorded."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        if self.random is None:
            del values["seed"]
        return values

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.given.items()) or "all hits"


@dataclass(frozen=True, slots=True, eq=False)
class HitNumbers:
    """What hits are chosen by, of all hits of a file."""

    path: Path
    """Hit-only file."""
    pump_names: tuple[str, ...]
    """Pump states; none where the run is not time-resolved."""
    pump: npt.NDArray[np.int16]
    """Index in pump_names of each hit; -1 where it is unknown."""
    resolution: npt.NDArray[np.float32]
    """Estimate of d (angstrom); NaN where there is none."""
    n_lattices: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]
    """Stored bytes of each image."""

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def of(cls, file: HitsToChoose) -> HitNumbers:
        """Read them."""
        names = file.pump_names
        pump = file.column("pump") if names else np.full(len(file), -1, dtype=np.int16)
        return cls(file.path, names, pump, file.column("resolution"), file.column("n_lattices"), file.sizes)

    def rows(self, choice: Choice) -> npt.NDArray[np.int64]:
        """Rows of the hits that are chosen, rising.

        Raises
        ------
        SettingsError
            The run has no such pump state.
        """
        wanted = np.ones(len(self), dtype=np.bool_)
        if choice.pump is not None:
            wanted &= self.pump == self._state(choice.pump)
        if choice.d_max is not None:
            with np.errstate(invalid="ignore"):
                wanted &= self.resolution <= choice.d_max
        if choice.min_lattices is not None:
            wanted &= self.n_lattices >= choice.min_lattices
        rows = np.flatnonzero(wanted)
        if choice.random is not None and choice.random < len(rows):
            rows = np.sort(np.random.default_rng(choice.seed).choice(rows, choice.random, replace=False))
        return rows[: choice.first]

    def _state(self, name: str) -> int:
        names = self.pump_names
        if name not in names:
            mend = f"its pump states are {', '.join(names)}" if names else "the run has none: choose without"
            raise SettingsError(f"{self.path}: has no pump state {name}", mend=mend)
        return names.index(name)


@dataclass(frozen=True, slots=True)
class Chosen:
    """How much a choice gives."""

    n_hits: int
    n_of: int
    """Hits of the file."""
    n_bytes: int
    """Stored bytes of their images; the file has some more."""


@dataclass(frozen=True, slots=True)
class SubsetRequest:
    """What is wanted of a file of some of the hits."""

    hits: Path
    """Hit-only file."""
    output: Path
    """File to write."""
    choice: Choice
    overwrite: bool = False
    """Replace the file if it exists."""


def count_chosen(numbers: HitNumbers, choice: Choice) -> Chosen:
    """How many hits a choice gives, and how many bytes of images; none is no error.

    Raises
    ------
    SettingsError
        The run has no such pump state.
    """
    rows = numbers.rows(choice)
    return Chosen(len(rows), len(numbers), int(numbers.sizes[rows].sum()))


def choose(hits: Path, choice: Choice) -> ComposedFile:
    """The hit-only file of a choice: its metadata are made now, its images are read from `hits` when it is read.

    Parameters
    ----------
    hits : Path
        Hit-only file.
    choice : Choice

    Returns
    -------
    ComposedFile
        To be closed.

    Raises
    ------
    NothingChosenError
        No hit is chosen.
    SourceError
        `hits` is no such file, or is damaged.
    SettingsError
        The run has no such pump state.
    OutputError
        There is no space for the metadata in the folder for temporary files.
    """
    with HitsToChoose(hits) as file:
        return compose(file, choice)


def compose(file: HitsToChoose, choice: Choice) -> ComposedFile:
    """As `choose`, of a file that is open."""
    rows = HitNumbers.of(file).rows(choice)
    if not len(rows):
        what = f"{file.path}: none of its {len(file):,} hits is chosen by {choice}"
        raise NothingChosenError(what, mend="choose otherwise")
    return file.compose(rows, {"choice": choice.given})


def write_subset(request: SubsetRequest, *, progress: Step | None = None) -> Chosen:
    """Write the hit-only file of a choice, whole or not at all.

    Parameters
    ----------
    request : SubsetRequest
    progress : callable, optional
        Called with the number of bytes written and of all.

    Returns
    -------
    Chosen
        Its bytes are those of the whole file.

    Raises
    ------
    SourceError
        No hit is chosen; or the hit-only file is none, or is damaged.
    SettingsError
        The run has no such pump state.
    OutputError
        The output exists, or cannot be written; then none is left.
    """
    with HitsToChoose(request.hits) as file:
        n_of = len(file)
    with choose(request.hits, request.choice) as composed:
        store(composed, request.output, request.hits, overwrite=request.overwrite, step=progress)
        return Chosen(len(composed), n_of, composed.size)
