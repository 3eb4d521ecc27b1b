"""Images are handed out in ranges, each once, ever smaller towards the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from hitsieve.model import Beam, Detector, ImageTable, Run
from hitsieve.pipeline.units import LEAST, SHARE, SIZE, dwindling, units


def in_files(file: npt.NDArray[np.int64]) -> Run:
    """A run whose images are in these files, of which only the numbers matter."""
    zeros = np.zeros(len(file), dtype=np.int64)
    table = ImageTable(file=file.astype(np.int32), row=zeros, offset=zeros, size=zeros)
    return Run(Path("many"), "many", (), table, np.dtype("i2"), Detector((2, 2)), Beam(), "single")


@given(
    st.lists(st.integers(-1, 59)),
    st.integers(1, 9),
    st.lists(st.integers(0, 3), min_size=60, max_size=60),
    st.booleans(),
)
def test_units_hold_all_images_once(images: list[int], size: int, files: list[int], even: bool) -> None:
    asked, run = np.array(images, dtype=np.int64), in_files(np.array(files))
    parts = units(run, asked, size) if even else list(dwindling(run, asked, lambda: size))
    assert np.array_equal(np.concatenate([asked[:0], *(asked[part] for part in parts)]), asked)
    for part in parts:
        here = asked[part]
        assert 1 <= len(here) <= (size if even else SIZE)
        assert len(set(run.images.file[here[here >= 0]].tolist())) <= 1


@given(st.integers(1, 50_000), st.integers(1, 400))
def test_units_dwindle_so_that_nobody_waits_for_long(n: int, takers: int) -> None:
    run, images = in_files(np.zeros(n, dtype=np.int64)), np.arange(n)
    sizes = [part.stop - part.start for part in dwindling(run, images, lambda: takers)]
    assert sum(sizes) == n
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == min(n, SIZE, max(LEAST, n // (SHARE * takers)))
    assert sizes[-1] <= LEAST


def test_who_comes_later_gets_a_share() -> None:
    run, images = in_files(np.zeros(4000, dtype=np.int64)), np.arange(4000)
    there = 1
    parts = dwindling(run, images, lambda: there)
    assert next(parts) == slice(0, 256)
    there = 100
    assert next(parts) == slice(256, 256 + LEAST)
