"""The processes of a watcher."""

from __future__ import annotations

from hitsieve.model import Closing
from hitsieve.pipeline.apart import Apart


class Processes(Closing):
    """Those that do the work; each may die at it, and is begun again.

    Parameters
    ----------
    n : int
        Runs that are seen to at a time.
    """

    def __init__(self, n: int) -> None:
        self.looking = Apart()
        """Looks into files."""
        self.working = tuple(Apart() for _ in range(n))

    def close(self) -> None:
        """End them when they have done what they do."""
        for apart in (self.looking, *self.working):
            apart.close()
