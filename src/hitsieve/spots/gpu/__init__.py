"""Finds spots on graphics cards, with the answers of the compiled core."""

from hitsieve.spots.gpu.cards import INSTALL, Card, Cards, find_cards
from hitsieve.spots.gpu.own import Seat, take_seat
from hitsieve.spots.gpu.scanning import CardScanning, Streams, can_search, devices_of

__all__ = [
    "INSTALL",
    "Card",
    "CardScanning",
    "Cards",
    "Seat",
    "Streams",
    "can_search",
    "devices_of",
    "find_cards",
    "take_seat",
]
