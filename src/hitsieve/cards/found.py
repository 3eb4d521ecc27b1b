"""Which cards this computer has, as their driver tells; no card is touched, and CuPy is not imported."""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass

LIBRARY = "libcuda.so.1"
"""What the driver of NVIDIA's cards brings along."""
OLDEST_DRIVER = 12_000
"""CUDA 12.0, as the driver writes it."""
OLDEST_CARD = (7, 0)
"""Compute capability from which on the lanes of a warp wait for each other where they are told to."""
MAJOR, MINOR, MODE = 75, 76, 20
"""Attributes of a card."""
FORBIDDEN, ALONE = 2, 3
"""Modes of a card: nobody, or one process at a time, may use it."""
NO_CARD = 100
"""What the driver says where it has no card, or none that this process may see."""
INSTALL = 'pip install "hitsieve[gpu]"'


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card."""

    number: int
    name: str
    memory: int
    """Bytes in all."""
    capability: tuple[int, int]
    mode: int = 0
    """Who may use it, as the driver writes it."""
    uuid: str = ""
    """What tells it from all others; hexadecimal, and empty where the driver does not say."""

    @property
    def is_usable(self) -> bool:
        """Whether it can search."""
        return self.capability >= OLDEST_CARD and self.mode != FORBIDDEN

    @property
    def is_alone(self) -> bool:
        """Whether only one process at a time may use it."""
        return self.mode == ALONE

    @property
    def identity(self) -> str:
        """What tells it from others of this computer, whatever a process knows it by."""
        return self.uuid or f"number-{self.number}"


@dataclass(frozen=True, slots=True)
class Cards:
    """The cards there are, and whether they can be used."""

    cards: tuple[Card, ...]
    driver: str
    """Newest CUDA that the driver knows; empty without a driver."""
    lack: str
    """Why none can be used; empty where one can."""
    mend: str
    """What to do about it."""

    @property
    def usable(self) -> tuple[Card, ...]:
        """Those that can search."""
        return () if self.lack else tuple(card for card in self.cards if card.is_usable)


def find_cards(library: str = LIBRARY) -> Cards:
    """Ask the driver for cards."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return Cards((), "", "there is no NVIDIA driver", "install the driver of the card")
    version = ctypes.c_int()
    code = driver.cuInit(0)
    if code == 0:
        code = driver.cuDriverGetVersion(ctypes.byref(version))
    if code == NO_CARD:
        return Cards((), "", *_lack((), 0))
    if code != 0:
        return Cards((), "", f"the NVIDIA driver does not start (error {code})", "see whether nvidia-smi works")
    cards = tuple(_cards(driver))
    known = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Cards(cards, known, *_lack(cards, version.value))


def _lack(cards: tuple[Card, ...], version: int) -> tuple[str, str]:
    if not cards:
        mend = "see whether nvidia-smi shows it, and what CUDA_VISIBLE_DEVICES hides"
        return "the NVIDIA driver has no card", mend
    if not any(card.is_usable for card in cards):
        if cards[0].mode == FORBIDDEN:
            return f"{cards[0].name} is closed to all", "open it: nvidia-smi --compute-mode=DEFAULT"
        return f"{cards[0].name} is too old", "a card of compute capability 7.0 or more is needed"
    if version < OLDEST_DRIVER:
        return "the NVIDIA driver is older than CUDA 12.0", "install version 525 of the driver, or a later one"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed", INSTALL
    return "", ""


def _cards(driver: ctypes.CDLL) -> list[Card]:
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    found = []
    for number in range(count.value):
        device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        asked = [ctypes.c_int(), ctypes.c_int(), ctypes.c_int()]
        for value, attribute in zip(asked, (MAJOR, MINOR, MODE), strict=True):
            driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        major, minor, mode = (value.value for value in asked)
        uuid = _uuid(driver, device)
        found.append(Card(number, name.value.decode(errors="replace"), memory.value, (major, minor), mode, uuid))
    return found


def _uuid(driver: ctypes.CDLL, device: ctypes.c_int) -> str:
    # Drivers before CUDA 11.4 lack it; they are too old anyway.
    ask = getattr(driver, "cuDeviceGetUuid_v2", None)
    uuid = ctypes.create_string_buffer(16)
    return uuid.raw.hex() if ask is not None and ask(uuid, device) == 0 else ""
