"""Files to do damage to, and what is then found in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from hitsieve.check import examine
from hitsieve.testing import Simulated, SimulateSettings, simulate

SMALL = {"detector": "test-256k", "images": 6, "images_per_file": 2, "hit_fraction": 0.5, "seed": 3, "modules": True}
DETECTOR = "/entry/instrument/detector"
DATA = "/entry/data/data"

Found = set[tuple[str, str, str]]


def made(folder: Path, **settings: object) -> Simulated:
    """A run of six small images."""
    return simulate(folder, SimulateSettings.model_validate(SMALL | settings))


def found(path: Path, *sets: str) -> Found:
    """Severity, rule and first place of each finding."""
    checked = examine(path, sets or ("nxmx", "gold", "hits"))
    return {(finding.severity.name.lower(), finding.rule, finding.place) for finding in checked.findings}


def replaced(file: h5py.File, place: str, value: Any) -> None:
    """Another value for a field, which keeps its attributes."""
    attributes = dict(file[place].attrs)
    del file[place]
    made = file.create_dataset(place, data=value)
    made.attrs.update(attributes)
