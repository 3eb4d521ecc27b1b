"""Messages of a detector's stream, as an independent encoder writes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cbor2
import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsieve.errors import SourceError
from hitsieve.model import SeriesEnd, SeriesImage, SeriesKey, SeriesStart
from hitsieve.source.cbor import loads
from hitsieve.source.stream2 import MOST_VALUES, read_message
from hitsieve.source.unpacking import unpack

KEY = {"series_id": 7, "series_unique_id": "01HX"}
SHAPE = (3, 4)
COUNTS = np.arange(12).reshape(SHAPE)
TAGS = {"<u2": 69, ">u2": 65, "<u4": 70, ">u4": 66, "<i2": 77, ">i2": 73, "<i4": 78, ">i4": 74, "u1": 64, "i1": 72}


def typed(tag: int, content: Any, dims: tuple[int, ...] = SHAPE, outer: int = 40) -> cbor2.CBORTag:
    return cbor2.CBORTag(outer, [list(dims), cbor2.CBORTag(tag, content)])


def squeezed(algorithm: object, size: object, data: object) -> cbor2.CBORTag:
    return cbor2.CBORTag(56500, [algorithm, size, data])


def image(data: object, **more: object) -> bytes:
    return cbor2.dumps({"type": "image", **KEY, "image_id": 3, "data": {"threshold_1": data}, **more})


def start(**stated: object) -> SeriesStart:
    message = read_message(cbor2.dumps({"type": "start", **KEY, "image_size_x": 4, "image_size_y": 3, **stated}))
    assert isinstance(message, SeriesStart)
    return message


GOOD = image(typed(69, squeezed("bslz4", 2, b"\0" * 40)))


@pytest.mark.parametrize(("dtype", "tag"), TAGS.items())
def test_counts_that_are_not_compressed(dtype: str, tag: int) -> None:
    message = read_message(image(typed(tag, COUNTS.astype(dtype).tobytes())))
    assert isinstance(message, SeriesImage)
    assert (message.key, message.number) == (SeriesKey(7, "01HX"), 3)
    packed = message.packed
    assert packed is not None
    assert packed.codec is None
    assert packed.dtype.byteorder in "=|<"
    assert np.array_equal(np.frombuffer(packed.data, packed.dtype).reshape(packed.shape), COUNTS)


@pytest.mark.parametrize(("algorithm", "size"), [("bslz4", 2), ("bszstd", 2), ("lz4", 0)])
def test_compressed_bytes_stay_as_they_are(algorithm: str, size: int) -> None:
    message = read_message(image(typed(77, squeezed(algorithm, size, b"packed"))))
    assert isinstance(message, SeriesImage)
    assert message.packed is not None
    assert (message.packed.codec, message.packed.data) == (algorithm, b"packed")
    assert (message.packed.shape, message.packed.dtype) == (SHAPE, np.dtype("<i2"))


def test_a_date_is_kept_as_text_whether_or_not_it_is_tagged_as_one() -> None:
    date = "2026-11-26T12:00:00+01:00"
    assert start(arm_date=date).stated["arm_date"] == date
    assert start(arm_date=cbor2.CBORTag(0, date)).stated["arm_date"] == date


def test_what_the_start_states() -> None:
    mask = np.zeros(SHAPE, dtype="<u4")
    mask[1, 2] = 1
    geometry = {"detector_distance": 0.12, "beam_center_x": 2.5, "beam_center_y": 1.5}
    pixels = {"pixel_size_x": 75e-6, "pixel_size_y": 75e-6, "saturation_value": 1000}
    masked = {"threshold_1": typed(70, mask.tobytes()), "threshold_2": typed(70, b"")}
    told = start(**geometry, **pixels, incident_energy=12398.419843320026, number_of_images=9, pixel_mask=masked)
    assert told.n_images == 9
    assert told.wavelength == pytest.approx(1.0)
    detector = told.detector
    assert detector is not None
    assert (detector.distance, detector.beam_center, detector.pixel_size) == (0.12, (2.5, 1.5), (75e-6, 75e-6))
    assert detector.saturation_value == 1000
    assert detector.pixel_mask is not None
    assert np.array_equal(detector.pixel_mask, mask)
    assert detector.lab(2.5, 1.5)[0] == pytest.approx([0, 0, 0.12])


def test_what_the_start_does_not_state_is_absent() -> None:
    told = start(beam_center_x=0.0, beam_center_y=0.0, incident_wavelength=float("nan"), number_of_images=0)
    assert (told.n_images, told.wavelength) == (None, None)
    assert told.detector is not None
    assert (told.detector.beam_center, told.detector.panels, told.detector.pixel_mask) == (None, (), None)
    assert ["beam centre" in problem.what for problem in told.problems] == [True]
    # Without a size there is no detector.
    bare = read_message(cbor2.dumps({"type": "start", **KEY}))
    assert isinstance(bare, SeriesStart)
    assert bare.detector is None


def filtered(values: np.ndarray[Any, Any], algorithm: str) -> bytes:
    """An array as the HDF5 filter packs it."""
    packing = hdf5plugin.Bitshuffle(cname="lz4") if algorithm == "bslz4" else hdf5plugin.LZ4(nbytes=4096)
    with h5py.File("mask.h5", "w", driver="core", backing_store=False) as file:
        made = file.create_dataset("mask", data=values, chunks=values.shape, **packing)
        return bytes(made.id.read_direct_chunk((0, 0))[1])


def masked(algorithm: str, size: int, data: bytes, shape: tuple[int, int], tag: int = 70) -> SeriesStart:
    array = {"threshold_1": typed(tag, squeezed(algorithm, size, data), shape)}
    return start(image_size_x=shape[1], image_size_y=shape[0], pixel_mask=array)


@pytest.mark.parametrize("algorithm", ["bslz4", "lz4"])
@pytest.mark.parametrize(("dtype", "tag"), [("u1", 64), ("<u2", 69), ("<u4", 70)])
@pytest.mark.parametrize("shape", [(3, 5), (67, 129), (300, 257)])
def test_a_compressed_pixel_mask(algorithm: str, dtype: str, tag: int, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    mask = random.integers(0, 4, shape).astype(dtype)
    mask[: shape[0] // 2] = random.integers(0, np.iinfo(dtype).max, (shape[0] // 2, shape[1]))
    mask[:, ::3] = 0
    told = masked(algorithm, mask.itemsize, filtered(mask, algorithm), shape, tag)
    assert told.problems == ()
    assert told.detector is not None
    assert told.detector.pixel_mask is not None
    assert np.array_equal(told.detector.pixel_mask, mask)


def head(size: int, block: int) -> bytes:
    return size.to_bytes(8, "big") + block.to_bytes(4, "big")


def blocks(*packed: bytes) -> bytes:
    return b"".join(len(one).to_bytes(4, "big") + one for one in packed)


@pytest.mark.parametrize(
    ("algorithm", "data", "why"),
    [
        ("bszstd", b"x" * 20, "bszstd is not unpacked"),
        ("bslz4", b"x" * ((4 << 20) + 1), "too many"),
        ("bslz4", b"short", "size that it states"),
        ("lz4", head(1 << 60, 8192), "size that it states"),
        ("lz4", head(1024, 0), "no possible size"),
        ("lz4", head(1024, 0xFFFFFFFF), "no possible size"),
        ("bslz4", head(1024, 100), "no possible size"),
        ("bslz4", head(1024, 1024), "too early"),
        ("bslz4", head(1024, 1024) + b"\xff\xff\xff\xff", "too early"),
        ("lz4", head(1024, 1024) + blocks(b"\x0f\x00\x00"), "too early"),
        ("lz4", head(1024, 1024) + blocks(b"\x10a\x02\x00"), "what is not there"),
        ("lz4", head(1024, 1024) + blocks(b"\x10a\x00\x00"), "what is not there"),
        ("lz4", head(1024, 1024) + blocks(b"\x1fa\x01\x00" + b"\xff" * 100 + b"\x00"), "too much"),
        ("lz4", head(1024, 1024) + blocks(b"\x10a"), "size that it states"),
    ],
)
def test_a_compressed_pixel_mask_that_lies_is_not_used(algorithm: str, data: bytes, why: str) -> None:
    told = masked(algorithm, 4, data, (16, 16))
    assert told.detector is not None
    assert told.detector.pixel_mask is None
    (problem,) = told.problems
    assert why in problem.what
    assert "--mask" in problem.mend


def test_values_that_come_with_an_image() -> None:
    stated = {
        "real_time": [1, 1000],
        "start_time": [5, 0],
        "stop_time": (7, 2),
        "xfel_pulse_id": (1 << 63) - 1,
        "too_large": 1 << 63,
        "indexing_result": True,
        "bkg_estimate": 3.25,
        "nothing": float("nan"),
        "user_data": {"laser": [1, None], "who": "ä"},
        "text": "a b",
        "series_date": "",
        "spots": [{"x": 1}],
        "two\nlines": 1,
        "../up": 1,
        "long": "x" * 300,
        5: 5,
    }
    message = read_message(cbor2.dumps({"type": "image", **KEY, "image_id": 0, "data": typed(64, bytes(12)), **stated}))
    assert isinstance(message, SeriesImage)
    assert message.values == {
        "real_time": 0.001,
        "stop_time": 3.5,
        "xfel_pulse_id": (1 << 63) - 1,
        "indexing_result": 1,
        "bkg_estimate": 3.25,
        "user_data": '{"laser": [1, null], "who": "\\u00e4"}',
        "text": "a b",
    }
    many = read_message(image(typed(64, bytes(12)), **{f"n{i}": i for i in range(100)}))
    assert isinstance(many, SeriesImage)
    assert len(many.values) == MOST_VALUES


def test_an_unbelievable_number_of_images() -> None:
    told = start(number_of_images=1 << 40)
    assert told.n_images is None
    assert "not believed" in told.problems[0].what


def test_keys_and_kinds_that_are_not_known() -> None:
    spots = [{"x": 1.5, "y": 2.5, "ice": False}] * 250
    extended = image(typed(70, COUNTS.astype("<u4").tobytes()), spots=spots, xfel_pulse_id=1 << 63, magic_number=1)
    message = read_message(extended)
    assert isinstance(message, SeriesImage)
    assert message.packed is not None
    told = start(user_data={"pi": 3.14, "list": [1, None]}, huge=1 << 2000, bytes=b"\0", odd=cbor2.CBORTag(999, 1))
    assert told.stated["user_data"] == {"pi": 3.14, "list": [1, None]}
    assert "huge" not in told.stated
    for kind in ("metadata", "calibration", "something"):
        assert read_message(cbor2.dumps({"type": kind, "magic_number": 1})) is None
    assert read_message(cbor2.dumps({"type": "end", **KEY, "end_date": "x"})) == SeriesEnd(SeriesKey(7, "01HX"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (typed(69, COUNTS.astype("<u2").tobytes()[:-1]), "23 bytes"),
        (typed(69, b"\0" * 24, (1 << 40, 1 << 40)), "impossible dimensions"),
        (typed(69, b"", (0, 4)), "impossible dimensions"),
        (typed(69, squeezed("bslz4", 2, b"few"), (1 << 13, 1 << 13)), "impossible dimensions"),
        (typed(69, b"\0" * 24, (-3, 4)), "no number"),
        (typed(69, b"\0" * 24, (2, 2, 3)), "3 axes"),
        (typed(69, b"\0" * 24, outer=1040), "column-major"),
        (typed(71, b"\0" * 96), "uint64"),
        (typed(85, b"\0" * 48), "float32"),
        (typed(76, b"\0" * 24), "unknown tag 76"),
        (typed(65, squeezed("bslz4", 2, b"x")), "big-endian"),
        (typed(69, squeezed("bslz4", 4, b"x")), "elements of 4 bytes"),
        (typed(69, squeezed("gzip", 2, b"x")), "'gzip' is unknown"),
        (typed(69, squeezed(["lz4"], 2, b"x")), "is unknown"),
        (typed(69, squeezed("bslz4", 2, b"")), "empty"),
        (typed(69, squeezed("bslz4", 2, "text")), "empty"),
        (typed(69, cbor2.CBORTag(56500, [1])), "no bytes"),
        (cbor2.CBORTag(40, 5), "no dimensions"),
        (b"bytes", "no array"),
        (None, "no array"),
    ],
)
def test_an_image_whose_data_make_no_sense_is_still_an_image(data: object, why: str) -> None:
    message = read_message(image(data))
    assert isinstance(message, SeriesImage)
    assert message.packed is None
    assert why in message.reason


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x81" * 100_000,
        b"\xa1\x01" * 100_000,
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xffabc",
        b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\x00\xff\xff\xff\xff\xff\xff\xff",
        b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x03",
        b"\xd8\x23\x61(",
        b"\xd8\x1c\x81\xd8\x1d\x00",
        b"\xa1\x61a\xd8\x1c\x8a" + b"\xd8\x1d\x00" * 10,
        b"\xc4\x82\x01\xc2\x5a\x00\x2d\xc6\xc0" + b"\xf7" * 3_000_000,
        b"\xc2\x5a\x00\x2d\xc6\xc0" + b"\xf7" * 3_000_000,
        b"\x9a\x00\x2d\xc6\xc0" + b"\x80" * 3_000_000,
        GOOD[:-10],
        cbor2.dumps(["type", "start"]),
        cbor2.dumps({"series_id": 1}),
        cbor2.dumps({"type": 5}),
        cbor2.dumps({"type": "end"}),
        cbor2.dumps({"type": "end", **KEY, "letter": cbor2.CBORTag(36, "To: you\n\n")}),
        cbor2.dumps({"type": "start", "series_id": -1}),
        cbor2.dumps({"type": "start", "series_id": 1 << 80}),
        cbor2.dumps({"type": "start", "series_id": True}),
        cbor2.dumps({"type": "start", "series_id": 1, "series_unique_id": "x" * 10_000}),
        cbor2.dumps({"type": "start", "series_id": 1, "series_unique_id": "a\nb"}),
        cbor2.dumps({"type": "image", "series_id": 1, "image_id": "1"}),
        cbor2.dumps({"type": "image", "series_id": 1, "image_id": -1}),
    ],
    ids=range(26),
)
def test_nonsense_is_refused_with_a_reason(message: bytes) -> None:
    with pytest.raises(SourceError, match="a message of"):
        read_message(message)


def test_strings_and_lists_until_a_break() -> None:
    head = cbor2.dumps({"type": "start", **KEY})
    message = b"\xbf" + head[1:] + b"\x61a\x9f\x01\x7f\x61b\x61c\xff\xff\xff"
    told = read_message(message)
    assert isinstance(told, SeriesStart)
    assert told.stated["a"] == [1, "bc"]


MASK = np.arange(12, dtype="<u4").reshape(SHAPE)
PACKED_MASK = {name: typed(70, squeezed(name, 4, filtered(MASK, name))) for name in ("lz4", "bslz4")}
SIZE = {"image_size_x": 4, "image_size_y": 3}
MASKED = [cbor2.dumps({"type": "start", **KEY, **SIZE, "pixel_mask": mask}) for mask in PACKED_MASK.values()]
VALUED = image(typed(64, bytes(12)), real_time=[1, 2], user_data={"a": [1]}, xfel_pulse_id=7, note="text")
START = cbor2.dumps({"type": "start", **KEY, "image_size_x": 4, "image_size_y": 3, "unit_cell": {"a": 1}})


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([GOOD, START, VALUED, *MASKED]),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4),
)
def test_damaged_messages_raise_nothing_else(message: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(message)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with suppress(SourceError):
        read_message(bytes(damaged))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
ANY = st.recursive(SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3))
NAMES = st.sampled_from(
    [
        "series_id",
        "image_id",
        "data",
        "pixel_mask",
        "channels",
        "unit_cell",
        "image_size_x",
        "image_size_y",
        "detector_translation",
        "number_of_images",
        "saturation_value",
        "series_unique_id",
        "beam_center_x",
        "real_time",
        "start_time",
        "user_data",
        "xfel_pulse_id",
        "note",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["start", "image", "end"]), st.dictionaries(NAMES, ANY, max_size=6))
def test_values_of_any_type_raise_nothing_else(kind: str, values: dict[str, Any]) -> None:
    known = {"series_id": 1, "image_id": 1, "image_size_x": 4, "image_size_y": 3}
    with suppress(SourceError):
        read_message(cbor2.dumps({"type": kind, **known, **values}))


LONG_BYTES = bytes(range(256)) * 300


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_long_byte_strings_are_what_they_are_elsewhere(kind: Callable[[bytes], bytes | memoryview]) -> None:
    content = {"a": [LONG_BYTES, b"short", {"b": cbor2.CBORTag(56500, ["lz4", 2, LONG_BYTES[::-1]])}], "c": LONG_BYTES}
    message = cbor2.dumps(content)
    assert loads(kind(message)) == cbor2.loads(message)
    in_parts = b"\x82\x5f\x44abcd" + cbor2.dumps(LONG_BYTES) + b"\xff" + cbor2.dumps(LONG_BYTES)
    assert loads(kind(in_parts)) == [b"abcd" + LONG_BYTES, LONG_BYTES]


def test_an_image_stays_where_its_message_lies_unless_it_would_hold_much_else() -> None:
    data = bytes(range(256)) * 1024
    packed = {"data": cbor2.CBORTag(40, [[512, 256], cbor2.CBORTag(69, data)])}
    image = {"type": "image", "series_id": 1, "image_id": 0, **packed}
    for beside, is_view in ((b"", True), (bytes(len(data)), False)):
        message = memoryview(cbor2.dumps(image | {"beside": beside}))
        read = read_message(message)
        assert isinstance(read, SeriesImage)
        assert read.packed is not None
        assert isinstance(read.packed.data, memoryview) is is_view
        assert read.packed.data == data
        if isinstance(read.packed.data, memoryview):
            assert read.packed.data.obj is message.obj


def test_a_message_that_calls_for_its_long_strings_again_does_not_grow() -> None:
    again = [cbor2.CBORTag(0xFFFFFFFF, number) for number in (0, 0, 1, -1, "0", [0])]
    found = loads(cbor2.dumps([*again, LONG_BYTES]))
    assert [item for item in found if item == LONG_BYTES] == [LONG_BYTES]
    assert sum(isinstance(item, cbor2.CBORTag) for item in found) == len(again)


def test_a_long_string_that_ends_early_is_refused() -> None:
    with pytest.raises(ValueError, match="ends too early"):
        loads(memoryview(cbor2.dumps([LONG_BYTES]))[:-1])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["lz4", "bslz4"]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.binary(max_size=40),
    st.integers(0, 200),
)
def test_packed_arrays_of_any_bytes_are_unpacked_or_refused(
    codec: str, changes: list[tuple[int, int]], tail: bytes, cut: int
) -> None:
    damaged = bytearray(filtered(np.arange(144, dtype="<u4").reshape(12, 12) % 7, codec))
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with suppress(ValueError):
        assert len(unpack(codec, bytes(damaged[: len(damaged) - cut]) + tail, 4, 576)) == 576
