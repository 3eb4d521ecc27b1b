"""Finds spots on graphics cards, with the answers of the compiled core."""

from hitsieve.spots.gpu.cards import Card, Cards, find_cards
from hitsieve.spots.gpu.scanning import CardScanning, can_search, devices_of, scan_on

__all__ = ["Card", "CardScanning", "Cards", "can_search", "devices_of", "find_cards", "scan_on"]
