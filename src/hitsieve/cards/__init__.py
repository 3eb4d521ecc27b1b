"""Graphics cards: which there are, and how kernels run on one; what kernels do is known to other rooms."""

from hitsieve.cards.device import Bytes, CardError, Device, Kernels, OutOfMemoryError
from hitsieve.cards.found import Card, Cards, find_cards
from hitsieve.cards.job import Numbers, packed_job

__all__ = [
    "Bytes",
    "Card",
    "CardError",
    "Cards",
    "Device",
    "Kernels",
    "Numbers",
    "OutOfMemoryError",
    "find_cards",
    "packed_job",
]
