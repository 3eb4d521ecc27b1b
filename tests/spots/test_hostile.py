"""Corrupt stored images give a reason or what HDF5 decodes; never a crash, and nothing lingers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsieve._core import Batch, SpotFinder

from .cases import ENCODINGS, assert_agree, assert_same, columns, decode, encode, finder
from .reference import Params
from .test_find import EXACT

SHAPE = (70, 93)
PARAMS = Params(
    bins=(np.hypot(*np.indices(SHAPE)) / 20).astype(np.uint16),
    valid=np.random.default_rng(2).random(SHAPE) > 0.02,
    background_bins=np.ones(8, dtype=np.bool_),
)
IMAGE = np.random.default_rng(4).poisson(1.2, SHAPE).astype(np.uint16)
IMAGE[20:22, 33:36] = 70
IMAGE[50, 60:64] = 90
STORED = {name: encode(IMAGE, name) for name in ENCODINGS}
SEARCH = finder("uint16", PARAMS)
OTHER_TYPES = ("uint8", "int8", "int16", "uint32", "int32")


class Decoder:
    """HDF5 in a process of its own, because its filters may crash on bytes like these."""

    def __init__(self) -> None:
        self._pool = self._start()

    @staticmethod
    def _start() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __call__(self, stored: bytes, encoding: str, dtype: str = "uint16") -> npt.NDArray[Any] | None:
        try:
            return self._pool.submit(hdf5_decodes, stored, encoding, dtype).result(timeout=240)
        except BrokenProcessPool:
            self._pool = self._start()
            return None

    def close(self) -> None:
        self._pool.shutdown()


def hdf5_decodes(stored: bytes, encoding: str, dtype: str) -> npt.NDArray[Any] | None:
    """What HDF5 makes of the bytes."""
    return decode(stored, SHAPE, dtype, ENCODINGS[encoding][1]())


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """The other process."""
    one = Decoder()
    yield one
    one.close()


def assert_reason(batch: Batch) -> None:
    """The image could not be searched, and nothing else is claimed."""
    assert list(batch.reasons) == [0]
    assert batch.reasons[0].strip()
    assert "\n" not in batch.reasons[0]
    assert (batch.n_spots.tolist(), batch.n_strong.tolist(), batch.max_count.tolist()) == ([-1], [-1], [-1])
    assert np.isnan(batch.background).all()
    assert batch.offsets.tolist() == [0, 0]
    assert len(batch.x) == len(batch.flags) == 0


def still_right(search: SpotFinder, encoding: str) -> None:
    """Good data after bad give the right answer."""
    assert_same(columns(search.find_stored(STORED[encoding], ENCODINGS[encoding][0])), columns(search.find(IMAGE)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_truncation(encoding: str) -> None:
    stored, codec = STORED[encoding], ENCODINGS[encoding][0]
    for length in sorted({*range(80), *range(80, len(stored), 37), *range(len(stored) - 40, len(stored))}):
        assert_reason(SEARCH.find_stored(stored[:length], codec))
    still_right(SEARCH, encoding)


HEADERS = {
    "total size 0": (0, (0).to_bytes(8, "big")),
    "total size one pixel short": (0, (IMAGE.nbytes - 2).to_bytes(8, "big")),
    "total size one pixel over": (0, (IMAGE.nbytes + 2).to_bytes(8, "big")),
    "total size odd": (0, (IMAGE.nbytes - 1).to_bytes(8, "big")),
    "total size huge": (0, b"\xff" * 8),
    "total size negative": (0, b"\x80" + b"\x00" * 7),
    "block size huge": (8, b"\xff\xff\xff\xff"),
    "block size negative": (8, b"\x80\x00\x00\x00"),
    "block size 1": (8, (1).to_bytes(4, "big")),
    "block size not of 8 pixels": (8, (8202).to_bytes(4, "big")),
    "first length 0": (12, b"\x00" * 4),
    "first length huge": (12, b"\xff" * 4),
    "first length negative": (12, b"\x80\x00\x00\x00"),
    "first length the rest and one": (12, None),
}


@pytest.mark.parametrize("lie", HEADERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lengths_that_lie(encoding: str, lie: str) -> None:
    stored = bytearray(STORED[encoding])
    at, value = HEADERS[lie]
    value = value or (len(stored) - 15).to_bytes(4, "big")
    stored[at : at + len(value)] = value
    got = SEARCH.find_stored(bytes(stored), ENCODINGS[encoding][0])
    if encoding == "lz4" and lie in ("block size huge", "block size negative"):
        # A block size beyond the image means one block, as HDF5 reads it: here nothing but the truth.
        assert_agree(got, IMAGE, PARAMS)
    else:
        assert_reason(got)
    still_right(SEARCH, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("other", ["uint8", "uint32"])
def test_image_of_another_type(encoding: str, other: str) -> None:
    assert_reason(SEARCH.find_stored(encode(IMAGE.astype(other), encoding), ENCODINGS[encoding][0]))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_image_of_another_shape(encoding: str) -> None:
    codec = ENCODINGS[encoding][0]
    assert_reason(SEARCH.find_stored(encode(IMAGE[:-1], encoding), codec))
    assert_reason(SEARCH.find_stored(encode(np.vstack([IMAGE, IMAGE[:1]]), encoding), codec))


@pytest.mark.parametrize("encoding", ["bslz4", "bszstd", "lz4"])
def test_stored_with_another_codec(encoding: str) -> None:
    for codec in ("bslz4", "bszstd", "lz4"):
        if codec != encoding:
            assert_reason(SEARCH.find_stored(STORED[encoding], codec))
    assert_reason(SEARCH.find_stored(IMAGE.tobytes(), encoding))


@st.composite
def mutations(draw: st.DrawFn, stored: bytes) -> bytes:
    """A good chunk with a few things wrong."""
    out = bytearray(stored)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["flip", "flip", "flip", "byte", "cut", "grow", "copy", "zero", "length"]))
        at = draw(st.one_of(st.integers(0, min(40, len(out))), st.integers(0, len(out))))
        if at >= len(out):
            continue
        if kind == "flip":
            out[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte":
            out[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del out[at : at + draw(st.integers(1, 40))]
        elif kind == "grow":
            out[at:at] = draw(st.binary(min_size=1, max_size=40))
        elif kind == "copy":
            source = draw(st.integers(0, len(out)))
            part = out[source : source + draw(st.integers(1, 100))]
            out[at : at + len(part)] = part
        elif kind == "zero":
            out[at : at + 8] = bytes(8)
        else:
            out[at : at + 4] = draw(st.integers(0, 2**32 - 1)).to_bytes(4, "big")
    return bytes(out)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.data())
@settings(EXACT, max_examples=150)
def test_mutations(encoding: str, decoder: Decoder, data: st.DataObject) -> None:
    stored = data.draw(mutations(STORED[encoding]))
    got = SEARCH.find_stored(stored, ENCODINGS[encoding][0])
    if got.reasons:
        assert_reason(got)
    else:
        image = decoder(stored, encoding)
        if image is not None:
            assert_agree(got, image, PARAMS)
    still_right(SEARCH, encoding)


@pytest.mark.parametrize("encoding", ["bslz4", "bszstd", "lz4, blocks of 4 KiB"])
@pytest.mark.parametrize("dtype", OTHER_TYPES)
@given(data=st.data())
@settings(EXACT, max_examples=60)
def test_mutations_of_other_types(dtype: str, encoding: str, decoder: Decoder, data: st.DataObject) -> None:
    search = finder(dtype, PARAMS)
    stored = data.draw(mutations(encode(IMAGE.astype(dtype), encoding)))
    got = search.find_stored(stored, ENCODINGS[encoding][0])
    if got.reasons:
        assert_reason(got)
    elif (image := decoder(stored, encoding, dtype)) is not None:
        assert_agree(got, image, PARAMS)


@pytest.mark.parametrize("codec", ["bslz4", "bszstd", "lz4"])
@given(noise=st.binary(max_size=300), header=st.booleans())
@settings(EXACT, max_examples=200)
def test_noise(codec: str, noise: bytes, header: bool) -> None:
    front = IMAGE.nbytes.to_bytes(8, "big") + (8192).to_bytes(4, "big") if header else b""
    assert_reason(SEARCH.find_stored(front + noise, codec))


def test_single_flips_in_counts_are_seen_as_hdf5_sees_them(decoder: Decoder) -> None:
    decoded = 0
    for at in range(16, len(STORED["bslz4"]), 97):
        stored = bytearray(STORED["bslz4"])
        stored[at] ^= 4
        got = SEARCH.find_stored(bytes(stored), "bslz4")
        image = decoder(bytes(stored), "bslz4")
        if image is None:
            assert_reason(got)
        elif not got.reasons:
            assert_agree(got, image, PARAMS)
            decoded += 1
    assert decoded > 10
