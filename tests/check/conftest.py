"""A good file to do damage to, and what a run makes of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import hitsieve
from hitsieve.settings import RunSettings
from hitsieve.testing import Simulated

from .damage import made

KEEP = RunSettings.model_validate({"verdict": {"min_spots": 5}, "write": {"misses": "keep"}})


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with its images inside, of which nothing is found; never changed."""
    return made(tmp_path_factory.mktemp("single"), name="single", style="single", modules=False).master


@pytest.fixture
def mine(single: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(single, tmp_path / "mine.h5"))


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Simulated]:
    """A run in each style in which masters show their images; never changed."""
    styles = ("vds", "vds-strided", "external", "single")
    return {style: made(tmp_path_factory.mktemp(style), name="run", style=style) for style in styles}


@dataclass(frozen=True)
class Outputs:
    hits: Path
    misses: Path
    annotated: Path


@pytest.fixture(scope="session")
def outputs(masters: dict[str, Simulated], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outputs]:
    """What hitsieve makes of each."""
    found = {}
    for style, run in masters.items():
        folder = tmp_path_factory.mktemp(f"out-{style}")
        report = hitsieve.run(run.master, output=folder, settings=KEEP)
        assert report.summary.n_hits
        assert report.summary.n_misses
        found[style] = Outputs(*(folder / f"run_{name}.h5" for name in ("hits", "misses", "annotated")))
    return found
