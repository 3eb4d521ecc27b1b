"""Makes devices of cards; the only way to CuPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hitsieve.cards.device import CardError, Device, Kernels
from hitsieve.cards.found import Card
from hitsieve.cards.own import keep_kernels

STREAMS = 2
"""Batches under way on a card: while one is copied, or waits for cores, the kernels of the other run."""


def makers(cards: Sequence[Card], kernels: Kernels) -> list[Callable[[], Device]]:
    """What makes a device of each stream of some cards: cards take batches in turn.

    Raises
    ------
    Exception
        CuPy cannot be imported.
    CardError
        It cannot compile.
    """
    keep_kernels()
    from hitsieve.cards.cupycard import CupyCard, lack

    lacking = lack()
    if lacking:
        raise CardError(lacking)
    return [partial(CupyCard, card.number, kernels) for _ in range(STREAMS) for card in cards]
