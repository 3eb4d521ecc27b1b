"""The kernels of graphics cards find what the compiled core finds, to the bit."""

from __future__ import annotations

import ctypes
from dataclasses import fields, replace
from typing import Any

import hdf5plugin
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emulatedcard import EmulatedCard, compiled
from hitsieve._core import SpotFinder
from hitsieve.cards import Device
from hitsieve.settings import SpotSettings
from hitsieve.spots import Searched
from hitsieve.spots.bins import Bins
from hitsieve.spots.finder import Ground
from hitsieve.spots.gpu.plan import CardPlan, card_plan
from hitsieve.spots.gpu.stage import Chunks, Stage, block_bytes

from .cases import DTYPES, Case, cases, encode, encode_all, finder
from .reference import Params
from .test_find import EXACT, plain
from .test_hostile import mutations

BLOCK = 8192
"""Bytes of a block of small images, where bitshuffle chooses."""
BITSHUFFLE = ("bslz4", "bslz4, blocks of 64", "bslz4, blocks of 5000")


def plan_of(dtype: str, p: Params) -> tuple[CardPlan, SpotFinder]:
    """The same search for a card and for the core."""
    core = finder(dtype, p)
    bins = Bins(p.bins, p.background_bins, None, None)
    ground = Ground(bins, 4.0, p.valid, p.panels, dtype, p.underload, p.saturation, p.error_value)
    names = ("snr", "min_count", "min_pixels", "max_pixels", "spot_snr", "ring_width", "max_spots")
    chosen = SpotSettings.model_construct(**{name: getattr(p, name) for name in names})
    return card_plan(ground, chosen, core.sample), core


def searched(device: Device, plan: CardPlan, stored: list[bytes], **more: Any) -> tuple[Searched, list[bool]]:
    """What a card finds on chunks, and which it has searched."""
    blocks = block_bytes(stored[0], plan.dtype.itemsize)
    assert blocks is not None
    found, done = Stage(device, plan, blocks, len(stored), **more).search(Chunks.of(stored, device))
    return found, done.tolist()


def assert_same(got: Searched, want: Searched) -> None:
    """Both are the same, to the bit and the type."""
    for field in fields(Searched):
        ours, theirs = getattr(got, field.name), getattr(want, field.name)
        if field.name == "reasons":
            assert ours == theirs
        else:
            assert ours.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name, strict=True)


def by_core(core: SpotFinder, stored: list[bytes]) -> Searched:
    return Searched.joined([Searched.of(core.find_stored(chunk, "bslz4")) for chunk in stored])


def agree(device: Device, dtype: str, p: Params, stored: list[bytes], **more: Any) -> Searched:
    """A card finds what the core finds on chunks; of those it leaves to the core, nothing."""
    plan, core = plan_of(dtype, p)
    got, done = searched(device, plan, stored, **more)
    assert all(done)
    assert_same(got, by_core(core, stored))
    return got


def radial(case: Case) -> Params:
    return replace(case.params, algorithm="radial")


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(EXACT, max_examples=40)
def test_any_image(dtype: str, data: st.DataObject) -> None:
    case = data.draw(cases(dtype))
    encoding = data.draw(st.sampled_from(BITSHUFFLE))
    agree(EmulatedCard(dtype), dtype, radial(case), [encode(case.image, encoding)])


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(EXACT, max_examples=500)
def test_any_image_at_length(dtype: str, data: st.DataObject) -> None:
    case = data.draw(cases(dtype))
    encoding = data.draw(st.sampled_from(BITSHUFFLE))
    agree(EmulatedCard(dtype), dtype, radial(case), [encode(case.image, encoding)])


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@given(data=st.data())
@settings(EXACT, max_examples=10)
def test_lanes_that_take_turns(dtype: str, data: st.DataObject) -> None:
    """Where one waits for what another lane does, it says so to the card."""
    case = data.draw(cases(dtype))
    agree(EmulatedCard(dtype, lanes=32), dtype, radial(case), [encode(case.image, "bslz4")])


@pytest.mark.parametrize("encoding", BITSHUFFLE)
@pytest.mark.parametrize("pixels", [1, 7, 8, 15, 63, 65, 511, 4095, 4097, 8191, 12289, 20003])
def test_tails(pixels: int, encoding: str) -> None:
    rng = np.random.default_rng(pixels)
    for dtype in DTYPES:
        image = rng.poisson(1.0, (1, pixels)).astype(dtype)
        image[0, pixels // 2 :: 1000] = 90
        image[0, -1] = 99
        p = plain(image.shape, min_pixels=1, saturation=99)
        agree(EmulatedCard(dtype), dtype, p, [encode(image, encoding)])


SHAPE = (300, 413)
DETECTOR = Params(
    bins=(np.hypot(*(np.indices(SHAPE) - 140.0)) / 4).astype(np.uint16),
    valid=np.random.default_rng(1).random(SHAPE) > 0.02,
    background_bins=np.arange(90) < 40,
    saturation=300,
    panels=(np.indices(SHAPE)[0] // 100).astype(np.uint16),
)


def series(n: int, dtype: str, n_spots: int = 40) -> npt.NDArray[Any]:
    """Images as of a detector."""
    rng = np.random.default_rng(3)
    images = rng.poisson(0.4 + 60 / (8 + DETECTOR.bins), (n, *SHAPE))
    for image in images:
        for y, x in rng.integers(2, 296, (n_spots, 2)):
            image[y : y + 3, x : x + 3] += rng.integers(0, 300, (3, 3))
    return np.minimum(images, np.iinfo(dtype).max).astype(dtype)


def stored_series(n: int, dtype: str, n_spots: int = 40) -> list[bytes]:
    return encode_all(series(n, dtype, n_spots), hdf5plugin.Bitshuffle(cname="lz4"))


@pytest.mark.parametrize("lanes", [1, 32])
def test_images_of_a_detector(lanes: int) -> None:
    stored = stored_series(2, "uint16")
    found = agree(EmulatedCard("uint16", lanes), "uint16", DETECTOR, stored)
    assert found.n_spots.min() > 20
    assert found.n_saturated.max() > 0


def test_threads_in_each_others_way() -> None:
    """Sets are joined by many at a time, with the others' joins between what each reads and writes."""
    image = np.zeros((60, 61), dtype=np.uint16)
    image[np.random.default_rng(9).random(image.shape) < 0.38] = 50
    p = plain(image.shape, snr=0.1, min_pixels=1, max_pixels=10**5, spot_snr=0.0, saturation=50)
    found = agree(EmulatedCard("uint16", lanes=32), "uint16", p, [encode(image, "bslz4"), encode(image[::-1], "bslz4")])
    assert found.n_pixels.max() > 100
    assert found.n_spots.min() > 20


def test_a_stage_is_used_again() -> None:
    """What an earlier batch left in memory, and fewer images than there is room for, change nothing."""
    plan, core = plan_of("uint16", DETECTOR)
    device = EmulatedCard("uint16")
    stage = Stage(device, plan, BLOCK, 4)
    many, few = stored_series(4, "uint16", 60), stored_series(1, "uint16", 3)
    for stored in (many, few, many):
        assert_same(stage.search(Chunks.of(stored, device))[0], by_core(core, stored))


def test_more_spots_than_are_kept() -> None:
    stored = stored_series(2, "uint16")
    found = agree(EmulatedCard("uint16"), "uint16", replace(DETECTOR, max_spots=5), stored)
    assert np.diff(found.offsets).tolist() == [5, 5]
    assert found.n_spots.min() > 5


def test_equally_strong_spots_beyond_the_most() -> None:
    image = np.zeros((60, 60), dtype=np.uint16)
    image[::12, ::12] = 50
    p = plain(image.shape, min_pixels=1, max_spots=7)
    found = agree(EmulatedCard("uint16"), "uint16", p, [encode(image, "bslz4")])
    assert found.x.tolist() == [0.5, 12.5, 24.5, 36.5, 48.5, 0.5, 12.5]


def test_sums_beyond_64_bits() -> None:
    image = np.random.default_rng(6).poisson(3.0, (20, 6000)).astype(np.uint32)
    image[8:12, 500:5500] = 2**32 - 1
    image[14, :] = 2**31 + np.arange(6000)
    p = plain(image.shape, saturation=2**32 - 1, max_pixels=10**6)
    found = agree(EmulatedCard("uint32"), "uint32", p, [encode(image, "bslz4")])
    assert found.n_pixels.max() > 10000


def test_crowded_images_are_left_to_the_core() -> None:
    plan, core = plan_of("uint16", DETECTOR)
    stored = [*stored_series(1, "uint16", 0), *stored_series(1, "uint16", 300), *stored_series(1, "uint16", 1)]
    found, done = searched(EmulatedCard("uint16"), plan, stored, limit=200)
    assert done == [True, False, True]
    assert found.reasons == {1: ""}
    for i in (0, 2):
        assert_same(found.one(i), Searched.of(core.find_stored(stored[i], "bslz4")))
    assert (found.n_spots[1], found.n_strong[1], found.max_count[1]) == (-1, -1, -1)


@given(data=st.data())
@settings(EXACT, max_examples=100)
def test_broken_chunks_hurt_nobody(data: st.DataObject) -> None:
    """Nothing is written outside, and what is searched all the same is what the core finds; neighbours are not hurt."""
    plan, core = plan_of("int16", SMALL)
    device = EmulatedCard("int16")
    broken = data.draw(mutations(GOOD))
    stage = Stage(device, plan, BLOCK, 3)
    found, done = stage.search(Chunks.of([GOOD, broken, GOOD], device))
    assert done[0] and done[2]
    want = Searched.of(core.find_stored(GOOD, "bslz4"))
    assert_same(found.one(0), want)
    assert_same(found.one(2), want)
    theirs = Searched.of(core.find_stored(broken, "bslz4"))
    if done[1]:
        assert_same(found.one(1), theirs)


IMAGE = np.random.default_rng(4).poisson(1.2, (70, 93)).astype(np.int16)
IMAGE[20:22, 33:36] = 70
IMAGE[50, 60:64] = 90
GOOD = encode(IMAGE, "bslz4")
SMALL = plain(IMAGE.shape)


def chunk(block: bytes) -> bytes:
    """An image of 64 x 64 uint16 that is one block."""
    return (8192).to_bytes(8, "big") + (8192).to_bytes(4, "big") + len(block).to_bytes(4, "big") + block


MANY = b"\xff" * 32
"""Extends a length by 8160."""
BLOCKS = {
    "whole": (b"\x4fabcd\x04\x00" + MANY + b"\x04\x50xyzuv", True),
    "empty": (b"", False),
    "match before the block": (b"\x4fabcd\x05\x00" + MANY + b"\x04\x50xyzuv", False),
    "match at no distance": (b"\x4fabcd\x00\x00" + MANY + b"\x04\x50xyzuv", False),
    "match past the end": (b"\x4fabcd\x04\x00" + MANY + b"\x70\x10z", False),
    "literals past the end": (b"\xf0" + MANY + b"\x70" + bytes(8287), False),
    "literals past the input": (b"\x50abcd", False),
    "too little": (b"\x40abcd", False),
    "ends in a length": (b"\xf0\xff", False),
    "ends in the length of a match": (b"\x4fabcd\x04\x00\xff", False),
    "ends in an offset": (b"\x40abcd\x01", False),
    "ends in a match": (b"\x4fabcd\x04\x00" + MANY + b"\x09", False),
}


@pytest.mark.parametrize(("block", "good"), BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("lanes", [1, 32])
def test_blocks_made_by_hand(block: bytes, good: bool, lanes: int) -> None:
    plan, core = plan_of("uint16", plain((64, 64)))
    # The last one: what is written behind it is seen.
    found, done = searched(EmulatedCard("uint16", lanes), plan, [chunk(BLOCKS["whole"][0]), chunk(block)])
    assert done == [True, good]
    theirs = Searched.of(core.find_stored(chunk(block), "bslz4"))
    assert (theirs.reasons == {}) == good
    if good:
        assert_same(found.one(1), theirs)


@given(high=st.integers(-(2**63), 2**63 - 1), shift=st.integers(0, 63), low=st.integers(0, 2**64 - 1))
@example(high=1, shift=0, low=1 << 11)
@example(high=1, shift=0, low=(1 << 11) + 1)
@example(high=1, shift=0, low=3 << 11)
@example(high=-2, shift=0, low=(1 << 64) - 1)
def test_sums_become_doubles_as_everywhere(high: int, shift: int, low: int) -> None:
    convert = compiled("uint32", 1).as_double
    convert.restype = ctypes.c_double
    high >>= shift
    assert convert(ctypes.c_int64(high), ctypes.c_uint64(low)) == float((high << 64) + low)


@pytest.mark.parametrize("size", [0, 3, 11, 12, 13, 16, 17])
def test_cut_chunks(size: int) -> None:
    plan, _ = plan_of("int16", SMALL)
    device = EmulatedCard("int16")
    found, done = Stage(device, plan, BLOCK, 2).search(Chunks.of([GOOD[:size], GOOD], device))
    assert done.tolist() == [False, True]
    assert found.reasons == {0: ""}


def test_a_tail_that_is_cut_off() -> None:
    image = np.arange(9 * 7, dtype=np.int32).reshape(9, 7)
    stored = encode(image, "bslz4")
    plan, _ = plan_of("int32", plain(image.shape))
    assert searched(EmulatedCard("int32"), plan, [stored, stored[:-1]])[1] == [True, False]


def test_chunks_in_other_blocks_are_left_to_the_core() -> None:
    plan, _ = plan_of("int16", SMALL)
    stored = [encode(IMAGE, "bslz4"), encode(IMAGE, "bslz4, blocks of 64")]
    assert searched(EmulatedCard("int16"), plan, stored)[1] == [True, False]
    assert block_bytes(GOOD[:8] + (1001).to_bytes(4, "big") + GOOD[12:], 2) is None
    assert block_bytes(GOOD[:11], 2) is None
