"""Finds spots on graphics cards, with the answers of the compiled core."""

from hitsieve.spots.gpu.scanning import CardScanning, can_search, devices_of, scan_on

__all__ = ["CardScanning", "can_search", "devices_of", "scan_on"]
