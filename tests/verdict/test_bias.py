"""Bias report: bursts of hits raise no false alarm, real differences are found, and words and numbers agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng
from scipy.stats import binom, chi2_contingency, kruskal

from hitsieve.model import PumpStates, State
from hitsieve.verdict import BiasFinding, bias_report
from hitsieve.verdict.blocks import merged, rounds

RATE = 0.05


@dataclass
class Simulated:
    """Columns of a simulated run."""

    pump: PumpStates
    state: np.ndarray
    n_lattices: np.ndarray
    n_spots: np.ndarray
    resolution: np.ndarray

    def report(self, running: np.ndarray | None = None, *, pump: bool = True) -> tuple[BiasFinding, ...]:
        states = self.pump if pump else None
        return bias_report(states, self.state, self.n_lattices, self.n_spots, self.resolution, running)


def steady(n: int, random: Generator) -> np.ndarray:
    return np.ones(n)


def bursts(length: float) -> Callable[[int, Generator], np.ndarray]:
    """Crystals come a fifth of the time, for `length` images on average."""

    def level(n: int, random: Generator) -> np.ndarray:
        on = random.exponential(length, 10 + int(n / length)).astype(int) + 1
        off = random.exponential(4 * length, len(on)).astype(int) + 1
        spans = np.stack([off, on], axis=1).ravel()
        return np.roll(np.repeat(np.tile([0.0, 5.0], len(on)), spans)[:n], int(random.integers(n)))

    return level


def decaying(n: int, random: Generator) -> np.ndarray:
    """The sample settles."""
    return 2 * np.exp(-2 * np.arange(n) / n)


def codes(n: int, *counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)[np.arange(n) % sum(counts)].astype(np.int16)


def simulated(
    code: np.ndarray,
    random: Generator,
    level: Callable[[int, Generator], np.ndarray] = steady,
    factor: tuple[float, ...] = (1.0,),
    trend: float = 0.0,
) -> Simulated:
    """Hits at RATE, times what bursts, states and a trend (relative change over the run) make of it.

    Spots and resolution of the hits go with the burst they are of.
    """
    n = len(code)
    factors = np.resize(np.array(factor), int(code.max()) + 1)
    probability = RATE * level(n, random) * factors[code] * (1 + trend * (np.arange(n) / n - 0.5))
    hit = random.random(n) < probability
    kind = np.cumsum(np.diff(hit.astype(int), prepend=0) > 0) // 20
    crystal = random.normal(0, 0.3, int(kind.max()) + 1)[kind]
    names = tuple(f"state {k}" for k in range(int(code.max()) + 1))
    return Simulated(
        PumpStates(names, code, "test"),
        hit.astype(np.uint8),
        np.where(hit, (random.random(n) < 0.6 + 0.2 * crystal).astype(np.int32), 0),
        np.where(hit, 20 * np.exp(crystal + random.normal(0, 0.5, n)), 1).astype(np.int32),
        np.where(hit, 2.2 - 0.1 * crystal + random.normal(0, 0.2, n), np.nan).astype(np.float32),
    )


ALL = [
    (quantity, across)
    for quantity in ("hit rate", "indexing rate", "resolution", "spots")
    for across in ("pump state", "run")
]
"""What every report on pump states tells of, in this order."""


def told(found: tuple[BiasFinding, ...], across: str) -> dict[str, str]:
    """Why each quantity was not tested, in words, without what all such statements share."""
    assert all(f.p is None and not f.differs and not f.test for f in found if f.across == across)
    return {f.quantity: f.statement.partition(": ")[2] for f in found if f.across == across}


def one(found: tuple[BiasFinding, ...], quantity: str, across: str) -> BiasFinding:
    (match,) = [f for f in found if (f.quantity, f.across) == (quantity, across)]
    return match


def assert_alike(pairs: list[tuple[float, float]]) -> None:
    """Logarithms of two p values of many runs go together, and neither test sees less than the other."""
    ours, plain = np.array(pairs).T
    assert np.corrcoef(ours, plain)[0, 1] > 0.9
    assert abs(ours.mean() - plain.mean()) < 0.25 * abs(plain.mean())


# False alarms

PATTERNS = {"fast": (1, 3), "slow": (1000, 1000), "middle": (200, 200), "three": (2, 3, 40)}
LEVELS = {"steady": steady, "bursts of 50": bursts(50), "bursts of 300": bursts(300)}
RUNS = 120


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("level", LEVELS)
def test_false_alarms(pattern: str, level: str) -> None:
    """Of runs without difference or drift, at most 2 % have p below 0.01, in any of the tests."""
    random = default_rng(5)
    below: dict[tuple[str, str], list[bool]] = {}
    code = codes(20_000, *PATTERNS[pattern])
    alarms = 0
    for _ in range(RUNS):
        report = simulated(code, random, LEVELS[level]).report()
        alarms += any(finding.differs for finding in report)
        for finding in report:
            if finding.p is not None:
                below.setdefault((finding.quantity, finding.across), []).append(finding.p < 0.01)
    # The report as a whole keeps the level too.
    assert alarms <= 0.02 * RUNS
    assert len(below) == 8
    assert sum(map(sum, below.values())) <= 0.02 * sum(map(len, below.values()))
    assert len(below["hit rate", "run"]) == RUNS and len(below["hit rate", "pump state"]) > 0.6 * RUNS
    for test, outcomes in below.items():
        # As many as one in a thousand such trials gives, if 2 % is true.
        assert sum(outcomes) <= binom.ppf(0.999, len(outcomes), 0.02), test


def test_a_naive_test_would_be_fooled() -> None:
    """What these simulated runs do to a chi-square test over all images; so the runs above are a trial."""
    random = default_rng(6)
    code = codes(20_000, 1000, 1000)
    fooled = 0
    for _ in range(50):
        run = simulated(code, random, bursts(300))
        table = [[int((run.state[code == k] == s).sum()) for s in (0, 1)] for k in (0, 1)]
        fooled += chi2_contingency(table).pvalue < 0.01
    assert fooled > 25


def test_p_of_independent_images_is_that_of_chi_square() -> None:
    random = default_rng(7)
    code = codes(50_000, 1, 3)
    pairs = []
    for _ in range(40):
        run = simulated(code, random, factor=(1.0, 1.1))
        table = [[int((run.state[code == k] == s).sum()) for s in (0, 1)] for k in (0, 1)]
        plain = chi2_contingency(table, correction=False).pvalue
        ours = one(run.report(), "hit rate", "pump state").p
        assert ours is not None
        pairs.append((np.log10(ours), np.log10(plain)))
    # The scatter between blocks is an estimate, so they do not agree one by one.
    assert_alike(pairs)


def test_p_of_independent_values_is_that_of_kruskal_and_wallis() -> None:
    random = default_rng(8)
    code = codes(50_000, 1, 1, 1)
    pairs = []
    for _ in range(40):
        run = simulated(code, random)
        hits = run.state == State.HIT
        run.n_spots = np.where(hits, random.integers(20, 200, len(code)), 0).astype(np.int32)
        plain = kruskal(*(run.n_spots[hits & (code == k)] for k in range(3))).pvalue
        ours = one(run.report(), "spots", "pump state").p
        assert ours is not None
        pairs.append((np.log10(ours), np.log10(plain)))
    assert_alike(pairs)


# Real differences

LONG = 100_000


@pytest.mark.parametrize("counts", [(1, 3), (1000, 1000), (1, 1, 2)])
@pytest.mark.parametrize("factor", [1.3, 1 / 1.3])
def test_difference_of_hit_rate_is_found(counts: tuple[int, ...], factor: float) -> None:
    random = default_rng(9)
    for _ in range(10):
        report = simulated(codes(LONG, *counts), random, factor=(1.0, *[factor] * (len(counts) - 1))).report()
        finding = one(report, "hit rate", "pump state")
        assert finding.differs and finding.p is not None and finding.p < 1e-4
        assert finding.statement.startswith("hit rate differs between pump states: state 0 ")


@pytest.mark.parametrize("length", [50, 300, 2000])
def test_difference_is_found_in_bursts(length: float) -> None:
    random = default_rng(10)
    for _ in range(10):
        run = simulated(codes(LONG, 1, 3), random, bursts(length), factor=(1.0, 1.3))
        assert one(run.report(), "hit rate", "pump state").differs


@pytest.mark.parametrize("shape", [steady, decaying])
def test_drift_is_found_and_told(shape: Callable[[int, Generator], np.ndarray]) -> None:
    random = default_rng(11)
    trend = -0.8 if shape is steady else 0.0
    found = [
        one(simulated(codes(LONG, 1, 3), random, shape, trend=trend).report(), "hit rate", "run") for _ in range(20)
    ]
    seen = [f for f in found if f.differs]
    assert len(seen) >= 19
    assert all(f.statement.startswith("hit rate drifts along the run: ") for f in seen)


def test_drift_is_no_difference_between_slow_states() -> None:
    """Of states in turn the first comes earlier; a drift alone must not set them apart."""
    random = default_rng(12)
    alarms = drifts = 0
    for _ in range(100):
        report = simulated(codes(LONG, 5000, 5000), random, trend=-1.2).report()
        p = one(report, "hit rate", "pump state").p
        alarms += p is not None and p < 0.01
        drifts += one(report, "hit rate", "run").differs
    assert alarms <= 4
    assert drifts >= 95


def test_difference_of_resolution_and_spots_is_found() -> None:
    random = default_rng(13)
    run = simulated(codes(LONG, 1, 1), random)
    light = run.pump.code == 1
    run.resolution[light] += 0.1
    run.n_spots[light] = run.n_spots[light] * 3 // 4
    report = run.report()
    worse, fewer = one(report, "resolution", "pump state"), one(report, "spots", "pump state")
    assert worse.differs and "angstrom" in worse.statement
    assert fewer.differs and fewer.statement.startswith("number of spots of the hits differs between pump states: ")
    assert not one(report, "hit rate", "pump state").differs


def test_values_that_drift_are_found() -> None:
    run = simulated(codes(LONG, 1, 1), default_rng(14))
    run.resolution += np.linspace(0, 0.2, LONG, dtype=np.float32)
    finding = one(run.report(), "resolution", "run")
    assert finding.differs
    assert finding.statement.startswith("resolution of the hits drifts along the run: 2.2")


def test_indexing_rate() -> None:
    run = simulated(codes(LONG, 1, 1), default_rng(15))
    lost = (run.pump.code == 1) & (np.arange(LONG) % 4 < 2)
    run.n_lattices[lost] = 0
    assert one(run.report(), "indexing rate", "pump state").differs


def test_difference_without_any_scatter_is_found() -> None:
    """Every light image is a hit, every dark one a miss: all blocks agree to the last image."""
    code = codes(20_000, 1, 3)
    light = (code == 1).astype(np.uint8)
    found = bias_report(
        PumpStates(("dark", "light"), code, "test"),
        light,
        np.where(light, 1, 0).astype(np.int32),
        np.where(light, 20, 0).astype(np.int32),
        np.full(20_000, np.nan, dtype=np.float32),
    )
    finding = one(found, "hit rate", "pump state")
    assert finding.differs and finding.p is not None and finding.p < 1e-20
    assert finding.statement == "hit rate differs between pump states: dark 0 %, light 100 % (p < 1e-99)"
    assert "(p = 1)" in one(found, "hit rate", "run").statement


def test_states_without_any_difference_are_tested() -> None:
    """Of eight images the first two are hits, one of each state: nothing scatters, and nothing differs."""
    code = codes(20_000, 1, 1)
    hit = (np.arange(20_000) % 8 < 2).astype(np.uint8)
    found = bias_report(
        PumpStates(("dark", "light"), code, "test"),
        hit,
        np.full(20_000, -1, dtype=np.int32),
        np.where(hit, 20 + code, 0).astype(np.int32),
        np.full(20_000, np.nan, dtype=np.float32),
    )
    rate, spots = one(found, "hit rate", "pump state"), one(found, "spots", "pump state")
    assert rate.p == pytest.approx(1, abs=1e-3) and not rate.differs
    assert rate.statement.startswith("no sign that the hit rate differs between pump states: dark 25 %, light 25 %")
    assert spots.differs and "dark 20, light 21 (p" in spots.statement


@pytest.mark.parametrize("counts", [(1, 3), (500, 500)])
def test_a_jump_along_the_run_is_no_difference_between_states(counts: tuple[int, ...]) -> None:
    """No hit of the first half of the run has a lattice, and every later one has."""
    random = default_rng(31)
    alarms = 0
    for _ in range(20):
        run = simulated(codes(20_000, *counts), random)
        run.n_lattices = ((np.arange(20_000) >= 10_000) & (run.state == State.HIT)).astype(np.int32)
        p = one(run.report(), "indexing rate", "pump state").p
        alarms += p is not None and p < 0.01
    assert alarms <= 2


# What is tested, and what is said


def test_images_without_jet_are_left_out() -> None:
    random = default_rng(16)
    run = simulated(codes(40_000, 1, 3), random)
    # Ever longer stops.
    stopped = (np.arange(40_000) % 2000) < np.arange(40_000) / 20
    run.state[stopped] = State.MISS
    assert one(run.report(), "hit rate", "run").differs
    assert not one(run.report(~stopped), "hit rate", "run").differs


def test_images_that_were_not_searched_are_left_out() -> None:
    run = simulated(codes(40_000, 1, 3), default_rng(17))
    lost = default_rng(1).random(40_000) < 0.5
    run.state[lost] = State.UNREADABLE
    half = Simulated(
        PumpStates(run.pump.names, run.pump.code[~lost], "test"),
        *(column[~lost] for column in (run.state, run.n_lattices, run.n_spots, run.resolution)),
    )
    assert [f.p for f in run.report()] == pytest.approx([f.p for f in half.report()], rel=1e-2)


def test_statement_has_the_numbers() -> None:
    code = codes(40_000, 1, 1)
    state = np.zeros(40_000, dtype=np.uint8)
    random = default_rng(30)
    for k, n_hits in ((0, 1000), (1, 2000)):
        state[random.choice(np.flatnonzero(code == k), n_hits, replace=False)] = State.HIT
    found = bias_report(
        PumpStates(("dark", "light"), code, "test"),
        state,
        np.full(40_000, -1, dtype=np.int32),
        np.full(40_000, 30, dtype=np.int32),
        np.full(40_000, np.nan, dtype=np.float32),
    )
    assert [(f.quantity, f.across) for f in found] == ALL
    assert found[0].p is not None and found[0].p < 1e-15
    exponent = f"{found[0].p:.0e}"
    assert found[0].statement == f"hit rate differs between pump states: dark 5 %, light 10 % (p = {exponent})"
    assert "no sign of a steady drift of the hit rate along the run: " in found[1].statement
    assert [f.statement for f in found[2:]] == [
        "not tested whether the indexing rate differs between pump states: the run is not indexed",
        "not tested whether the indexing rate drifts along the run: the run is not indexed",
        "not tested whether the resolution of the hits differs between pump states: no hit has a resolution estimate",
        "not tested whether the resolution of the hits drifts along the run: no hit has a resolution estimate",
        "not tested whether the number of spots of the hits differs between pump states: it is 30 for all of them",
        "not tested whether the number of spots of the hits drifts along the run: it is 30 for all of them",
    ]


def test_without_pump_states_only_drifts_are_tested() -> None:
    report = simulated(codes(20_000, 1, 3), default_rng(18)).report(pump=False)
    assert [f.quantity for f in report] == ["hit rate", "indexing rate", "resolution", "spots"]
    assert {f.across for f in report} == {"run"}
    for finding in report:
        assert finding.p is not None and 0 <= finding.p <= 1
        assert finding.statement.startswith("no sign of a steady drift of the ")
        assert "first fifth" in finding.statement and "(p = " in finding.statement


@pytest.mark.parametrize("counts", [(1, 3), (500, 500)])
def test_a_difference_between_slow_states_is_told_with_a_warning(counts: tuple[int, ...]) -> None:
    finding = one(
        simulated(codes(LONG, *counts), default_rng(32), factor=(1.0, 2.0)).report(), "hit rate", "pump state"
    )
    assert finding.differs
    warning = "; a state waits 1000 images for its next turn, and what swings with this period looks the same"
    assert finding.statement.endswith(warning) == (counts == (500, 500))
    assert ("swings" in finding.statement) == (counts == (500, 500))


def test_too_few_hits_are_told() -> None:
    run = simulated(codes(400, 1, 3), default_rng(20))
    hits = np.flatnonzero(run.state == State.HIT)
    n = len(hits)
    run.n_lattices[hits] = np.arange(n) >= 3
    report = run.report()
    assert [(f.quantity, f.across) for f in report] == ALL
    few = {"indexing rate": "3 hits without a lattice are too few"}
    few |= dict.fromkeys(("hit rate", "resolution", "spots"), f"{n} hits are too few")
    assert told(report, "run") == few
    assert told(report, "pump state") == {quantity: f"{why} to compare two states" for quantity, why in few.items()}
    assert report[0].statement.startswith("not tested whether the hit rate differs between pump states: ")


@pytest.mark.parametrize(
    ("names", "code", "why"),
    [
        (("dark",), 0, "there are {} of dark only"),
        (("dark", "light"), 1, "there are {} of light only"),
        (("dark", "light"), -1, "no state of the {} is known"),
    ],
)
def test_a_single_state_is_compared_with_none(names: tuple[str, ...], code: int, why: str) -> None:
    run = simulated(codes(20_000, 1, 1), default_rng(33))
    run.pump = PumpStates(names, np.full(20_000, code, dtype=np.int16), "test")
    report = run.report()
    assert [(f.quantity, f.across) for f in report] == ALL
    hits = dict.fromkeys(("indexing rate", "resolution", "spots"), why.format("hits"))
    assert told(report, "pump state") == {"hit rate": why.format("images"), **hits}
    assert all(f.p is not None for f in report if f.across == "run")


def test_what_is_not_there_is_told() -> None:
    run = simulated(codes(20_000, 1, 1), default_rng(34))
    hitless = dict.fromkeys(("indexing rate", "resolution", "spots"), "there are no hits")
    stopped = {"hit rate": "no image was searched while the jet ran", **hitless}
    assert told(run.report(np.zeros(20_000, dtype=np.bool_)), "run") == stopped
    run.state[:] = State.MISS
    assert told(run.report(), "run") == {"hit rate": "0 hits are too few", **hitless}
    run.state[:] = State.MISSING
    assert told(run.report(), "pump state") == {"hit rate": "no image was searched", **hitless}


def test_states_that_take_turns_too_seldom_are_told() -> None:
    report = simulated(codes(20_000, 10_000, 10_000), default_rng(21), factor=(1.0, 2.0)).report()
    finding = one(report, "hit rate", "pump state")
    assert finding.p is None and not finding.differs
    assert "take turns too seldom" in finding.statement


def test_rare_state_is_not_compared() -> None:
    code = codes(40_000, 100, 100)
    code[::4000] = 2
    random = default_rng(22)
    finding = one(simulated(code, random).report(), "hit rate", "pump state")
    assert finding.p is not None
    assert "; too few images of state 2 (p" in finding.statement


def test_many_states_are_summed_up() -> None:
    finding = one(simulated(codes(LONG, *[1] * 20), default_rng(23)).report(), "hit rate", "pump state")
    assert finding.p is not None
    assert "20 states" in finding.statement and "from state " in finding.statement


def test_unknown_states_are_not_compared() -> None:
    run = simulated(codes(LONG, 1, 3), default_rng(24))
    run.pump.code[run.state == State.MISS] = -1
    # All known images are hits then: there is no rate to compare.
    finding = one(run.report(), "hit rate", "pump state")
    assert finding.p is None


@pytest.mark.parametrize("n", [0, 1, 2, 50])
@pytest.mark.parametrize("kind", [State.MISS, State.HIT, State.MISSING])
def test_small_and_uniform_runs(n: int, kind: State) -> None:
    report = bias_report(
        PumpStates(("dark", "light"), codes(n, 1, 1) if n else np.zeros(0, np.int16), "test"),
        np.full(n, kind, dtype=np.uint8),
        np.zeros(n, dtype=np.int32),
        np.full(n, 20, dtype=np.int32),
        np.full(n, 2.0, dtype=np.float32),
    )
    assert [(f.quantity, f.across) for f in report] == ALL
    assert all(f.p is None and not f.differs for f in report)


# Rounds and blocks


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 12))
def test_rounds_hold_all_states(sequence: list[int], most: int) -> None:
    code = np.array(sequence, dtype=np.int64)
    starts = rounds(code, 3)
    if set(sequence) != {0, 1, 2}:
        assert not len(starts)
        return
    assert starts[0] == 0
    parts = np.split(code, starts[1:])
    assert all(set(part.tolist()) == {0, 1, 2} for part in parts)
    # A round begins where the state changes, and none could end earlier.
    assert all(code[start] != code[start - 1] for start in starts[1:])
    assert all(len(set(part[: int(np.flatnonzero(np.diff(part))[-1]) + 1].tolist())) < 3 for part in parts[:-1])
    block = merged(starts, np.ones(len(code)), most)
    assert block[0] == 0 and block[-1] < most
    assert set(np.flatnonzero(np.diff(block)) + 1) <= set(starts.tolist())
    assert set(np.diff(block).tolist()) <= {0, 1}


def test_blocks_are_about_equally_heavy() -> None:
    code = codes(10_000, 1, 3).astype(np.int64)
    weight = np.zeros(10_000)
    weight[:1000] = 1
    block = merged(rounds(code, 2), weight, 10)
    assert np.bincount(block, weight).tolist() == [100] * 10
