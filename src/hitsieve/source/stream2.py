"""Messages of DECTRIS Stream2 and of Jungfraujoch, as CBOR: start, image and end of a series.

Whoever can reach the port can send anything. What makes no sense raises `SourceError` and nothing else; sizes are
bounded by the message. Keys and kinds of messages that are not known are passed over.

References
----------
CBOR: RFC 8949. Arrays (tags 40 and 64 to 87): RFC 8746. Tag 56500 is DECTRIS' for compressed bytes: [algorithm, element
size, bytes], in the framing of the HDF5 filters, so that a chunk of a file and the bytes of a message are the same.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Codec, Detector, PackedImage, Problem, SeriesEnd, SeriesImage, SeriesKey, SeriesStart
from hitsieve.source.cbor import loads
from hitsieve.source.fields import HC
from hitsieve.source.geometry import completed
from hitsieve.source.unpacking import unpack

ROW_MAJOR, COLUMN_MAJOR, COMPRESSED = 40, 1040, 56500
TYPES = {
    64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8",
    72: "i1", 73: ">i2", 74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8",
    80: ">f2", 81: ">f4", 82: ">f8", 84: "<f2", 85: "<f4", 86: "<f8",
}  # fmt: skip
"""NumPy's name of the type behind each tag of RFC 8746 that NumPy has."""
CODECS: dict[str, Codec] = {"bslz4": "bslz4", "lz4": "lz4", "bszstd": "bszstd"}
LARGEST = 1 << 26
"""No image has as many pixels; each takes memory as soon as one image says so, however few bytes it has."""
LONGEST_SERIES = 10**7
"""No series has more images; each that is announced takes memory, whether it comes or not."""
LARGEST_NUMBER = 1 << 63
LONGEST_NAME = 256
LARGEST_INTEGER = 1 << 63
BELIEVED = (1e-12, 1e12)
"""Lengths (m, angstrom), energies (eV) and beam centres (pixels) beyond count as not stated: they break geometry."""
MOST_VALUES = 64
"""Values that are kept of an image message, besides its image."""
LONGEST_USER_DATA = 4096
RATIONALS = ("real_time", "start_time", "stop_time")
"""Values of an image that are stated as [numerator, denominator], in seconds."""
_NOT_VALUES = frozenset({"type", "series_id", "series_unique_id", "image_id", "data"})
_VALUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DEPTH = 16
"""Levels of maps and arrays in what is kept of a start message."""
_LONGEST = 1000
"""Longest list or map in what is kept of it."""


class _Nonsense(ValueError):
    """What a message states cannot be meant."""


@dataclass(frozen=True, slots=True)
class _Array:
    """An array as it stands in a message."""

    dims: tuple[int, ...]
    dtype: np.dtype[np.generic]
    codec: Codec | None
    data: bytes | memoryview


def read_message(message: bytes | memoryview) -> SeriesStart | SeriesImage | SeriesEnd | None:
    """Read one message; None for kinds that are not used, such as calibrations.

    An image that is most of a message given as a memoryview is a view of it: nobody may write to it any more.

    Raises
    ------
    SourceError
        It is no CBOR, or no message of a series.
    """
    try:
        content = loads(message)
    except Exception as error:  # noqa: BLE001 - a decoder of hostile bytes may raise what it likes
        what = " ".join(str(error).split())[:200]
        raise SourceError(f"a message of {len(message)} bytes is not CBOR: {type(error).__name__}: {what}") from None
    try:
        return _read(content)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the message's fault and must not end the program
        raise SourceError(f"a message of {len(message)} bytes makes no sense: {error}") from None


def _read(content: Any) -> SeriesStart | SeriesImage | SeriesEnd | None:
    if not isinstance(content, dict):
        raise _Nonsense("it is no map")
    kind = content.get("type")
    if kind == "start":
        return _start(content)
    if kind == "image":
        return _image(content)
    if kind == "end":
        return SeriesEnd(_key(content))
    if not isinstance(kind, str):
        raise _Nonsense("it states no type")
    return None


def _key(content: dict[Any, Any]) -> SeriesKey:
    number, unique = content.get("series_id"), content.get("series_unique_id", "")
    unique = "" if unique is None else unique
    if not isinstance(unique, str) or len(unique) > LONGEST_NAME or not (unique.isprintable() or not unique):
        raise _Nonsense("its series_unique_id is no short text")
    return SeriesKey(_count(number, "series_id"), unique)


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST_NUMBER:
        raise _Nonsense(f"its {name} is no number from 0 on")
    return value


def _image(content: dict[Any, Any]) -> SeriesImage:
    key, number = _key(content), _count(content.get("image_id"), "image_id")
    try:
        array = _array(_channel(content.get("data")))
        return SeriesImage(key, number, _packed(array), values=_values(content))
    except _Nonsense as error:
        return SeriesImage(key, number, None, f"received, but {error}")


def _values(content: dict[Any, Any]) -> dict[str, int | float | str]:
    """Numbers and short texts beside the image, under names that a file can have; lists and maps are passed over."""
    values: dict[str, int | float | str] = {}
    for name, stated in content.items():
        if len(values) >= MOST_VALUES:
            break
        if not isinstance(name, str) or name in _NOT_VALUES or not _VALUE_NAME.fullmatch(name):
            continue
        value = _value(name, stated)
        if value is not None:
            values[name] = value
    return values


def _value(name: str, stated: Any) -> int | float | str | None:
    if name == "user_data" and isinstance(stated, dict | list):
        text = json.dumps(_kept(stated))
        return text if len(text) <= LONGEST_USER_DATA else None
    if name in RATIONALS and isinstance(stated, list | tuple):
        parts = [_finite(part) for part in stated]
        return None if len(parts) != 2 or parts[0] is None or not parts[1] else _finite(parts[0] / parts[1])
    if isinstance(stated, int):
        return int(stated) if -LARGEST_INTEGER <= stated < LARGEST_INTEGER else None
    if isinstance(stated, str):
        return stated if stated and stated.isprintable() and len(stated) <= LONGEST_NAME else None
    return _finite(stated)


def _channel(data: Any) -> Any:
    """One of several arrays by channel: that of the first name, in start and image alike."""
    if not isinstance(data, dict):
        return data
    names = [name for name in data if isinstance(name, str)]
    if not names:
        raise _Nonsense("it holds no data")
    return data[min(names)]


def _packed(array: _Array) -> PackedImage:
    dims = array.dims[1:] if len(array.dims) == 3 and array.dims[0] == 1 else array.dims
    dtype = array.dtype
    if len(dims) != 2:
        raise _Nonsense(f"its data have {len(array.dims)} axes, not 2")
    if dtype.kind not in "iu" or dtype.itemsize > 4:
        raise _Nonsense(f"its data are {dtype.name}; integers of at most 32 bits are needed")
    little = dtype.newbyteorder("<")
    data = array.data
    if dtype.byteorder == ">":
        if array.codec is not None:
            raise _Nonsense("its data are big-endian and compressed")
        data = np.frombuffer(data, dtype).astype(little).tobytes()
    return PackedImage((dims[0], dims[1]), little, array.codec, data)


def _array(value: Any) -> _Array:
    """Read an array of one of the tags; what is not compressed has the size that it states."""
    tag, content = _tagged(value)
    dims: tuple[int, ...] | None = None
    if tag == COLUMN_MAJOR:
        raise _Nonsense("its data are column-major")
    if tag == ROW_MAJOR:
        if not isinstance(content, list | tuple) or len(content) != 2 or not isinstance(content[0], list | tuple):
            raise _Nonsense("its array has no dimensions")
        dims = tuple(_count(n, "array's dimension") for n in content[0])
        tag, content = _tagged(content[1])
    if tag not in TYPES:
        raise _Nonsense(f"its array has the unknown tag {tag}")
    dtype = np.dtype(TYPES[tag])
    codec, data = _bytes(content, dtype)
    dims = (len(data) // dtype.itemsize,) if dims is None and codec is None else dims
    if dims is None or not 0 < len(dims) <= 4 or not 0 < math.prod(dims) < LARGEST:
        raise _Nonsense(f"its array has impossible dimensions {dims}")
    if codec is None and len(data) != math.prod(dims) * dtype.itemsize:
        raise _Nonsense(f"its array has {len(data)} bytes, not those of {dims} {dtype.name}")
    return _Array(dims, dtype, codec, data)


def _tagged(value: Any) -> tuple[int, Any]:
    if not isinstance(value, cbor2.CBORTag):
        raise _Nonsense("it holds no array where one is needed")
    return int(value.tag), value.value


def _bytes(content: Any, dtype: np.dtype[np.generic]) -> tuple[Codec | None, bytes | memoryview]:
    """Bytes of a typed array, and how they are compressed."""
    if isinstance(content, bytes | memoryview):
        return None, content
    tag, parts = _tagged(content)
    if tag != COMPRESSED or not isinstance(parts, list | tuple) or len(parts) != 3:
        raise _Nonsense("its array holds no bytes")
    algorithm, size, data = parts
    codec = CODECS.get(algorithm) if isinstance(algorithm, str) else None
    if codec is None:
        raise _Nonsense(f"its compression {str(algorithm)[:32]!r} is unknown")
    if not isinstance(data, bytes | memoryview) or not data:
        raise _Nonsense("its compressed array is empty")
    if codec != "lz4" and size != dtype.itemsize:
        raise _Nonsense(f"its data are compressed as elements of {size} bytes and are {dtype.name}")
    return codec, data


def _start(content: dict[Any, Any]) -> SeriesStart:
    key = _key(content)
    problems: list[Problem] = []
    _tell_channels(content, str(key), problems)
    wavelength = _positive(content, "incident_wavelength")
    if wavelength is None and (energy := _positive(content, "incident_energy")) is not None:
        wavelength = HC / energy
    kept = {name: _kept(value) for name, value in content.items() if isinstance(name, str) and len(name) < LONGEST_NAME}
    return SeriesStart(
        key=key,
        n_images=_announced(content, str(key), problems),
        detector=_detector(content, str(key), problems),
        wavelength=wavelength,
        cell=_cell(content.get("unit_cell")),
        space_group=_text(content, "space_group"),
        stated={name: value for name, value in kept.items() if value is not None},
        problems=tuple(problems),
    )


def _announced(content: dict[Any, Any], where: str, problems: list[Problem]) -> int | None:
    n = content.get("number_of_images")
    if isinstance(n, bool) or not isinstance(n, int) or n <= 0:
        return None
    if n > LONGEST_SERIES:
        problems.append(Problem(where, f"announces {n} images, which is not believed; those that come are counted"))
        return None
    return n


def _tell_channels(content: dict[Any, Any], where: str, problems: list[Problem]) -> None:
    channels = content.get("channels")
    names = [name for name in channels if isinstance(name, str)] if isinstance(channels, list) else []
    if len(names) > 1:
        problems.append(Problem(where, f"has {len(names)} channels; {min(names)[:LONGEST_NAME]} is used"))


def _detector(content: dict[Any, Any], where: str, problems: list[Problem]) -> Detector | None:
    """The detector, with a flat panel where its place is known."""
    fast, slow = _whole(content, "image_size_x"), _whole(content, "image_size_y")
    if not fast or not slow or fast * slow >= LARGEST:
        return None
    size = (_positive(content, "pixel_size_x"), _positive(content, "pixel_size_y"))
    detector = Detector(
        shape=(slow, fast),
        pixel_mask=_mask(content.get("pixel_mask"), (slow, fast), where, problems),
        saturation_value=_whole(content, "saturation_value") or None,
        underload_value=_whole(content, "underload_value"),
        error_value=_whole(content, "error_value"),
        description=_text(content, "detector_description"),
        distance=_positive(content, "detector_distance") or _translation(content),
        beam_center=_centre(content, where, problems),
        pixel_size=None if size[0] is None or size[1] is None else (size[0], size[1]),
        sensor_material=_text(content, "sensor_material"),
        sensor_thickness=_positive(content, "sensor_thickness"),
    )
    return completed(detector)


def _centre(content: dict[Any, Any], where: str, problems: list[Problem]) -> tuple[float, float] | None:
    x, y = _number(content, "beam_center_x"), _number(content, "beam_center_y")
    if x is None or y is None or max(abs(x), abs(y)) > BELIEVED[1]:
        return None
    if x == 0 and y == 0:
        problems.append(Problem(where, "states the beam centre (0, 0), which means not set"))
        return None
    return x, y


def _translation(content: dict[Any, Any]) -> float | None:
    """Distance (m) where the detector only moves along the beam."""
    values = content.get("detector_translation")
    moves = [_finite(value) for value in values] if isinstance(values, list) else []
    return _believed(moves[2]) if len(moves) == 3 and moves[:2] == [0, 0] else None


def _mask(value: Any, shape: tuple[int, int], where: str, problems: list[Problem]) -> npt.NDArray[np.uint32] | None:
    if value is None or value == {}:
        return None
    try:
        array = _array(_channel(value))
    except _Nonsense as error:
        problems.append(Problem(where, f"its pixel mask is not used: {error}", "--mask FILE:/path"))
        return None
    if array.dims != shape or array.dtype.kind not in "iu":
        found = f"{array.dtype.name} {array.dims}"
        problems.append(Problem(where, f"its pixel mask is {found}; it is not used", "--mask FILE:/path"))
        return None
    data = array.data
    if array.codec is not None:
        try:
            data = _unpacked(array.codec, bytes(data), array.dtype.itemsize, math.prod(shape) * array.dtype.itemsize)
        except ValueError as error:
            problems.append(Problem(where, f"its pixel mask is not used: {error}", "--mask FILE:/path"))
            return None
    return np.frombuffer(data, array.dtype).reshape(shape).astype(np.uint32)


@lru_cache(maxsize=1)
def _unpacked(codec: Codec, data: bytes, item_size: int, size: int) -> bytes:
    """Unpack an array; the same one comes through each socket, and with the next series."""
    return unpack(codec, data, item_size, size)


def _cell(value: Any) -> tuple[float, float, float, float, float, float] | None:
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    if not isinstance(value, dict):
        return None
    numbers = [_finite(value.get(name)) for name in names]
    a, b, c, alpha, beta, gamma = (0.0 if number is None else number for number in numbers)
    found = (a, b, c, alpha, beta, gamma)
    return found if min(found) > 0 else None


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _number(content: dict[Any, Any], name: str) -> float | None:
    return _finite(content.get(name))


def _positive(content: dict[Any, Any], name: str) -> float | None:
    return _believed(_number(content, name))


def _believed(number: float | None) -> float | None:
    return number if number is not None and BELIEVED[0] <= number <= BELIEVED[1] else None


def _whole(content: dict[Any, Any], name: str) -> int | None:
    number = _number(content, name)
    return int(number) if number is not None and abs(number) < LARGEST_NUMBER else None


def _text(content: dict[Any, Any], name: str) -> str | None:
    value = content.get(name)
    return value if isinstance(value, str) and value and value.isprintable() and len(value) <= LONGEST_NAME else None


def _kept(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it; None for arrays and bytes, and for what is too much."""
    if isinstance(value, bool | str) or _finite(value) is not None:
        return value
    if isinstance(value, datetime):  # a string with tag 0
        return value.isoformat()
    if depth >= _DEPTH or not isinstance(value, list | tuple | dict) or len(value) > _LONGEST:
        return None
    if isinstance(value, dict):
        return {str(name): _kept(item, depth + 1) for name, item in value.items() if isinstance(name, str | int)}
    return [_kept(item, depth + 1) for item in value]
