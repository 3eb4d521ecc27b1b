"""CBOR that is safe to decode: neither what it states nor what it means takes more room or time than its bytes do.

A decoder of CBOR makes of a few bytes a number of a gigabyte, a list that holds itself, or a fraction that takes hours.
The messages of detectors hold nothing of that kind.
"""

from __future__ import annotations

from typing import Any

import cbor2

MOST_ITEMS = 1_000_000
"""Numbers, texts, lists and so on in one message; each may take a hundred bytes of memory for one of the message."""
MOST_LEVELS = 64
COSTLY = {
    4: "decimal", 5: "bigfloat", 25: "string reference", 28: "shared value", 29: "shared value", 30: "rational",
    35: "regular expression", 36: "mail", 256: "string reference",
}  # fmt: skip
"""Tags whose values may be far larger than their bytes, or take far longer to make."""
_BIGNUMS = (2, 3)
_LONGEST_BIGNUM_HEAD = b"\x58"
"""First byte of a byte string of at most 255 bytes."""
_BREAK = b"\xff"


def loads(message: bytes) -> Any:
    """Decode a message that is safe.

    Raises
    ------
    ValueError
        It is no CBOR, or not safe.
    """
    check(message)
    return cbor2.loads(message)


def check(message: bytes) -> None:
    """Walk over all heads of a message; byte and text strings are stepped over.

    Raises
    ------
    ValueError
        It ends too early, or holds too much, too deep, or of a kind that is not safe.
    """
    place, n_items = 0, 0
    # Items left on each level; negative: until a break.
    left = [1]
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        if message[place : place + 1] == _BREAK and left[-1] < 0:
            left.pop()
            place += 1
            continue
        left[-1] -= 1
        n_items += 1
        if n_items > MOST_ITEMS or len(left) > MOST_LEVELS:
            raise ValueError("it holds too much, or too deep")
        major, value, place = _head(message, place)
        if major in (2, 3) and value is not None:
            place += value
        elif major == 6:
            _check_tag(message, value or 0, place)
            left.append(1)
        elif major in (2, 3, 4, 5):
            left.append(-1 if value is None else value * (2 if major == 5 else 1))
            if left[-1] > len(message) - place:
                raise ValueError("it ends too early")


def _head(message: bytes, place: int) -> tuple[int, int | None, int]:
    """Kind of an item, its number, length or count (None: until a break), and where its head ends."""
    if place >= len(message):
        raise ValueError("it ends too early")
    major, value = divmod(message[place], 32)
    place += 1
    if value < 24:
        return major, value, place
    if value == 31 and major in (2, 3, 4, 5):
        return major, None, place
    if value > 27:
        raise ValueError("it has a head that means nothing")
    end = place + (1 << (value - 24))
    return major, int.from_bytes(message[place:end], "big"), end


def _check_tag(message: bytes, tag: int, place: int) -> None:
    if tag in COSTLY:
        raise ValueError(f"it holds a {COSTLY[tag]}")
    if tag in _BIGNUMS and not b"\x40" <= message[place : place + 1] <= _LONGEST_BIGNUM_HEAD:
        raise ValueError("it holds a number that is far too large")
