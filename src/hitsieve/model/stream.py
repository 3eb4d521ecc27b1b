"""What a detector says while it measures: the start of a series, its images one by one, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hitsieve.model.detector import Detector
from hitsieve.model.lattice import CellParameters
from hitsieve.model.run import Codec, Problem

DROPPED_FIELD = "dropped_before_disk"
"""Field of detectorSpecific, in the master file of a received series, that tells by which rule images were dropped."""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Which series a message belongs to; messages of other keys never meet."""

    number: int
    """Number of the series; a detector may use one again after a restart."""
    unique: str = ""
    """What tells series of one number apart; empty where the detector gives nothing."""

    def __str__(self) -> str:
        return f"series {self.number}" + (f" ({self.unique})" if self.unique else "")


@dataclass(frozen=True, slots=True)
class SeriesStart:
    """A series begins."""

    key: SeriesKey
    n_images: int | None
    """Images that are announced; None where the message does not say."""
    detector: Detector | None
    """None where the message states no size of the images."""
    wavelength: float | None
    """Angstrom."""
    cell: CellParameters | None = None
    """Unit cell of the sample."""
    space_group: str | None = None
    stated: dict[str, Any] = field(default_factory=dict)
    """All else that the message states, as JSON has it."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class PackedImage:
    """The counts of one image, packed or not."""

    shape: tuple[int, int]
    """(slow, fast)."""
    dtype: np.dtype[np.generic]
    """Little-endian."""
    codec: Codec | None
    """None: the counts as they are."""
    data: bytes | memoryview
    """Nobody writes to it."""


@dataclass(frozen=True, slots=True)
class SeriesImage:
    """One image of a series."""

    key: SeriesKey
    number: int
    """Place in the series, from 0."""
    packed: PackedImage | None
    """None: the message holds no image that can be used; `reason` says why."""
    reason: str = ""
    values: Mapping[str, int | float | str] = field(default_factory=dict)
    """Numbers and short texts that the message states besides, by name."""


@dataclass(frozen=True, slots=True)
class SeriesEnd:
    """A series ends; where images come through several sockets, some may still be on their way."""

    key: SeriesKey


Message = SeriesStart | SeriesImage | SeriesEnd
