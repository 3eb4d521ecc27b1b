"""Jet stops, beam stops and ice are found where they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsieve.model import State
from hitsieve.verdict import HitTrust, Segment, files_without_jet, find_segments

Stretches = Sequence[tuple[int, int]]
AIR = 0.08
"""Share of the background that is air, in the simulator; a third of it is left without a jet."""


@dataclass(frozen=True)
class Conditions:
    """How a run's background behaves."""

    level: float = 1.0
    hit_rate: float = 0.05
    thickness: float = 0.2
    jitter: float = 0.0
    drift: float = 0.0
    zero_shots: float = 0.0
    left: float = AIR / 3.0
    """Background without a jet, relative to that with it."""


CONDITIONS = {
    "plain": Conditions(),
    "drift": Conditions(drift=0.5),
    "xfel": Conditions(jitter=0.4, zero_shots=0.03),
    "few hits": Conditions(hit_rate=0.006),
    "faint": Conditions(level=0.03),
    "much air": Conditions(left=0.45),
}


def simulate(
    seed: int,
    n: int,
    conditions: Conditions,
    *,
    stops: Stretches = (),
    dark: Stretches = (),
    ice: Stretches = (),
) -> tuple[npt.NDArray[Any], ...]:
    """Per-image columns, as find_segments takes them."""
    rng = np.random.default_rng(seed)
    jet, beam = np.ones(n, dtype=np.bool_), rng.lognormal(0.0, conditions.jitter, n)
    beam *= 1.0 + conditions.drift * np.sin(np.linspace(0.0, 8.0, n))
    beam[rng.random(n) < conditions.zero_shots] = 0.0
    for first, last in stops:
        jet[first : last + 1] = False
    for first, last in dark:
        beam[first : last + 1] = 0.0
    mean = np.where(jet, (1.0 - AIR) * rng.lognormal(0.0, conditions.thickness, n) + AIR, conditions.left)
    background = rng.poisson(conditions.level * beam * mean * 3e4) / 3e4
    hit = (rng.random(n) < conditions.hit_rate) & jet & (beam > 0)
    counted = np.where(hit, rng.integers(15, 100, n), rng.poisson(0.5, n))
    icy = np.where(hit, counted // 8, 0)
    for first, last in ice:
        icy[first : last + 1] += rng.poisson(12, last - first + 1) * (rng.random(last - first + 1) < 0.8)
    state = np.where(hit, State.HIT, State.MISS).astype(np.uint8)
    largest = np.where(beam > 0, rng.integers(20, 200, n), rng.poisson(1.0, n))
    return background.astype(np.float32), counted, icy, state, largest


def assert_complete(found: Sequence[Segment], n: int) -> None:
    assert found[0].first == 0
    assert found[-1].last == n - 1
    for before, after in pairwise(found):
        assert after.first == before.last + 1
        assert after.kind != before.kind or after.kind == "unknown"
    assert all(segment.first <= segment.last for segment in found)


@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS)
def test_no_false_alarm(conditions: Conditions) -> None:
    for seed in range(3):
        assert find_segments(*simulate(seed, 50_000, conditions)) == (Segment("jet running", 0, 49_999),)


@pytest.mark.parametrize("length", [200, 500, 5000])
@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS)
def test_stops_are_found_at_their_edges(conditions: Conditions, length: int) -> None:
    rng = np.random.default_rng(length)
    for seed in range(4):
        first = int(rng.integers(400, 14_000))
        found = find_segments(*simulate(seed, 20_000, conditions, stops=[(first, first + length - 1)]))
        assert [segment.kind for segment in found] == ["jet running", "jet stopped", "jet running"]
        assert abs(found[1].first - first) <= 20
        assert abs(found[1].last - (first + length - 1)) <= 20


@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS)
def test_blips_are_not_called(conditions: Conditions) -> None:
    rng = np.random.default_rng(0)
    blips = [(int(first), int(first + rng.integers(1, 49))) for first in range(500, 19_000, 900)]
    assert len(find_segments(*simulate(1, 20_000, conditions, stops=blips))) == 1


def test_stops_at_the_ends_and_close_together() -> None:
    stops = [(0, 249), (1000, 1299), (1600, 1899), (4700, 4999)]
    found = find_segments(*simulate(2, 5000, Conditions(), stops=stops))
    assert_complete(found, 5000)
    stopped = [segment for segment in found if segment.kind == "jet stopped"]
    assert len(stopped) == 4
    for segment, (first, last) in zip(stopped, stops, strict=True):
        assert abs(segment.first - first) <= 2
        assert abs(segment.last - last) <= 2


def test_beam_off_and_ice() -> None:
    columns = simulate(3, 10_000, Conditions(), dark=[(2000, 2299), (5000, 5040)], ice=[(8000, 8399)])
    found = find_segments(*columns)
    assert [segment.kind for segment in found] == ["jet running", "beam off", "jet running", "ice", "jet running"]
    assert (found[1].first, found[1].last) == (2000, 2299)
    assert abs(found[3].first - 8000) <= 20
    assert abs(found[3].last - 8399) <= 20


def test_beam_never_on() -> None:
    assert find_segments(*simulate(0, 500, Conditions(), dark=[(0, 499)])) == (Segment("beam off", 0, 499),)


@pytest.mark.parametrize("stops", [[], [(1000, 1999)], [(0, 2999)]], ids=["none", "some", "all"])
def test_without_hits_levels_are_told_but_nothing_is_said_of_the_jet(stops: list[tuple[int, int]]) -> None:
    found = find_segments(*simulate(0, 3000, Conditions(hit_rate=0.0), stops=stops))
    assert {segment.kind for segment in found} == {"unknown"}
    assert [segment.first for segment in found] == ([0, 1000, 2000] if stops == [(1000, 1999)] else [0])
    assert files_without_jet(found, np.arange(3000) // 1000) == []
    in_doubt = files_without_jet(found, np.arange(3000) // 1000, doubtful=True)
    assert in_doubt == ([1] if stops == [(1000, 1999)] else [])


def test_certain_hits_tell_of_the_jet_where_few_hits_are() -> None:
    stops = [(10_000, 11_999), (30_000, 30_499)]
    columns = simulate(0, 50_000, Conditions(hit_rate=0.002, left=0.2), stops=stops)
    blind = find_segments(*columns)
    assert [segment.kind for segment in blind] == ["unknown"] * 5
    found = find_segments(*columns, HitTrust(columns[3] == State.HIT, None))
    assert [segment.kind for segment in found] == ["jet running", "jet stopped"] * 2 + ["jet running"]
    for segments in (blind, found):
        for segment, (first, last) in zip(segments[1::2], stops, strict=True):
            assert abs(segment.first - first) <= 20
            assert abs(segment.last - last) <= 20
    assert files_without_jet(blind, np.arange(50_000) // 1000) == []
    assert files_without_jet(blind, np.arange(50_000) // 1000, doubtful=True) == [10, 11]
    assert files_without_jet(found, np.arange(50_000) // 1000) == [10, 11]


def test_the_rate_of_false_hits_decides_what_hits_tell() -> None:
    columns = simulate(0, 50_000, Conditions(hit_rate=0.002, left=0.2), stops=[(10_000, 11_999)])
    none = np.zeros(50_000, dtype=np.bool_)
    kinds = {rate: [part.kind for part in find_segments(*columns, HitTrust(none, rate))] for rate in (5e-4, 0.01)}
    assert kinds == {5e-4: ["jet running", "jet stopped", "jet running"], 0.01: ["unknown"] * 3}


def every(period: int, n: int, length: int = 200) -> list[tuple[int, int]]:
    return [(first, first + length - 1) for first in range(period - length, n - length, period)]


@pytest.mark.parametrize(
    ("n", "stops"),
    [
        (20_000, every(400, 20_000)),
        (20_000, every(500, 20_000)),
        (2000, [(200, 399), (600, 799), (1000, 1199), (1500, 1699)]),
        (1000, [(200, 399), (600, 799)]),
        (700, [(200, 499)]),
        (600, [(200, 399)]),
        (450, [(0, 199)]),
        (240, [(100, 239)]),
        (200, [(0, 99)]),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else f"{len(value)} stops",
)
def test_stops_that_fill_the_run(n: int, stops: list[tuple[int, int]]) -> None:
    for seed in range(3):
        found = find_segments(*simulate(seed, n, Conditions(hit_rate=0.1, left=0.2), stops=stops))
        stopped = [segment for segment in found if segment.kind == "jet stopped"]
        assert len(stopped) == len(stops)
        for segment, (first, last) in zip(stopped, stops, strict=True):
            assert abs(segment.first - first) <= 20
            assert abs(segment.last - last) <= 20


def test_a_small_step_is_a_stop_where_the_hits_end() -> None:
    conditions = Conditions(left=0.6)
    found = find_segments(*simulate(0, 10_000, conditions, stops=[(4000, 5999)]))
    assert [segment.kind for segment in found] == ["jet running", "jet stopped", "jet running"]
    assert abs(found[1].first - 4000) <= 20
    assert abs(found[1].last - 5999) <= 20
    background, *others = simulate(0, 10_000, conditions)
    background[4000:6000] *= 0.6
    assert find_segments(background, *others) == (Segment("jet running", 0, 9999),)


def test_a_small_step_between_bursts_is_no_stop() -> None:
    background, counted, icy, state, largest = simulate(0, 50_000, Conditions(hit_rate=0.0))
    for first in range(0, 50_000, 2000):
        state[first : first + 100 : 2] = State.HIT
    background[20_500:21_500] *= 0.65
    assert find_segments(background, counted, icy, state, largest) == (Segment("jet running", 0, 49_999),)


@pytest.mark.parametrize(("before", "after"), [(0.005, 0.005), (0.05, 0.012)])
def test_half_the_beam_with_hits_is_no_stop(before: float, after: float) -> None:
    for seed in range(3):
        background, counted, icy, state, largest = simulate(seed, 50_000, Conditions(hit_rate=before))
        background[20_000:] *= 0.5
        state[20_000:] = np.where(np.random.default_rng(seed).random(30_000) < after, State.HIT, State.MISS)
        found = find_segments(background, counted, icy, state, largest)
        assert found == (Segment("jet running", 0, 49_999),)


def test_half_the_beam_is_unknown_where_hits_are_too_few_to_tell() -> None:
    for seed in range(5):
        background, *others = simulate(seed, 50_000, Conditions(hit_rate=0.005))
        for first in (5000, 15_000, 25_000, 40_000):
            background[first : first + 2500] *= 0.5
        found = find_segments(background, *others)
        assert {segment.kind for segment in found} <= {"jet running", "unknown"}
        assert files_without_jet(found, np.arange(50_000) // 500) == []


def test_lower_beam_with_as_many_hits_is_no_stop() -> None:
    background, *others = simulate(0, 10_000, Conditions())
    background[4000:7000] *= 0.2
    assert find_segments(background, *others) == (Segment("jet running", 0, 9999),)


def test_short_rise_does_not_make_the_rest_a_stop() -> None:
    background, *others = simulate(0, 20_000, Conditions(hit_rate=0.005))
    background[4000:4300] *= 4.0
    assert find_segments(background, *others) == (Segment("jet running", 0, 19_999),)


def test_images_that_could_not_be_searched_go_with_those_before() -> None:
    background, counted, icy, state, largest = simulate(4, 3000, Conditions(), stops=[(1000, 1499)])
    gone = np.zeros(3000, dtype=np.bool_)
    gone[:20], gone[1480:1530], gone[2990:] = True, True, True
    gone |= np.random.default_rng(0).random(3000) < 0.1
    background[gone], state[gone] = np.nan, State.MISSING
    for column in (counted, icy, largest):
        column[gone] = -1
    found = find_segments(background, counted, icy, state, largest)
    assert_complete(found, 3000)
    assert [segment.kind for segment in found] == ["jet running", "jet stopped", "jet running"]
    assert abs(found[1].first - 1000) <= 5
    assert 1479 <= found[1].last <= 1545


def test_nothing_searched() -> None:
    none = np.full(10, -1)
    assert find_segments(np.full(10, np.nan), none, none, np.full(10, State.MISSING), none) == ()
    assert find_segments(np.zeros(0), none[:0], none[:0], none[:0], none[:0]) == ()


def test_files_without_jet() -> None:
    columns = simulate(5, 10_000, Conditions(), stops=[(1900, 4100)], dark=[(7000, 7999)])
    file = np.arange(10_000) // 1000
    file[2500:2600] = -1
    assert files_without_jet(find_segments(*columns), file) == [2, 3, 7]
    assert files_without_jet((), np.full(3, -1)) == []


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.sampled_from([0.0, 1e-5, 0.01, 0.5, 1.0, 30.0]), st.floats(0.0, 1.0)),
        min_size=1,
        max_size=8,
    )
)
def test_any_run_is_covered_once(parts: list[tuple[int, float, float]]) -> None:
    rng = np.random.default_rng(0)
    n = sum(length for length, _, _ in parts)
    level = np.repeat([level for _, level, _ in parts], [length for length, _, _ in parts])
    share = np.repeat([share for _, _, share in parts], [length for length, _, _ in parts])
    state = (rng.random(n) < share).astype(np.uint8)
    state[rng.random(n) < 0.1] = State.UNREADABLE
    background = np.where(state == State.UNREADABLE, np.nan, level).astype(np.float32)
    found = find_segments(background, rng.integers(0, 9, n), rng.integers(0, 9, n), state, rng.integers(0, 50, n))
    if np.isfinite(background).any():
        assert_complete(found, n)
    else:
        assert found == ()
