"""What is asked of a card: memory, copies and launches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class CardError(Exception):
    """A card cannot go on; the compiled core can."""


class OutOfMemoryError(CardError):
    """A card has too little memory left."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """What a card is to be able to do."""

    text: str
    """CUDA C++."""
    defines: tuple[str, ...] = ()
    """What the text leaves open, each `NAME=VALUE`."""


class Device(Protocol):
    """A card with some kernels, or what acts as one. One thread uses it at a time.

    All methods raise CardError where the card fails, and OutOfMemoryError where its memory does not do.
    """

    lanes: int
    """Threads of a warp."""

    def room(self, n_bytes: int) -> Any:
        """Memory on the card; it is given back when nobody holds it any more."""

    def free_bytes(self) -> int:
        """Memory on the card that nobody has."""

    def address(self, room: Any) -> int:
        """Where that memory is, for the kernels."""

    def host_room(self, n_bytes: int) -> Bytes:
        """Memory here that is copied to the card fastest."""

    def put(self, room: Any, data: Bytes) -> None:
        """Copy to the card; `data` must stay as they are until something is taken back."""

    def get(self, room: Any, n_bytes: int) -> Bytes:
        """Wait for what was launched, and copy back."""

    def launch(self, kernel: str, job: Any, warps: int, images: int) -> None:
        """Start so many warps for each of so many images; `job` is the memory with the job."""

    def close(self) -> None:
        """Wait for what was begun, and let others have the memory that nobody holds any more."""
