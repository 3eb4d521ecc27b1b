"""The compiled finder on unpacked images is exactly the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from . import reference
from .cases import DTYPES, Case, assert_agree, assert_same, cases, columns, finder
from .reference import Params

EXACT = settings(suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(EXACT, max_examples=150)
def test_any_image(dtype: str, data: st.DataObject) -> None:
    case = data.draw(cases(dtype))
    assert_agree(finder(dtype, case.params).find(case.image), case.image, case.params)


@given(case=cases())
@settings(EXACT, max_examples=200)
def test_profile_of_any_image(case: Case) -> None:
    """The thresholds that are told are those of the reference."""
    p = case.params
    v = case.image.astype(np.int64)
    good = p.valid & (v >= p.underload) & (v != p.error_value if p.error_value is not None else True)
    saturated = good & (v >= p.saturation) if p.saturation is not None else np.zeros(v.shape, dtype=np.bool_)
    want = reference.statistics(v, good, saturated, p)
    n, mean, sigma, threshold = finder(case.image.dtype, p).profile(case.image)
    assert n.tolist() == [b.n for b in want]
    for got, name in ((mean, "mean"), (sigma, "sigma"), (threshold, "threshold")):
        np.testing.assert_array_equal(got[n > 0], [getattr(b, name) for b in want if b.n > 0], err_msg=name)


@pytest.mark.long
@given(case=cases())
@settings(EXACT, max_examples=20000)
def test_any_image_at_length(case: Case) -> None:
    assert_agree(finder(case.image.dtype, case.params).find(case.image), case.image, case.params)


@given(
    shape=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    n_bins=st.integers(1, 400),
    bad=st.sampled_from([0.0, 0.1, 0.9, 0.999, 1.0]),
    seed=st.integers(0, 2**32),
)
@example(shape=(32, 4096), n_bins=3, bad=0.0, seed=0)
@settings(EXACT, max_examples=60)
def test_sample(shape: tuple[int, int], n_bins: int, bad: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slow, fast = np.indices(shape)
    bins = np.minimum(np.hypot(slow - shape[0] * rng.random(), fast - shape[1] * rng.random()), n_bins - 1)
    p = Params(
        bins=bins.astype(np.uint16), valid=rng.random(shape) >= bad, background_bins=np.ones(n_bins, dtype=np.bool_)
    )
    np.testing.assert_array_equal(finder("uint16", p).sample, reference.sample_units(p.valid, p.bins), strict=True)


def test_sampled_background_of_a_large_image() -> None:
    rng = np.random.default_rng(11)
    shape = (700, 1030)
    slow, fast = np.indices(shape)
    bins = (np.hypot(slow - 345.6, fast - 498.7) / 4).astype(np.uint16)
    image = rng.poisson(0.3 + 2000 / (100 + bins), shape).astype(np.uint16)
    for _ in range(60):
        y, x = rng.integers(shape[0] - 3), rng.integers(shape[1] - 3)
        image[y : y + 3, x : x + 3] += rng.integers(0, 90, (3, 3)).astype(np.uint16)
    p = Params(
        bins=bins,
        valid=rng.random(shape) > 0.02,
        background_bins=np.arange(int(bins.max()) + 1) % 3 == 1,
        saturation=90,
    )
    want = reference.find(image, p)
    assert len(reference.sample_units(p.valid, p.bins)) * reference.UNIT < image.size
    assert want.n_spots > 20
    assert_same(columns(finder("uint16", p).find(image)), want.columns())


def plain(shape: tuple[int, int], **changes: Any) -> Params:
    """One bin, all valid."""
    given = {
        "bins": np.zeros(shape, dtype=np.uint16),
        "valid": np.ones(shape, dtype=np.bool_),
        "background_bins": np.ones(1, dtype=np.bool_),
    }
    return Params(**(given | changes))


def test_sums_beyond_64_bits() -> None:
    image = np.random.default_rng(6).poisson(3.0, (20, 60000)).astype(np.uint32)
    image[8:12, 5000:55000] = 2**32 - 1
    p = plain(image.shape, saturation=2**32 - 1, max_pixels=10**6)
    assert reference.find(image, p).columns()["n_pixels"].max() > 10000
    assert_agree(finder("uint32", p).find(image), image, p)


@pytest.mark.parametrize("shape", [(70000, 12), (12, 70000)])
def test_pixel_numbers_beyond_16_bits(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(6).poisson(3.0, shape).astype(np.uint16)
    image.reshape(-1)[100::9973] = 60
    image[-6:-4, -6:-4] = 70
    p = plain(shape, min_pixels=1)
    assert max(reference.find(image, p).columns()[axis].max() for axis in "xy") > 65536
    assert_agree(finder("uint16", p).find(image), image, p)


def test_masks_and_maps_in_any_memory_order() -> None:
    case = Case(np.random.default_rng(5).poisson(2.0, (50, 64)).astype(np.int32), plain((50, 64)))
    case.image[20:22, 30:33] += 80
    case.image[40, 8:12] += 80
    slow, fast = np.indices((50, 64))
    p = replace(
        case.params,
        bins=np.asfortranarray(slow // 20, dtype=np.uint16),
        valid=np.asfortranarray((slow + fast) % 17 > 0),
        panels=np.asfortranarray(fast // 32, dtype=np.uint16),
        background_bins=np.array([True, False, True]),
    )
    assert_agree(finder("int32", p).find(case.image), case.image, p)


def test_every_other_entry_of_wider_arrays() -> None:
    image = np.random.default_rng(5).poisson(2.0, (50, 64)).astype(np.int32)
    image[20:22, 30:33] += 80
    p = replace(
        plain((50, 64)),
        bins=np.repeat(np.indices((50, 64))[0] // 10, 2, axis=1).astype(np.uint16)[:, ::2],
        valid=np.repeat(np.random.default_rng(6).random((50, 64)) < 0.9, 2, axis=0)[::2],
        background_bins=np.array([True, False, False, False, True, False, False, False, True, False])[::2],
    )
    assert_agree(finder("int32", p).find(image), image, p)


def test_image_in_any_memory_order() -> None:
    rng = np.random.default_rng(5)
    image = rng.poisson(2.0, (50, 64)).astype(np.int32)
    image[20:22, 30:33] += 80
    p = plain((50, 64))
    search = finder("int32", p)
    wide = np.zeros((50, 128), dtype=np.int32)
    wide[:, ::2] = image
    for same in (np.asfortranarray(image), wide[:, ::2]):
        assert_agree(search.find(same), image, p)
