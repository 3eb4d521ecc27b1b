"""Graphics cards: which there are, and how kernels run on one; what kernels do is known to other rooms."""

from hitsieve.cards.device import Bytes, CardError, Device, Kernels, OutOfMemoryError
from hitsieve.cards.found import INSTALL, Card, Cards, find_cards
from hitsieve.cards.job import Numbers, packed_job
from hitsieve.cards.making import makers
from hitsieve.cards.own import Seat, take_seat

__all__ = [
    "INSTALL",
    "Bytes",
    "Card",
    "CardError",
    "Cards",
    "Device",
    "Kernels",
    "Numbers",
    "OutOfMemoryError",
    "Seat",
    "find_cards",
    "makers",
    "packed_job",
    "take_seat",
]
