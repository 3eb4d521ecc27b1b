"""Ports of this computer, for those who cannot have any that is free: it is told to others before it is used."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

BLOCK = 100
BLOCKS = range(10_000, 30_000, BLOCK)
"""Below those that the system gives to whoever asks for any, and to whoever connects: what tries to reach a port at
which nobody listens yet may otherwise be given that very port to come from."""


def free_port() -> int:
    """One that is given out once: neither twice in a process, nor by two that run tests at the same time."""
    _, numbers = _own()
    return next(number for number in numbers if _is_free(number))


@cache
def _own() -> tuple[socket.socket, Iterator[int]]:
    """The ports of this process, and what shows others for as long as it lives that they are taken: the first one.

    They are not chosen at random: random numbers begin anew with each test, in all processes with the same one.
    """
    for first in BLOCKS:
        sign = socket.socket()
        try:
            sign.bind(("127.0.0.1", first))
        except OSError:
            sign.close()
        else:
            return sign, iter(range(first + 1, first + BLOCK))
    raise AssertionError("all ports are taken")


def _is_free(number: int) -> bool:
    with suppress(OSError), socket.socket() as tried:
        tried.bind(("127.0.0.1", number))
        return True
    return False
