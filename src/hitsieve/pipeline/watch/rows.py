"""What the journal knows of a run: which files it has, and how far each step is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["waiting", "running", "done", "failed", "held"]
"""failed: is tried again by itself; held: waits for somebody."""
Gone = Literal["", "replaced", "forgotten"]
ARRIVE = "arrive"
"""The step that waits until a run is whole."""
RUN = "run"
STEPS = (ARRIVE, RUN, "check", "verify", "catalogue", "scicat")
"""In their order; each begins when those before it are done."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One file of a source, as it was at some moment."""

    path: str
    size: int
    seconds: int
    """When it was last changed, in whole seconds: parts of them may come and go with what the system remembers, and so
    may the number of the file (inode) on network shares."""

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """The file as it is now; None where it is not there, or cannot be seen."""
        try:
            seen = path.stat()
        except OSError:
            return None
        return cls(str(path), seen.st_size, int(seen.st_mtime))

    @property
    def identity(self) -> str:
        """What tells a master from one that takes its place."""
        return f"{self.size}:{self.seconds}"


def is_folder(path: Path) -> bool:
    """Whether a folder is there; whatever the system says of one that is away, it is not."""
    try:
        return path.is_dir()
    except OSError:
        return False


def stamps_of(paths: Iterable[Path]) -> tuple[Stamp | None, ...]:
    """All of them as they are now."""
    return tuple(Stamp.of(path) for path in paths)


@dataclass(frozen=True, slots=True)
class Step:
    """How far one step of a run is."""

    name: str
    state: State
    attempts: int = 0
    deaths: int = 0
    """How often the process that was at it died, one time after the other."""
    started: float | None = None
    """s since 1970, as below."""
    ended: float | None = None
    said: str = ""
    """What came of it; why it waits, failed or is held."""
    mend: str = ""
    next_try: float = 0.0
    """Not before."""

    def is_due(self, now: float) -> bool:
        """Whether it can be seen to; one that runs can be, if whoever was at it is gone."""
        return self.state == "running" or (self.state in ("waiting", "failed") and self.next_try <= now)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the journal."""

    key: int
    top: Path
    """The folder that is watched."""
    path: Path
    """The master."""
    identity: str
    """Of the master; empty until the run is whole."""
    found: float
    folder: Path | None
    """Where its outputs are, or will be, as below."""
    stem: str
    files: tuple[Stamp, ...]
    """Master and data files as they were when it was found whole."""
    begun: float | None
    """When this run, and no other, first began to write outputs there; None: it never did."""
    as_it_is: bool
    """Somebody said to take it though it is not whole."""
    n_images: int | None
    n_hits: int | None
    gone: Gone
    steps: tuple[Step, ...]

    @property
    def next(self) -> Step | None:
        """The first step that is not done."""
        return next((step for step in self.steps if step.state != "done"), None)

    @property
    def state(self) -> State | Gone:
        """How far the whole run is."""
        return self.gone or ("done" if self.next is None else self.next.state)

    def step(self, name: str) -> Step:
        """One step by its name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def is_as_found(self) -> bool:
        """Whether master and data files are as they were when the run was found whole."""
        return stamps_of(Path(stamp.path) for stamp in self.files) == self.files
