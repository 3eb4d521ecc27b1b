"""Whether graphics cards index the images of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from hitsieve.index.gpu import CardIndexing, devices_of
from hitsieve.model import Run
from hitsieve.pipeline import cards
from hitsieve.pipeline.survey import can_index
from hitsieve.settings import RunSettings

_log = logging.getLogger(__name__)


@contextmanager
def indexing_on_cards(
    run: Run, settings: RunSettings, pool: ThreadPoolExecutor, workers: int
) -> Iterator[CardIndexing | None]:
    """Give those who index batches of images on the cards that are asked for; None where the pool is to, or nobody.

    Parameters
    ----------
    run : Run
    settings : RunSettings
    pool : ThreadPoolExecutor
        Indexes what cards cannot.
    workers : int
        Threads of it.
    """
    is_indexed = settings.index.indexing != "off" and can_index(run)
    if not is_indexed or cards.engine_for(settings.engine, len(run)) == "cpu":
        yield None
        return
    usable = cards.choice().cards
    if not usable:
        yield None
        return
    _log.info("graphics cards help to index: %s", ", ".join(card.name for card in usable))
    with closing(CardIndexing(devices_of(usable), pool, workers)) as indexing:
        yield indexing
