"""Flags that commands share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

COMMON = Group("Messages")
SOURCE = Group("Source: how the input is read")
SPOTS = Group("Spots: how spots are found")
INDEX = Group("Index: which lattices are looked for and believed")
VERDICT = Group("Verdict: when an image is a hit")
WRITE = Group("Write: what is written, and where")


@Parameter(name="*", negative=(), show_default=False, group=COMMON)
@dataclass(frozen=True)
class Messages:
    """What a command says, and where."""

    quiet: bool = False
    """No progress and no summary."""
    verbose: Annotated[bool, Parameter(alias="-v")] = False
    """Log what is done, on stderr."""
    debug: bool = False
    """Like --verbose, with debug messages; errors come with a traceback."""

    def set_up_logging(self) -> None:
        """Send the log of hitsieve to stderr."""
        level = logging.DEBUG if self.debug else logging.INFO if self.verbose else logging.WARNING
        logging.basicConfig(format="hitsieve: %(levelname)s: %(message)s")
        logging.getLogger("hitsieve").setLevel(level)
