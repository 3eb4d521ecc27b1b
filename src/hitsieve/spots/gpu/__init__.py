"""Finds spots on graphics cards, with the answers of the compiled core."""

from hitsieve.spots.gpu.scanning import CardScanning, Streams, can_search, devices_of

__all__ = ["CardScanning", "Streams", "can_search", "devices_of"]
