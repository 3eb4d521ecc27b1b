"""Whether the cores or the graphics cards of a computer search a run, and why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hitsieve.cards import INSTALL, Card, Cards, Seat, find_cards, take_seat
from hitsieve.errors import SettingsError
from hitsieve.model import Run
from hitsieve.pipeline.searcher import BATCH, Images, Scan, Scanning
from hitsieve.spots import Finder
from hitsieve.spots.gpu import Streams, can_search, devices_of

_log = logging.getLogger(__name__)
MANY = 2000
"""Images from which on it pays to start a card, which takes seconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who would search."""

    found: Cards
    """What there is."""
    cards: tuple[Card, ...]
    """Those that search; without any, the cores do."""
    why: str
    mend: str = ""
    """What to do to have cards search."""

    @property
    def engine(self) -> str:
        """Its name, as in the settings."""
        return "gpu" if self.cards else "cpu"


def choice() -> Choice:
    """Who searches long runs where nobody is asked for."""
    found = find_cards()
    if not found.usable:
        return Choice(found, (), found.lack, found.mend)
    try:
        devices_of(found.usable, "uint16")
    except Exception as error:  # noqa: BLE001 - a CuPy that does not fit NumPy, Python or CUDA fails in all ways
        what = " ".join(str(error).split())
        return Choice(found, (), f"CuPy cannot be used: {what}", f"install it again: {INSTALL}")
    why = f"for runs of {MANY} images or more, to find spots and to index with a known cell"
    return Choice(found, found.usable, why)


def scan_by_cores(finder: Finder, workers: int) -> Scan:
    """The compiled core, in threads of this process."""

    def scan(run: Run, images: Images) -> Scanning:
        return finder.scan(run, images, workers, BATCH)

    return scan


def scan_here(run: Run, finder: Finder, engine: str, workers: int) -> Scan:
    """The scan by cores or by cards that is asked for.

    Parameters
    ----------
    run : Run
    finder : Finder
    engine : str
        `auto`, `cpu` or `gpu`.
    workers : int
        Threads of this process.

    Raises
    ------
    SettingsError
        Cards are asked for, and cannot search this run.
    """
    cores = scan_by_cores(finder, workers)
    if engine == "cpu":
        return cores
    if engine_for(engine, len(run)) == "cpu":
        _log.info("cores search: there are fewer than %d images", MANY)
        return cores
    chosen = _suited(run, finder, choice())
    if not chosen.cards:
        if engine == "gpu":
            raise _refused(chosen)
        _log.info("cores search: %s", chosen.why)
        return cores
    devices = devices_of(chosen.cards, finder.ground.dtype)
    _log.info("graphics cards search: %s", ", ".join(card.name for card in chosen.cards))

    def scan(of: Run, images: Images) -> Scanning:
        # Negative ones are of images that were searched before.
        if engine_for(engine, int(np.count_nonzero(images >= 0))) == "cpu":
            return cores(of, images)
        try:
            streams = Streams(devices, of, finder, workers=workers)
        except ValueError:
            # Its files were there a moment ago; the core says what is wrong with each.
            return cores(of, images)
        return streams.scan(images, BATCH, ends=True)

    return scan


def engine_for(engine: str, n_images: int) -> str:
    """What is asked for, seen against how many images there are to search."""
    return "cpu" if engine == "auto" and n_images < MANY else engine


def refuse_without_card() -> None:
    """Refuse work that asks for cards where there is none.

    Raises
    ------
    SettingsError
        None can be used.
    """
    chosen = choice()
    if not chosen.cards:
        raise _refused(chosen)


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes of a computer searches with."""

    streams: Streams | None
    """Those of its card; None: a core searches."""
    who: str
    """In words."""


_seats: list[Seat] = []
"""The card of this process, once it has one."""


def share_of_worker(run: Run, finder: Finder, engine: str) -> Share:
    """Give a worker its share of the cards of its computer: one card, which a few use together; the others use cores.

    Parameters
    ----------
    run : Run
    finder : Finder
    engine : str
        `auto`, `cpu` or `gpu`.

    Raises
    ------
    SettingsError
        Cards are asked for, and this computer has none that can search this run.
    """
    if engine == "cpu":
        return Share(None, "a core")
    busy = Share(None, "a core: other workers use the graphics cards")
    # The seat comes first: CuPy takes a second and much memory, and is not for those who get none.
    usable = find_cards().usable
    if usable and can_search(run, finder) and not _is_seated(usable):
        return busy
    chosen = choice()
    if not chosen.cards:
        while _seats:
            _seats.pop().close()
    chosen = _suited(run, finder, chosen)
    if not chosen.cards:
        if engine == "gpu":
            raise _refused(chosen)
        return Share(None, f"a core: {chosen.why}")
    # The files of the run may have come back in the meantime.
    if not _is_seated(chosen.cards):
        return busy
    card = _seats[0].card
    try:
        streams = Streams(devices_of([card], finder.ground.dtype), run, finder, workers=1)
    except ValueError:
        return Share(None, "a core: the files of the run have gone")
    return Share(streams, f"graphics card {card.number}, {card.name}")


def _is_seated(of: Sequence[Card]) -> bool:
    """Whether this process has a card, or gets one of these."""
    if not _seats:
        seat = take_seat(of)
        if seat is not None:
            _seats.append(seat)
    return bool(_seats)


def _refused(chosen: Choice) -> SettingsError:
    return SettingsError(f"engine gpu: {chosen.why}", mend=f"{chosen.mend}, or use engine cpu")


def _suited(run: Run, finder: Finder, chosen: Choice) -> Choice:
    """A choice, seen against what cards can do."""
    if not chosen.cards or can_search(run, finder):
        return chosen
    if finder.settings.algorithm != "radial":
        return replace(
            chosen, cards=(), why=f"cards do not know the algorithm {finder.settings.algorithm}", mend="use radial"
        )
    return replace(
        chosen,
        cards=(),
        why=f"{run.path}: no images with bitshuffle and LZ4, all that cards unpack",
        mend="store the images so",
    )
