"""Whether the cores or the graphics cards of this computer search a run, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from hitsieve.cards import Card, Cards, find_cards
from hitsieve.errors import SettingsError
from hitsieve.model import Run
from hitsieve.pipeline.searcher import BATCH, Images, Scan, Scanning
from hitsieve.spots import Finder
from hitsieve.spots.gpu import can_search, devices_of, scan_on

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
        return Choice(found, (), f"CuPy cannot be imported: {what}", "install it again")
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
    if engine == "auto" and len(run) < MANY:
        _log.info("cores search: there are fewer than %d images", MANY)
        return cores
    chosen = _suited(run, finder, choice())
    if not chosen.cards:
        if engine == "gpu":
            raise SettingsError(f"engine gpu: {chosen.why}", mend=f"{chosen.mend}, or use engine cpu")
        _log.info("cores search: %s", chosen.why)
        return cores
    devices = devices_of(chosen.cards, finder.ground.dtype)
    _log.info("graphics cards search: %s", ", ".join(card.name for card in chosen.cards))

    def scan(of: Run, images: Images) -> Scanning:
        if engine == "auto" and len(images) < MANY:
            return cores(of, images)
        return scan_on(devices, of, finder, images, workers=workers, batch=BATCH)

    return scan


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
