"""Whether graphics cards index the images of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from hitsieve.index.gpu import CardIndexing, devices_of
from hitsieve.pipeline import cards

_log = logging.getLogger(__name__)


@contextmanager
def indexing_on_cards(
    n_images: int, engine: str, pool: ThreadPoolExecutor, workers: int
) -> Iterator[CardIndexing | None]:
    """Give those who index batches of images on the cards that are asked for; None where the pool is to do it.

    Parameters
    ----------
    n_images : int
        Of the run.
    engine : str
        `auto`, `cpu` or `gpu`.
    pool : ThreadPoolExecutor
        Indexes what cards cannot.
    workers : int
        Threads of it.
    """
    if engine == "cpu" or (engine == "auto" and n_images < cards.MANY):
        yield None
        return
    usable = cards.choice().cards
    if not usable:
        yield None
        return
    _log.info("graphics cards help to index: %s", ", ".join(card.name for card in usable))
    with closing(CardIndexing(devices_of(usable), pool, workers)) as indexing:
        yield indexing
