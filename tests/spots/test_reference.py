"""The reference itself, by cases small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from . import reference
from .reference import Params

Image = npt.NDArray[np.int64]


def params(shape: tuple[int, int], **changes: object) -> Params:
    """One bin, everything valid."""
    given: dict[str, object] = {
        "bins": np.zeros(shape, dtype=np.uint16),
        "valid": np.ones(shape, dtype=np.bool_),
        "background_bins": np.ones(1, dtype=np.bool_),
        "snr": 5.0,
        "min_count": 4,
    }
    return Params(**(given | changes))  # type: ignore[arg-type]


def chequered(shape: tuple[int, int]) -> Image:
    """0 and 2 in turns: mean 1 and sigma 1 where the numbers of both are equal."""
    slow, fast = np.indices(shape)
    return 2 * ((slow + fast) % 2)


def test_sample_takes_all_of_a_small_image() -> None:
    p = params((100, 100))
    assert reference.sample_units(p.valid, p.bins).tolist() == [0, 1, 2]


def test_sample_spreads_evenly() -> None:
    p = params((4096, 32))
    assert reference.sample_units(p.valid, p.bins).tolist() == list(range(0, 32, 2))


def test_sample_adds_the_unit_that_holds_most_of_a_starved_bin() -> None:
    shape = (32, 4096)
    bins = np.zeros(shape, dtype=np.uint16)
    valid = np.ones(shape, dtype=np.bool_)
    bins[3, :75] = 1
    bins[5, :50] = 1
    bins[9, :75] = 1
    bins[11, :20] = 2
    valid[11, 5:] = False
    chosen = reference.sample_units(valid, bins).tolist()
    assert chosen == sorted([*range(0, 32, 2), 3, 9, 11])


def test_sums_are_exact_at_the_ends_of_32_bits() -> None:
    values = np.array([2**32 - 1, 2**32 - 1, -(2**31), -1, 65536, 65535, 7], dtype=np.int64)
    exact = [int(v) for v in values]
    assert reference.sums(values) == (7, sum(exact), sum(v * v for v in exact))


def test_threshold_is_mean_plus_snr_sigma() -> None:
    p = params((4, 4), snr=5.0, min_count=1)
    b = reference.bin_statistics(chequered((4, 4)).ravel(), p)
    assert (b.n, b.sum, b.mean, b.sigma, b.threshold) == (16, 16, 1.0, 1.0, 6.0)


def test_threshold_is_never_below_poisson_noise_nor_min_count() -> None:
    flat = np.full(100, 4, dtype=np.int64)
    assert reference.bin_statistics(flat, params((10, 10))).threshold == 4 + 5 * 2
    assert reference.bin_statistics(flat * 0, params((10, 10))).threshold == 3
    assert reference.bin_statistics(flat, params((10, 10), saturation=9)).threshold == 8


def test_clipping_leaves_out_bright_pixels() -> None:
    values = np.append(chequered((10, 10)).ravel(), [1000])
    b = reference.bin_statistics(values, params((10, 10)))
    assert (b.n, b.mean, b.sigma) == (100, 1.0, 1.0)


def test_bin_without_pixels_has_no_threshold() -> None:
    b = reference.bin_statistics(np.empty(0, dtype=np.int64), params((1, 1)))
    assert b.n == 0
    assert b.threshold == math.inf


def test_one_spot() -> None:
    shape = (40, 40)
    image = chequered(shape)
    image[20, 10:12] = (51, 101)
    found = reference.find(image, params(shape))
    assert (found.n_spots, found.n_strong, found.n_saturated, found.max_count) == (1, 2, 0, 101)
    spot = found.spots[0]
    # The frame is 9 x 10 pixels less 3 x 4: 78 of a chequerboard, of mean 1 and sigma 1.
    assert (spot.spot_background, spot.n_pixels, spot.peak, spot.flags) == (1.0, 2, 101, 0)
    assert spot.intensity == 150.0
    assert spot.snr == pytest.approx(150 / math.sqrt(2))
    assert spot.x == pytest.approx((50 * 10.5 + 100 * 11.5) / 150)
    assert spot.y == pytest.approx(20.5)


def test_diagonal_pixels_are_one_spot_but_not_across_panels() -> None:
    shape = (40, 40)
    image = chequered(shape)
    image[20, 19] = image[21, 20] = 99
    assert reference.find(image, params(shape)).n_spots == 1
    panels = (np.indices(shape)[1] >= 20).astype(np.uint16)
    found = reference.find(image, params(shape, panels=panels, min_pixels=1))
    assert [(round(s.x, 9), round(s.y, 9)) for s in found.spots] == [(19.5, 20.5), (20.5, 21.5)]
    assert [s.flags for s in found.spots] == [reference.MASKED_NEIGHBOUR] * 2


def test_flags() -> None:
    shape = (40, 60)
    image = chequered(shape)
    for fast in (10, 20, 30, 40, 50):
        image[20, fast : fast + 2] = 99
    image[20, 11] = 200
    valid = np.ones(shape, dtype=np.bool_)
    valid[21, 22] = False
    image[19, 32] = -1
    image[19, 42] = 77
    image[0, 0:2] = 99
    p = params(shape, valid=valid, saturation=200, error_value=77)
    found = reference.find(image, p)
    assert [s.flags for s in found.spots] == [4, 2, 4, 4, 4, 0]
    assert (found.n_saturated, found.max_count) == (1, 200)


def test_crowded_frame_falls_back_on_the_bin() -> None:
    shape = (40, 40)
    image = chequered(shape)
    image[20, 20:22] = 99
    valid = np.ones(shape, dtype=np.bool_)
    valid[12:30, 12:30] = False
    valid[20, 20:22] = True
    spot = reference.find(image, params(shape, valid=valid)).spots[0]
    assert (spot.spot_background, spot.intensity) == (1.0, 196.0)


def test_strongest_are_kept_in_raster_order() -> None:
    shape = (60, 60)
    image = chequered(shape)
    for i, count in enumerate((80, 95, 99, 95, 70)):
        image[10 * i + 8, 30:32] = count
    found = reference.find(image, params(shape, max_spots=2))
    assert found.n_spots == 5
    assert [s.peak for s in found.spots] == [95, 99]


def test_background_is_that_of_the_chosen_bins() -> None:
    shape = (20, 20)
    image = np.repeat(np.array([[0], [3], [10], [30]]), 5, axis=0) * np.ones(shape, dtype=np.int64)
    bins = np.repeat(np.arange(4, dtype=np.uint16)[:, None], 5, axis=0) * np.ones(shape, dtype=np.uint16)
    found = reference.find(image, params(shape, bins=bins, background_bins=np.array([False, True, True, False])))
    assert found.background == 6.5
    none = reference.find(image, params(shape, bins=bins, background_bins=np.zeros(4, dtype=np.bool_)))
    assert math.isnan(none.background)


def test_nothing_good() -> None:
    found = reference.find(np.full((9, 9), -5), params((9, 9)))
    assert (found.n_spots, found.n_strong, found.max_count) == (0, 0, -1)
    assert math.isnan(found.background)


@pytest.mark.parametrize("scale", [1, 2**27])
def test_dispersion_against_loops(scale: int) -> None:
    rng = np.random.default_rng(7)
    shape = (25, 31)
    image = rng.poisson(1.0, shape).astype(np.int64)
    image[10:12, 14:16] += 30
    image[3, 3] += 9
    image *= scale
    good = rng.random(shape) < 0.9
    saturated = good & (rng.random(shape) < 0.05)
    panels = (np.indices(shape)[1] >= 15).astype(np.uint16)
    p = params(shape, panels=panels, algorithm="dispersion")
    strong = reference.strong_pixels(image, good, saturated, [], p)
    use = good & ~saturated
    for r in range(shape[0]):
        for c in range(shape[1]):
            near = [
                int(image[i, j])
                for i in range(max(r - 3, 0), min(r + 4, shape[0]))
                for j in range(max(c - 3, 0), min(c + 4, shape[1]))
                if use[i, j] and panels[i, j] == panels[r, c]
            ]
            m, x, y, v = len(near), sum(near), sum(q * q for q in near), int(image[r, c])
            want = bool(good[r, c]) and m >= 2 and v > 0
            want = want and m * y - x * x - x * (m - 1) > x * 6 * math.sqrt(2 * (m - 1))
            want = want and m * v - x > 3 * math.sqrt(x * m)
            assert strong[r, c] == want
    assert 0 < strong.sum() < strong.size
