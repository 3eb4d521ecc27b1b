"""The numbers of the images of one pump state, for its hit-only file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hitsieve.model import ImageResults, State
from hitsieve.write.summary import Summary


class PumpCounts:
    """Images of each pump state by their own state, counted batch by batch."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._counts = np.zeros((len(names), len(State)), dtype=np.int64)

    def add(self, results: ImageResults) -> None:
        """Take in the next images."""
        known = results.pump >= 0
        np.add.at(self._counts, (results.pump[known], results.state[known]), 1)

    def summary_of(self, pump: int, summary: Summary) -> Summary:
        """The run's summary, with the totals and rates of one pump state; a rate that it lacks is absent."""
        counts = dict(zip(State, self._counts[pump].tolist(), strict=True))
        rates: dict[str, Any] = {"hit_rate": None, "hit_rate_interval": None}
        indexing: dict[str, Any] = {"indexing_rate": None, "indexing_rate_interval": None}
        for state in () if summary.pump is None else summary.pump.states:
            if state.name == self._names[pump]:
                rates = {name: getattr(state, name) for name in rates}
                indexing = {name: getattr(state, name) for name in indexing}
        totals = {
            "n_images": sum(counts.values()),
            "n_hits": counts[State.HIT],
            "n_misses": counts[State.MISS],
            "n_unreadable": counts[State.UNREADABLE],
            "n_missing": counts[State.MISSING],
        }
        index = None if summary.index is None else summary.index.model_copy(update=indexing)
        return summary.model_copy(update={**totals, **rates, "index": index})
