"""Unpacks small compressed arrays that come in messages, such as pixel masks, and believes nothing that they state.

The framing is that of the HDF5 filters: the size of all (8 bytes, big-endian), the size of a block (4 bytes), and each
block with its packed size (4 bytes) before it. Images are not unpacked here: the core does that, many times faster.

References
----------
LZ4: the block format of https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md.
Bitshuffle: Masui et al., Astronomy and Computing 12, 181 (2015); 10.1016/j.ascom.2015.07.002.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MOST_PACKED = 4 << 20
"""Bytes of a packed array: those who unpack it hold up others meanwhile."""
LARGEST_BLOCK = 1 << 30
_HEAD, _LENGTH = 12, 4
_TOGETHER = 8
"""Elements whose bits are shuffled together; fewer at the end are stored as they are."""
_SWAPS = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))
)
"""Bits, squares of four and squares of sixteen of them that change places."""


def unpack(codec: str, data: bytes, item_size: int, size: int) -> bytes:
    """Unpack an array.

    Parameters
    ----------
    codec : str
        lz4 or bslz4.
    data : bytes
    item_size : int
        Bytes of an element.
    size : int
        Bytes of the array.

    Raises
    ------
    ValueError
        It is not such an array, is too large, or of another compression.
    """
    if codec not in ("lz4", "bslz4"):
        raise ValueError(f"{codec} is not unpacked")
    if len(data) > MOST_PACKED:
        raise ValueError(f"{len(data)} packed bytes are too many")
    if len(data) < _HEAD or int.from_bytes(data[:8], "big") != size:
        raise ValueError("it is not of the size that it states")
    block = int.from_bytes(data[8:_HEAD], "big")
    if not 0 < block <= LARGEST_BLOCK or (codec == "bslz4" and block % (_TOGETHER * item_size)):
        raise ValueError("its blocks are of no possible size")
    parts = _shuffled(data, item_size, size, block) if codec == "bslz4" else _plain(data, size, block)
    return b"".join(parts)


def _plain(data: bytes, size: int, block: int) -> Iterator[bytes]:
    place = _HEAD
    for start in range(0, size, block):
        n = min(block, size - start)
        packed, place = _next(data, place)
        # What cannot be packed is stored as it is.
        yield packed if len(packed) == n else _block(packed, n)


def _shuffled(data: bytes, item_size: int, size: int, block: int) -> Iterator[bytes]:
    place, together = _HEAD, _TOGETHER * item_size
    whole = size - size % together
    for start in range(0, whole, block):
        n = min(block, whole - start)
        packed, place = _next(data, place)
        yield _unshuffled(_block(packed, n), item_size)
    rest = data[place : place + size - whole]
    if len(rest) != size - whole:
        raise ValueError("it ends too early")
    yield rest


def _next(data: bytes, place: int) -> tuple[bytes, int]:
    """The next packed block, and where the one after it begins."""
    start = place + _LENGTH
    end = start + int.from_bytes(data[place:start], "big")
    if end > len(data) or start >= end:
        raise ValueError("it ends too early")
    return data[start:end], end


def _unshuffled(block: bytes, item_size: int) -> bytes:
    """Bits back in their place: rows of one bit of all elements become elements."""
    rows = np.frombuffer(block, dtype=np.uint8).reshape(item_size, 8, -1)
    # Eight bytes, one of each row, are the bits of one byte of eight elements: a square of bits, to be transposed.
    squares = np.ascontiguousarray(rows.transpose(0, 2, 1)).view("<u8")[..., 0]
    for shift, mask in _SWAPS:
        swapped = (squares ^ (squares >> shift)) & mask
        squares = squares ^ swapped ^ (swapped << shift)
    parts = squares.view(np.uint8).reshape(item_size, -1)
    return parts.T.tobytes()


def _block(packed: bytes, size: int) -> bytes:
    """Unpack one block of LZ4."""
    out = bytearray()
    place = 0
    while place < len(packed):
        token = packed[place]
        n, place = _length(packed, place + 1, token >> 4)
        out += packed[place : place + n]
        place += n
        if place >= len(packed):
            break
        back = int.from_bytes(packed[place : place + 2], "little")
        n, place = _length(packed, place + 2, token & 15)
        n += 4
        if not 0 < back <= len(out) or len(out) + n > size:
            raise ValueError("it repeats what is not there, or too much")
        pattern = bytes(out[-back : len(out) - back + n] if n < back else out[-back:])
        out += (pattern * (n // back + 1))[:n]
    if len(out) != size:
        raise ValueError("a block is not of the size that it states")
    return bytes(out)


def _length(packed: bytes, place: int, length: int) -> tuple[int, int]:
    """A length that goes on as long as its bytes are 255."""
    if length < 15:
        return length, place
    while True:
        if place >= len(packed):
            raise ValueError("it ends too early")
        length += packed[place]
        place += 1
        if packed[place - 1] != 255:
            return length, place
