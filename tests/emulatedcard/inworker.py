"""Emulated cards in processes that tests start but are not: the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from emulatedcard import EmulatedCard, Room, load
from hitsieve.cards import Card, CardError, Cards, Device, own
from hitsieve.pipeline import cards

CARD = Card(0, "Emulated", 1 << 34, (9, 0), uuid="17")
folder = Path()
failing = False


class Told(EmulatedCard):
    """A card that notes which process has it decode."""

    def launch(self, kernel: str, job: Room, warps: int, images: int) -> None:
        if failing:
            raise CardError("it has fallen off the bus")
        if kernel == "decode":
            (folder / f"{os.getpid()}.used").touch()
        super().launch(kernel, job, warps, images)


def begin(library: str) -> None:
    """Give this process a computer with one card, for one process; what they leave each other is beside the library."""
    global folder  # noqa: PLW0603 - a process has one card
    folder = Path(library).parent
    loaded = load(Path(library))

    def devices(of: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
        return [partial(Told, dtype, library=loaded) for _ in of]

    cards.find_cards = lambda: Cards((CARD,), "12.4", "", "")
    cards.devices_of = devices
    own.SEATS = 1
    own.gettempdir = lambda: str(folder)


def fail() -> None:
    """From now on its card fails."""
    global failing  # noqa: PLW0603 - a process has one card
    failing = True
