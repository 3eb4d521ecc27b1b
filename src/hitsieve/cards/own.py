"""What processes of one user leave each other on a computer: compiled kernels, and who uses which card."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

from hitsieve.cards.found import Card

KERNELS = "CUPY_CACHE_DIR"
"""Names the folder where CuPy keeps compiled kernels; it looks when it is imported."""
SEATS = 2
"""Processes that share a card: while one reads and hands on what was found, the card works for the other. More would
only share its memory."""


class Seat:
    """The right to use a card; it ends when the process does, however it ends."""

    def __init__(self, card: Card, descriptor: int | None = None) -> None:
        self.card = card
        self._descriptor = descriptor

    def close(self) -> None:
        """Leave it to others; more than once does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def take_seat(cards: Sequence[Card]) -> Seat | None:
    """Find a card that few processes use; None where as many as should use each already.

    All processes of the same user on this computer that ask are told apart, whatever numbers they know the cards by.

    Parameters
    ----------
    cards : sequence of Card
        At least one.
    """
    try:
        folder = _folder()
        for number in range(SEATS):
            for card in cards:
                if card.is_alone and number:
                    continue
                descriptor = _locked(folder / f"card-{card.identity}-{number}")
                if descriptor is not None:
                    return Seat(card, descriptor)
    except OSError:
        # Nobody can be asked: at least not all take the first.
        return Seat(cards[os.getpid() % len(cards)])
    return None


def _locked(path: Path) -> int | None:
    """A lock of a file; None where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def keep_kernels() -> None:
    """Name a folder for compiled kernels where CuPy cannot have its own, in the home folder: it would not start."""
    if "cupy" in sys.modules or KERNELS in os.environ:
        return
    try:
        theirs = Path.home() / ".cupy" / "kernel_cache"
        theirs.mkdir(parents=True, exist_ok=True)
        if os.access(theirs, os.W_OK):
            return
    except (OSError, RuntimeError):
        pass
    try:
        os.environ[KERNELS] = str(_folder() / "kernels")
    except OSError:
        # CuPy will say that its folder cannot be made.
        return


def _folder() -> Path:
    """A folder of this user alone: who could write there could have others run his kernels."""
    folder = Path(gettempdir()) / f"hitsieve-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder}: is not of this user alone")
    return folder
