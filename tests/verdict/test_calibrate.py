"""The threshold that blanks give holds for them, and is not higher than it need be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hitsieve.verdict import DEFAULT_MIN_SPOTS, FLOOR, calibrate, false_hits

Counts = npt.NDArray[np.int64]
Levels = npt.NDArray[np.float64]
N = 5000


def blanks(mean: float, dispersion: float) -> Any:
    """Distribution of the counted spots of blanks."""
    if dispersion == 1.0:
        return stats.poisson(mean)
    return stats.nbinom(mean / (dispersion - 1.0), 1.0 / dispersion)


def counts(rng: np.random.Generator, distribution: Any, hits: float, *, weak: bool = False, n: int = N) -> Counts:
    """Spots of a run whose hits have those of their crystal besides those of a blank."""
    out: Counts = distribution.rvs(n, random_state=rng).astype(np.int64)
    n_hits = round(hits * n)
    crystal = rng.integers(5, 16, n_hits) if weak else np.exp(rng.uniform(np.log(15), np.log(200), n_hits))
    out[:n_hits] += crystal.astype(np.int64)
    return out


def oracle(distribution: Any, rate: float = 1e-3) -> int:
    """Least threshold that holds, of who knows the distribution."""
    return max(FLOOR, int(distribution.isf(rate)) + 1)


@pytest.mark.parametrize("hits", [0.0, 0.05, 0.3, 0.6])
@pytest.mark.parametrize("dispersion", [1.0, 1.5])
@pytest.mark.parametrize("mean", [0.05, 0.3, 1.0, 3.0, 8.0, 15.0, 30.0])
def test_threshold_holds_and_is_not_needlessly_high(mean: float, dispersion: float, hits: float) -> None:
    distribution = blanks(mean, dispersion)
    best = oracle(distribution)
    for seed in range(2):
        found = calibrate(counts(np.random.default_rng(seed), distribution, hits))
        assert found.origin == "blanks"
        assert distribution.sf(found.min_spots - 1) <= 1.5e-3
        # Where many of the images are hits of few more spots than blanks have, some pass for blanks.
        assert found.min_spots <= best + 2 + (0.3 * hits * best if mean > 10 else 0)
        assert found.blanks is not None
        # Where most images are hits, the blanks of most spots may pass for some of these.
        assert found.blanks.mean == pytest.approx(mean, rel=0.3 if hits > 0.5 else 0.15, abs=0.02)
        assert found.blanks.n == pytest.approx((1 - hits) * N, rel=0.25)


@pytest.mark.parametrize("mean", [0.05, 1.0, 3.0, 8.0])
def test_some_weak_hits_do_not_raise_it_much(mean: float) -> None:
    distribution = blanks(mean, 1.0)
    found = calibrate(counts(np.random.default_rng(1), distribution, 0.05, weak=True))
    assert found.origin == "blanks"
    assert oracle(distribution) <= found.min_spots <= oracle(distribution) + 2


@pytest.mark.parametrize("mean", [0.05, 0.3, 1.0])
def test_most_images_weak_hits(mean: float) -> None:
    found = calibrate(counts(np.random.default_rng(2), blanks(mean, 1.0), 0.6, weak=True))
    assert found.origin == "default"
    assert found.min_spots == DEFAULT_MIN_SPOTS
    assert "weak hits" in found.reason


def test_lattices_tell_weak_hits_from_blanks() -> None:
    rng = np.random.default_rng(3)
    distribution = blanks(0.3, 1.0)
    n_spots = counts(rng, distribution, 0.6, weak=True)
    indexed = (np.arange(N) < 0.6 * N) & (rng.random(N) < 0.7) & (n_spots >= 8)
    found = calibrate(n_spots, indexed=indexed)
    assert found.origin == "blanks"
    assert oracle(distribution) <= found.min_spots <= oracle(distribution) + 2


@pytest.mark.parametrize(("mean", "dispersion"), [(8.0, 2.0), (15.0, 1.0), (30.0, 1.0)])
def test_lattices_among_the_brightest_blanks_are_no_doubt_of_them(mean: float, dispersion: float) -> None:
    rng = np.random.default_rng(3)
    distribution = blanks(mean, dispersion)
    n_spots = counts(rng, distribution, 0.6, weak=True)
    found = calibrate(n_spots, indexed=(np.arange(N) < 0.6 * N) & (rng.random(N) < 0.7) & (n_spots >= 8))
    assert found.origin == "blanks"
    assert distribution.sf(found.min_spots - 1) <= 1e-3


def test_blanks_of_a_jet_that_varies_much_are_no_hits() -> None:
    rng = np.random.default_rng([0, N])
    n_spots = rng.poisson(8.0 * rng.lognormal(-0.32, 0.8, N))
    n_spots[: N // 20] += np.exp(rng.uniform(np.log(15), np.log(200), N // 20)).astype(np.int64)
    found = calibrate(n_spots)
    assert found.origin == "blanks"
    assert found.min_spots >= 35


@pytest.mark.parametrize(("mean", "dispersion", "hits"), [(8.0, 2.0, 0.05), (8.0, 1.3, 0.05), (30.0, 1.0, 0.02)])
def test_a_few_weak_hits_do_not_lower_the_threshold_into_the_blanks(
    mean: float, dispersion: float, hits: float
) -> None:
    distribution, n, shares = blanks(mean, dispersion), 500, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n_spots = counts(rng, distribution, hits, weak=True, n=n)
        found = calibrate(n_spots, indexed=(np.arange(n) < hits * n) & (rng.random(n) < 0.7) & (n_spots >= 8))
        shares.append(distribution.sf(found.min_spots - 1))
    assert np.mean(shares) <= 0.5e-3


@pytest.mark.parametrize(
    "n_spots",
    [
        np.exp(np.random.default_rng(0).uniform(np.log(15), np.log(200), N)).astype(np.int64),
        np.random.default_rng(0).poisson(60, N),
        np.random.default_rng(0).gamma(3.0, 20.0, N).astype(np.int64),
        np.random.default_rng(0).integers(5, 16, N),
    ],
    ids=["log-uniform", "Poisson", "gamma", "weak"],
)
def test_all_images_hits(n_spots: Counts) -> None:
    found = calibrate(n_spots)
    assert (found.min_spots, found.origin) == (DEFAULT_MIN_SPOTS, "default")
    assert false_hits(n_spots, 8) is None


def test_mode_of_images_with_a_lattice_is_not_of_blanks() -> None:
    n_spots = np.random.default_rng(0).poisson(20, N)
    found = calibrate(n_spots, indexed=np.arange(N) % 4 != 0)
    assert (found.min_spots, found.origin) == (DEFAULT_MIN_SPOTS, "default")
    assert "lattice" in found.reason


@pytest.mark.parametrize("n", [0, 1, 49])
def test_too_few_blanks(n: int) -> None:
    found = calibrate(np.zeros(n, dtype=np.int32))
    assert (found.min_spots, found.origin, found.blanks) == (DEFAULT_MIN_SPOTS, "default", None)
    assert "50" in found.reason
    assert false_hits(np.zeros(n, dtype=np.int32), 8) is None


def test_blanks_without_a_spot() -> None:
    found = calibrate(np.zeros(50, dtype=np.int32))
    assert (found.min_spots, found.origin) == (FLOOR, "blanks")


@pytest.mark.parametrize("stopped", [0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize(("without", "running"), [(0.1, 3.0), (0.3, 10.0), (0.05, 1.0), (1.0, 20.0)])
def test_threshold_holds_for_blanks_of_the_running_jet(stopped: float, without: float, running: float) -> None:
    rng = np.random.default_rng(5)
    distribution = blanks(running, 1.0)
    n_spots = counts(rng, distribution, 0.05)
    off = rng.random(N) < stopped
    n_spots[off] = rng.poisson(without, off.sum())
    background = np.where(off, 0.3, 1.0) * rng.lognormal(0.0, 0.2, N)
    found = calibrate(n_spots, background=background)
    assert found.origin == "blanks"
    assert oracle(distribution) <= found.min_spots <= oracle(distribution) + 4


def overlapping(running: float, stopped: float, hits: float, n: int = 1024) -> tuple[Counts, Levels]:
    """Counts and backgrounds of a jet whose thickness varies so much that its stops make no level of their own.

    Thick jets bring more crystals.
    """
    rng = np.random.default_rng(6)
    off, thickness = rng.random(n) < stopped, rng.lognormal(0.0, 0.25, n)
    n_spots = rng.poisson(np.where(off, 0.05, 1.0) * running)
    shows = (rng.random(n) < hits * thickness) & ~off
    n_spots[shows] += np.exp(rng.uniform(np.log(15), np.log(200), shows.sum())).astype(np.int64)
    return n_spots, np.where(off, 0.35, 1.0) * thickness


@pytest.mark.parametrize("stopped", [0.3, 0.5])
@pytest.mark.parametrize("hits", [0.0, 0.05, 0.3])
def test_spots_tell_a_stopped_jet_where_backgrounds_overlap(stopped: float, hits: float) -> None:
    n_spots, background = overlapping(3.0, stopped, hits)
    found = calibrate(n_spots, background=background)
    assert found.origin == "blanks"
    assert oracle(blanks(3.0, 1.0)) <= found.min_spots <= oracle(blanks(3.0, 1.0)) + 5


def test_bright_images_of_many_spots_are_blanks_only_if_lattices_say_so() -> None:
    n_spots, background = overlapping(15.0, 0.4, 0.1)
    found = calibrate(n_spots, background=background)
    assert (found.origin, found.min_spots) == ("default", DEFAULT_MIN_SPOTS)
    assert "jet stopped" in found.reason
    assert false_hits(n_spots, 30, background=background) is None
    found = calibrate(n_spots, background=background, indexed=n_spots >= 40)
    assert found.origin == "blanks"
    assert oracle(blanks(15.0, 1.0)) <= found.min_spots <= oracle(blanks(15.0, 1.0)) + 4
    # With some lattices among images of many spots, the others may be either.
    told = calibrate(n_spots, background=background, indexed=(n_spots >= 8) & (np.arange(len(n_spots)) % 9 == 0))
    assert told.origin == "default"


@pytest.mark.parametrize("spots", [8, 12])
@pytest.mark.parametrize("n_indexed", [0.3, 0.6])
def test_weak_hits_that_are_brighter_are_not_taken_for_blanks(spots: int, n_indexed: float) -> None:
    """As on a chip where crystals lie in thicker drops: lattices among their counts tell."""
    rng = np.random.default_rng(8)
    hit = rng.random(1024) < 0.3
    n_spots = rng.poisson(np.where(hit, spots, 0.5))
    background = rng.lognormal(0.0, 0.1, 1024) * np.where(hit, 1.8, 1.0)
    indexed = hit & (n_spots >= 6) & (rng.random(1024) < n_indexed)
    found = calibrate(n_spots, background=background, indexed=indexed)
    assert found == calibrate(n_spots, indexed=indexed)
    assert found.min_spots <= 6


def test_brighter_hits_are_no_jet_that_runs_while_others_stop() -> None:
    rng = np.random.default_rng(7)
    n_spots = counts(rng, blanks(0.3, 1.0), 0.2)
    background = rng.lognormal(0.0, 0.5, N) * np.where(np.arange(N) < 0.2 * N, 1.3, 1.0)
    assert calibrate(n_spots, background=background) == calibrate(n_spots)


def test_one_level_of_background_leaves_no_image_out() -> None:
    rng = np.random.default_rng(6)
    n_spots = counts(rng, blanks(3.0, 1.0), 0.05)
    spread = calibrate(n_spots, background=rng.lognormal(0.0, 0.5, N))
    assert spread == calibrate(n_spots)


@pytest.mark.parametrize("level", [0.0, 0.5, np.nan])
def test_equal_backgrounds_tell_nothing(level: float) -> None:
    n_spots = counts(np.random.default_rng(6), blanks(3.0, 1.0), 0.05)
    assert calibrate(n_spots, background=np.full(N, level)) == calibrate(n_spots)


def test_order_and_unsearched_images_do_not_matter() -> None:
    n_spots = counts(np.random.default_rng(7), blanks(2.0, 1.2), 0.1)
    shuffled = np.random.default_rng(8).permutation(np.append(n_spots, np.full(500, -1)))
    assert calibrate(shuffled) == calibrate(n_spots)


@pytest.mark.parametrize("rate", [1e-1, 1e-2, 1e-4])
def test_other_rates(rate: float) -> None:
    distribution = blanks(8.0, 1.0)
    found = calibrate(counts(np.random.default_rng(9), distribution, 0.05, n=50_000), false_hit_rate=rate)
    assert oracle(distribution, rate) <= found.min_spots <= oracle(distribution, rate) + 1


@pytest.mark.parametrize(
    ("mean", "dispersion", "least"), [(3.0, 1.0, 9), (3.0, 1.5, 11), (10.0, 1.3, 22), (0.3, 1.0, 5)]
)
def test_false_hits_are_within_their_interval(mean: float, dispersion: float, least: int) -> None:
    distribution = blanks(mean, dispersion)
    truth = distribution.sf(least - 1)
    covered = 0
    for seed in range(20):
        found = false_hits(counts(np.random.default_rng(seed), distribution, 0.05), least)
        assert found is not None
        assert found.interval[0] <= found.rate <= found.interval[1]
        covered += found.interval[0] <= truth <= found.interval[1]
    assert covered >= 16


def test_more_spots_make_fewer_false_hits() -> None:
    n_spots = counts(np.random.default_rng(0), blanks(3.0, 1.0), 0.05)
    rates = [found.rate for least in (1, 5, 8, 20, 10**6) if (found := false_hits(n_spots, least)) is not None]
    assert len(rates) == 5
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1 - np.exp(-3.0), abs=0.02)
    assert rates[-1] < 1e-9


def crystals_of_any_size(rng: np.random.Generator, n: int) -> Counts:
    """Spots of crystals of 3 to 15 whose brightness varies by half."""
    return rng.poisson(np.exp(rng.uniform(np.log(3), np.log(15), n)) * rng.lognormal(0.0, 0.5, n))


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("indexing", [False, True])
def test_weak_hits_are_no_tail_of_quiet_blanks(indexing: bool, share: float) -> None:
    rng = np.random.default_rng(11)
    n_spots, n_hits = rng.poisson(0.03, 1000), round(1000 * share)
    n_spots[:n_hits] += crystals_of_any_size(rng, n_hits)
    found = calibrate(n_spots, indexed=(np.arange(1000) < n_hits) & (n_spots >= 8) if indexing else None)
    assert found.origin == "blanks"
    assert found.min_spots <= 8
    assert found.blanks is not None and found.blanks.mean < 0.1


@pytest.mark.parametrize("mean", [0.05, 1.0])
def test_a_background_as_bright_tells_weak_hits_from_a_running_jet(mean: float) -> None:
    rng = np.random.default_rng(2)
    n_spots = counts(rng, blanks(mean, 1.0), 0.6, weak=True)
    level = rng.lognormal(0.0, 0.2, N)
    told = calibrate(n_spots, background=level)
    assert told.origin == "blanks"
    assert told.min_spots <= oracle(blanks(mean, 1.0)) + 1
    # Of a jet that stopped for a while, the other images would be brighter.
    brighter = np.where(np.arange(N) < 0.6 * N, 1.3, 1.0)
    assert calibrate(n_spots, background=level * brighter).origin == "default"
    assert calibrate(n_spots, background=np.zeros(N)).origin == "default"


@pytest.mark.long
@pytest.mark.parametrize("kind", ["strong", "weak", "any"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("dispersion", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("n", [512, 5000])
def test_few_blanks_are_above_the_threshold(n: int, dispersion: float, share: float, kind: str) -> None:
    shares = []
    for mean in (0.05, 0.3, 1.0, 3.0, 8.0, 15.0, 30.0):
        distribution = blanks(mean, dispersion)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            n_spots, n_hits = distribution.rvs(n, random_state=rng).astype(np.int64), round(n * share)
            if kind == "any":
                n_spots[:n_hits] += crystals_of_any_size(rng, n_hits)
            elif kind == "weak":
                n_spots[:n_hits] += rng.integers(5, 16, n_hits)
            else:
                n_spots[:n_hits] += np.exp(rng.uniform(np.log(15), np.log(200), n_hits)).astype(np.int64)
            found = calibrate(n_spots)
            if found.origin == "blanks":
                shares.append(distribution.sf(found.min_spots - 1))
    assert np.mean(shares) <= 1e-3
    assert max(shares) <= 6e-3


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-1, 3000), st.integers(1, 400)), max_size=12),
    st.floats(1e-6, 0.4),
    st.integers(1, 3000),
)
def test_any_counts_give_a_threshold(parts: list[tuple[int, int]], rate: float, least: int) -> None:
    n_spots = np.repeat([count for count, _ in parts], [n for _, n in parts]).astype(np.int32)
    found = calibrate(n_spots, indexed=n_spots % 3 == 1, false_hit_rate=rate)
    assert found.min_spots >= FLOOR
    assert found.reason
    assert (found.origin == "default") or found.blanks is not None
    share = false_hits(n_spots, least)
    assert share is None or 0.0 <= share.interval[0] <= share.rate <= share.interval[1] <= 1.0


@pytest.mark.parametrize("n", [512, 3000])
def test_the_mode_of_blanks_ends_where_hits_begin(n: int) -> None:
    """Hits of few spots, a third of the images, lend no tail to blanks that have hardly any."""
    random = np.random.default_rng(n)
    n_hits = 3 * n // 10
    blanks, hits = random.poisson(0.03, n - n_hits), random.integers(3, 21, n_hits)
    found = calibrate(np.concatenate([blanks, hits]).astype(np.int32))
    assert found.min_spots <= 8
    assert found.blanks is not None and found.blanks.mean < 0.1


def test_a_rate_that_fewer_spots_would_meet_is_said_to_be_met() -> None:
    n_spots = np.random.default_rng(4).poisson(0.02, 2000).astype(np.int32)
    found = calibrate(n_spots, false_hit_rate=0.1)
    assert found.min_spots == FLOOR
    assert "0.1 of them are expected to have 1 or more; fewer than 5 are never enough" in found.reason
