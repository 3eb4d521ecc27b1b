"""A stored run: which images it has, and where their bytes are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.model.detector import Beam, Detector
from hitsieve.model.lattice import UnitCell

Codec = Literal["bslz4", "bszstd", "lz4"]
"""Compressions that the core decodes by itself: bitshuffle+LZ4, bitshuffle+zstd (HDF5 filter 32008) and
DECTRIS' plain LZ4 (HDF5 filter 32004)."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file (and dataset in it) that holds images of the run."""

    path: Path
    dataset: str
    """Path of the dataset in the HDF5 file; empty for formats read through fabio."""
    n_images: int
    codec: Codec | None
    """None: images must be read through the format's own library."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one image is stored."""

    path: Path
    dataset: str
    """Path of the dataset in the HDF5 file; empty for formats read through fabio."""
    row: int
    """In the dataset, or frame of the file."""

    def __str__(self) -> str:
        return f"{self.path}{f', {self.dataset}' if self.dataset else ''}, row {self.row}"


@dataclass(frozen=True, slots=True)
class ImageTable:
    """Where each of the run's n images is."""

    file: npt.NDArray[np.int32]
    """Index into Run.files; -1 for a missing image of which no file is known."""
    row: npt.NDArray[np.int64]
    """Row in the data file's dataset."""
    offset: npt.NDArray[np.int64]
    """Byte offset of the stored chunk in the file; -1 where the image must be read through its library."""
    size: npt.NDArray[np.int64]
    """Stored bytes; 0 where offset is -1."""
    missing: dict[int, str] = field(default_factory=dict)
    """Images known to be absent, with the reason, by index in the run."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Images known to be unreadable before any decoding, with the reason."""

    def __len__(self) -> int:
        return len(self.file)


@dataclass(frozen=True, slots=True)
class ImageHeaders:
    """What the text header of each image states, for formats that have one; shape (images,) each."""

    text: tuple[str, ...]
    """The headers as they stand in the files; empty where there is none."""
    count_time: npt.NDArray[np.float64]
    """Exposure (s); NaN where not stated, as below."""
    frame_time: npt.NDArray[np.float64]
    """From the start of one image to that of the next (s)."""
    threshold_energy: npt.NDArray[np.float64]
    """eV."""
    start_time: str | None
    """Of the first image that states one: ISO 8601, with a time zone only where the header has one."""


@dataclass(frozen=True, slots=True)
class PumpStates:
    """The pump state of each image of a time-resolved run."""

    names: tuple[str, ...]
    """Of the states."""
    code: npt.NDArray[np.int16]
    """State of each image as index in names, shape (images,); -1 where it is unknown."""
    origin: str
    """In words: who says so."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the source that the user should know; the run goes on."""

    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.mend})" if self.mend else "")


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run as opened; holds no open file."""

    path: Path
    """What the user named: the master file, the first data file, or the first image."""
    stem: str
    """Prefix of output names: the file name without suffix and without `_master`."""
    files: tuple[DataFile, ...]
    images: ImageTable
    dtype: np.dtype[np.generic]
    detector: Detector
    beam: Beam
    style: str
    """How the images are arranged: vds, external, single, files or images (fabio)."""
    problems: tuple[Problem, ...] = ()
    overrides: dict[str, str] = field(default_factory=dict)
    """Metadata that the user set, by name, as given."""
    headers: ImageHeaders | None = None
    """Text headers of the images; None where the format has none."""
    sample_cell: UnitCell | None = None
    """Unit cell of the sample, as the source states it."""
    pump: PumpStates | None = None
    """None: the run is not time-resolved, as far as is known."""
    named: tuple[Path, ...] = ()
    """All that the user named; empty: `path` alone."""

    def __len__(self) -> int:
        return len(self.images)
