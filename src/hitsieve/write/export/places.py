"""Where an output of hitsieve holds what other programs read from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py

from hitsieve.errors import SourceError
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output


@dataclass(frozen=True, slots=True)
class Places:
    """Paths in an HDF5 output."""

    images: str
    """Dataset of the images."""
    mask: str | None
    """Dataset of the pixel mask; None where there is none."""
    peaks: str | None
    """Group of the peak lists; None where there is none."""


def find_places(file: Path) -> Places:
    """Find them in a hit-only file or an annotated master.

    Raises
    ------
    SourceError
        It cannot be opened, or holds no images.
    """
    with open_output(file, "*_hits.h5") as handle:
        entry = entry_of(handle)
        images = f"{entry}/data/data"
        if images not in handle:
            raise SourceError(f"{file}: holds no images: those of the run are not HDF5", mend="export the hits only")
        masks = (f"{detector}/pixel_mask" for detector in _detectors(handle, entry))
        return Places(
            images=images,
            mask=next((mask for mask in masks if isinstance(handle.get(mask), h5py.Dataset)), None),
            peaks=f"{entry}/MX" if f"{entry}/MX/nPeaks" in handle else None,
        )


def _detectors(handle: h5py.File, entry: str) -> list[str]:
    """Groups of detectors, `detector` first."""
    instrument = handle.get(f"{entry}/instrument")
    names = [name for name in instrument if name.startswith("detector")] if isinstance(instrument, h5py.Group) else []
    return [f"{entry}/instrument/{name}" for name in sorted(names)]
