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
LONG = 1 << 16
"""Byte strings of so many bytes are taken out of a message before it is decoded, and put back then."""
_MOST_OF_IT = 0.5
"""Share of a message from which on a byte string is given as a view: it holds no more than twice its size."""
_TAKEN_OUT = 0xFFFFFFFF
"""Stands for one that was taken out: a tag that is registered as one that means nothing."""
_BYTES = 2
_BIGNUMS = (2, 3)
_LONGEST_BIGNUM_HEAD = b"\x58"
"""First byte of a byte string of at most 255 bytes."""
_BREAK = b"\xff"


def loads(message: bytes | memoryview) -> Any:
    """Decode a message that is safe.

    Of a memoryview, a byte string that is most of the message is given as a view of it, not copied.

    Raises
    ------
    ValueError
        It is no CBOR, or not safe.
    """
    long = dict(enumerate(check(message)))
    if not long:
        return cbor2.loads(bytes(message))
    # The decoder would copy all of an image twice.
    pieces, place = [], 0
    for number, (head, _, end) in long.items():
        pieces += [message[place:head], cbor2.dumps(cbor2.CBORTag(_TAKEN_OUT, number))]
        place = end

    def put_back(*given: Any, **_: Any) -> Any:
        # Versions of the decoder differ in what else they give.
        tag = next(item for item in given if isinstance(item, cbor2.CBORTag))
        if tag.tag != _TAKEN_OUT or type(tag.value) is not int or tag.value not in long:
            return tag
        # Once: a message may hold such tags of its own, and must not become larger than it is.
        start, stop = long.pop(tag.value)[1:]
        string = message[start:stop]
        return string if stop - start >= _MOST_OF_IT * len(message) else bytes(string)

    return cbor2.loads(b"".join([*pieces, message[place:]]), tag_hook=put_back)


def check(message: bytes | memoryview) -> list[tuple[int, int, int]]:
    """Walk over all heads of a message; byte and text strings are stepped over.

    Returns
    -------
    list of (int, int, int)
        Where the head of each long byte string starts, and its bytes start and end; none of a message with strings
        that come in parts.

    Raises
    ------
    ValueError
        It ends too early, or holds too much, too deep, or of a kind that is not safe.
    """
    long: list[tuple[int, int, int]] = []
    in_parts = False
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
        head = place
        major, value, place = _head(message, place)
        if major in (2, 3) and value is not None:
            long += _long(message, (head, place, place + value))
            place += value
        elif major == 6:
            _check_tag(message, value or 0, place)
            left.append(1)
        elif major in (2, 3, 4, 5):
            in_parts |= major in (2, 3)
            left.append(-1 if value is None else value * (2 if major == 5 else 1))
            if left[-1] > len(message) - place:
                raise ValueError("it ends too early")
    return [] if in_parts else long


def _long(message: bytes | memoryview, string: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """A string (where its head, and its bytes, start, and their end), if it is a long one of bytes; else none."""
    head, start, end = string
    if end > len(message):
        raise ValueError("it ends too early")
    return [string] if end - start >= LONG and message[head] // 32 == _BYTES else []


def _head(message: bytes | memoryview, place: int) -> tuple[int, int | None, int]:
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


def _check_tag(message: bytes | memoryview, tag: int, place: int) -> None:
    if tag in COSTLY:
        raise ValueError(f"it holds a {COSTLY[tag]}")
    if tag in _BIGNUMS and not b"\x40" <= bytes(message[place : place + 1]) <= _LONGEST_BIGNUM_HEAD:
        raise ValueError("it holds a number that is far too large")
