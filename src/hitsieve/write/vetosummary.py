"""What the summary says of misses that were dropped before they were written."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hitsieve.write.summarypart import Count, Share, SummaryPart


class VetoSummary(SummaryPart):
    """Misses of a stream that were dropped before they were written."""

    min_spots: Annotated[int, Field(ge=1)]
    """Images with fewer counted spots were dropped."""
    n: Count
    """Images that were."""
    fraction: Share
    """Share of the misses that was kept at random."""
    seed: Count
    """Image i was, where numpy.random.default_rng([seed, 2, i]).random() is below the fraction."""
    statement: str
    """The rule in words."""
