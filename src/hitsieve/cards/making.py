"""Makes devices of cards; the only way to CuPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hitsieve.cards.device import CardError, Device, Kernels
from hitsieve.cards.found import Card
from hitsieve.cards.own import keep_kernels


def makers(cards: Sequence[Card], kernels: Kernels) -> list[Callable[[], Device]]:
    """What makes a device, with a stream of its own, of each card.

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
    return [partial(CupyCard, card.number, kernels) for card in cards]
