"""What series are called: each as no file in the folder of outputs is, and no other program calls its own."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from os import scandir
from pathlib import Path
from threading import Thread

from hitsieve.model import SeriesKey
from hitsieve.pipeline.live.spool import claimed

ANSWER = 1.0
"""Time (s) within which the disk of the outputs answers; images wait meanwhile."""
_OF_SERIES = re.compile(r"(series_\d+(?:-\d+)?)_")
_log = logging.getLogger(__name__)


class Naming:
    """Names series. The folder of outputs is looked at once before the first, however long that takes.

    Parameters
    ----------
    output : Path
        Folder of outputs.
    spool : Path
        Folder of what is received: with a name goes a folder in it.
    """

    def __init__(self, output: Path, spool: Path) -> None:
        self._output, self._spool = output, spool
        self._given: set[str] = set()
        self._there: frozenset[str] = frozenset()
        self._looking: Thread | None = None
        self._look()

    def name(self, key: SeriesKey) -> str:
        """Prefix for the files of a series: one that no file in the folder has, and no other program takes."""
        self._look_again()
        first = name = f"series_{key.number:06d}"
        n = 1
        while name in self._given or name in self._there or not claimed(self._spool / name):
            n += 1
            name = f"{first}-{n}"
        self._given.add(name)
        return name

    def _look_again(self) -> None:
        """See what is there now; where the disk does not answer, what was there before is all that is known.

        A name that is taken after all costs nothing: outputs are never replaced, and what was received stays.
        """
        if self._looking is not None and self._looking.is_alive():
            return
        # Nothing ends a thread that waits for a share: it is not to hold back the end of the program.
        self._looking = Thread(target=self._look, daemon=True)
        self._looking.start()
        self._looking.join(ANSWER)
        if self._looking.is_alive():
            _log.warning("%s: does not answer; series are named by what was there before", self._output)

    def _look(self) -> None:
        with suppress(OSError), scandir(self._output) as entries:
            self._there = frozenset(of[1] for entry in entries if (of := _OF_SERIES.match(entry.name)))
