"""What the summary says of a run's images, from their tally."""

from __future__ import annotations

import numpy as np
import pytest

from hitsieve.model import State
from hitsieve.pipeline.content import Context, content
from hitsieve.pipeline.tally import Tally
from hitsieve.write import HitRuleSummary

N = 20_000
FILES = tuple(f"run_{number}.h5" for number in range(N // 1000))


def tally_of(seed: int, *, lattices: bool, blanks: float) -> Tally:
    """A run with 0.2 % of hits, and none in the files 7 and 8, where the jet stands; blanks have so many spots."""
    rng = np.random.default_rng(seed)
    jet = np.ones(N, dtype=np.bool_)
    jet[7000:9000] = False
    hit = (rng.random(N) < 0.002) & jet
    tally = Tally.of(N)
    tally.done = N
    tally.state[:] = np.where(hit, State.HIT, State.MISS)
    tally.counts[:2] = np.bincount(tally.state, minlength=2)[:2]
    tally.background[:] = rng.normal(1.0, 0.1, N) * np.where(jet, 1.0, 0.2)
    tally.n_spots_counted[:] = np.where(hit, 40, rng.poisson(blanks, N))
    tally.n_spots_ice[:] = 0
    tally.max_count[:] = 50
    tally.n_lattices[:] = np.where(hit & lattices, 1, -1)
    return tally


@pytest.mark.parametrize(
    ("lattices", "min_spots", "files"),
    [(False, 10, FILES[7:9]), (False, 2, ()), (True, 2, FILES[7:9])],
    ids=["false hits are rare", "hits may be false", "hits are certain"],
)
def test_files_without_a_jet_are_named_where_hits_can_be_trusted(
    lattices: bool, min_spots: int, files: tuple[str, ...]
) -> None:
    rule = HitRuleSummary(rule="either", min_spots=min_spots, origin="given")
    context = Context(rule, None, np.repeat(np.arange(len(FILES), dtype=np.int32), 1000), FILES)
    found = content(tally_of(0, lattices=lattices, blanks=0.5), context)["segments"]
    assert found.files_without_jet == files
    assert found.files_in_doubt == (() if files else FILES[7:9])
    assert [segment.first for segment in found.segments] == pytest.approx([0, 7000, 9000], abs=20)
    kinds = ["jet running", "jet stopped", "jet running"] if files else ["unknown"] * 3
    assert [segment.kind for segment in found.segments] == kinds
