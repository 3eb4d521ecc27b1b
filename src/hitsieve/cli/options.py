"""Flags that commands share."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import CoercionError, Group, Parameter, Token
from cyclopts.validators import Number

COMMON = Group("Messages")
SOURCE = Group("Source: how the input is read")
SPOTS = Group("Spots: how spots are found")
INDEX = Group("Index: which lattices are looked for and believed")
VERDICT = Group("Verdict: when an image is a hit")
WRITE = Group("Write: what is written, and where")
CLUSTER = Group("Cluster: who searches the images, if not this process alone")
CATALOGUE = Group("Catalogue: where the run is entered, to be found again")


def whole_number(_: type, tokens: Sequence[Token]) -> int:
    """Read an integer as settings read theirs: 2.5 is none, where cyclopts would round it, and 0x10 is none either."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise CoercionError(token=tokens[0], target_type=int)
    return int(text)


Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
"""A flag that is off unless it is given."""
AsJson = Annotated[bool, Parameter(negative=(), show_default=False, group=COMMON)]
"""Whether the answer is JSON, and nothing else is printed on stdout."""
Whole = Annotated[int, Parameter(converter=whole_number)]
"""The type of every integer that a command takes by itself; those of settings are pydantic's."""
WholeFrom0 = Annotated[int, Parameter(converter=whole_number, validator=Number(gte=0))]
WholeFrom1 = Annotated[int, Parameter(converter=whole_number, validator=Number(gte=1))]


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
        if level == logging.WARNING:
            # It warns where it cannot keep its fonts in the home folder: they are looked for again, and all is well.
            logging.getLogger("matplotlib").setLevel(logging.ERROR)
