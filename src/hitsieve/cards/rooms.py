"""Memory on a card by the names that kernels have for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.cards.device import Bytes, Device
from hitsieve.cards.job import Numbers, packed_job


class Rooms:
    """Memory on a device, as large as was needed so far, and launches that work with it.

    Parameters
    ----------
    device : Device
    text : str
        Text of its kernels: the fields of its job are the names.
    """

    def __init__(self, device: Device, text: str) -> None:
        self._device = device
        self._text = text
        self._rooms: dict[str, Any] = {}
        self._sent: dict[str, Bytes] = {}
        self._values: Numbers = {}

    @property
    def lanes(self) -> int:
        """Threads of a warp."""
        return self._device.lanes

    def make(self, name: str, n_bytes: int) -> None:
        """See to it that there is so much memory; what was in it may be lost."""
        if name in self._rooms and self._rooms[name].nbytes >= n_bytes:
            return
        # What is too small is given back before more is asked for.
        self._rooms.pop(name, None)
        self._rooms[name] = self._device.room(max(n_bytes, 1))
        if name != "job":
            self._values[name] = self._device.address(self._rooms[name])

    def send(self, name: str, array: npt.NDArray[Any]) -> None:
        """Copy an array to the card."""
        data = np.ascontiguousarray(array).view(np.uint8).ravel()
        self.make(name, data.nbytes)
        # The copy may go on after this: what is copied must stay until then.
        self._sent[name] = data
        if data.nbytes:
            self._device.put(self._rooms[name], data)

    def fetch(self, name: str, dtype: npt.DTypeLike, n: int) -> npt.NDArray[Any]:
        """Wait for what was launched, and copy n values back."""
        data = self._device.get(self._rooms[name], n * np.dtype(dtype).itemsize)
        # All that was sent has arrived by now.
        self._sent.clear()
        return data.view(dtype)

    def launch(self, numbers: Numbers, images: int, warps: dict[str, int]) -> None:
        """Start kernels, one after the other, each with so many warps an image."""
        self.send("job", packed_job(self._text, self._values | numbers))
        for kernel, each in warps.items():
            if each > 0:
                self._device.launch(kernel, self._rooms["job"], each, images)

    def close(self) -> None:
        """Give the memory back."""
        self._rooms.clear()
        self._sent.clear()
        self._device.close()
