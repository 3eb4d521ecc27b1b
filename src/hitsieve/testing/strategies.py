"""Hypothesis strategies for small images and what a finder needs beside them. Needs hypothesis (`hitsieve[test]`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


@dataclass(frozen=True, slots=True)
class SmallImage:
    """An image with its mask and bins, all of shape (slow, fast)."""

    counts: npt.NDArray[np.generic]
    valid: npt.NDArray[np.bool_]
    """False for masked pixels."""
    bins: npt.NDArray[np.uint16]
    """Bin number of each pixel; every bin from 0 on has pixels."""


@st.composite
def small_images(draw: st.DrawFn, largest: int = 48) -> SmallImage:
    """Images of counts: Poisson background, bright blobs, extreme values of the type, and masked pixels."""
    shape = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    dtype: np.dtype[Any] = np.dtype(draw(st.sampled_from(_TYPES)))
    limits = np.iinfo(dtype)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = random.poisson(draw(st.sampled_from([0.0, 0.1, 0.7, 5.0, 60.0])), shape).clip(limits.min, limits.max)
    for _ in range(draw(st.integers(0, 6))):
        y, x = draw(st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1)))
        height, width = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        counts[y : y + height, x : x + width] = draw(st.integers(int(limits.min), int(limits.max)))
    valid = draw(st.one_of(st.just(np.ones(shape, dtype=np.bool_)), hnp.arrays(np.bool_, shape)))
    return SmallImage(counts.astype(dtype), valid, draw(bins(shape)))


@st.composite
def bins(draw: st.DrawFn, shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Rings around a centre in or near the image, numbered from 0 without holes."""
    y, x = draw(st.tuples(st.integers(-5, shape[0] + 5), st.integers(-5, shape[1] + 5)))
    width = draw(st.integers(1, 20))
    radius = np.hypot(*(np.indices(shape) - np.array([y, x])[:, None, None]))
    return np.unique(radius // width, return_inverse=True)[1].reshape(shape).astype(np.uint16)
