"""What the system tells of a folder: that something has changed in it.

Of what other computers do on a network share it tells nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from watchfiles import watch

from hitsieve.model import Closing

_log = logging.getLogger(__name__)
DELAY = 400
"""Time (ms) for which changes are gathered before they are told."""
PAUSE = 200
"""Longest time (ms) until a request to stop is seen."""


class Events(Closing):
    """Listens in a thread of its own until the folder is gone; use it in a `with` statement.

    Parameters
    ----------
    top : Path
    changed : callable
        Called when something has changed.
    """

    def __init__(self, top: Path, changed: Callable[[], None]) -> None:
        self._top, self._changed = top, changed
        self._stop = Event()
        self._thread: Thread | None = None

    def listen(self) -> None:
        """Begin to listen, or begin again where listening has ended; the tree is to be looked at afterwards."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._listen, name="events", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _listen(self) -> None:
        try:
            for _ in watch(
                self._top,
                watch_filter=None,
                debounce=DELAY,
                rust_timeout=PAUSE,
                stop_event=self._stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._changed()
                if not self._top.is_dir():
                    return
        except (OSError, RuntimeError) as error:
            # watchfiles says so where the folder is gone, or the system has no room for more watches.
            _log.debug("%s: no events: %s; it is looked at from time to time", self._top, error)
