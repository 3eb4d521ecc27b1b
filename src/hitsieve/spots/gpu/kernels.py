"""The kernels for each pixel type."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from hitsieve.cards import Kernels

PIXELS = {"uint8": "u8", "int8": "i8", "uint16": "u16", "int16": "i16", "uint32": "u32", "int32": "i32"}
"""What the kernels call each pixel type."""


@cache
def source() -> str:
    """Text of the kernels."""
    return files("hitsieve.spots.gpu").joinpath("kernels.cu").read_text(encoding="utf-8")


def kernels_for(dtype: str) -> Kernels:
    """Those for a pixel type."""
    return Kernels(source(), (f"PIXEL={PIXELS[dtype]}",))
