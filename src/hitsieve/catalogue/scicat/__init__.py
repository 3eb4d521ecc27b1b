"""Talks to SciCat."""

from hitsieve.catalogue.scicat.address import checked_url, quoted
from hitsieve.catalogue.scicat.client import NotPermitted, Refused, SciCat, Unavailable
from hitsieve.catalogue.scicat.credentials import Credentials, hide, known_credentials

__all__ = [
    "Credentials",
    "NotPermitted",
    "Refused",
    "SciCat",
    "Unavailable",
    "checked_url",
    "hide",
    "known_credentials",
    "quoted",
]
