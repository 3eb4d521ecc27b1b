"""Images, settings and encodings for the tests of the compiled finder, and the comparison with the reference."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from hitsieve._core import Batch, SpotFinder

from . import reference
from .reference import Params

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
ENCODINGS: dict[str, tuple[str, Any]] = {
    "bslz4": ("bslz4", lambda: hdf5plugin.Bitshuffle(cname="lz4")),
    "bslz4, blocks of 64": ("bslz4", lambda: hdf5plugin.Bitshuffle(nelems=64, cname="lz4")),
    "bslz4, blocks of 5000": ("bslz4", lambda: hdf5plugin.Bitshuffle(nelems=5000, cname="lz4")),
    "bszstd": ("bszstd", lambda: hdf5plugin.Bitshuffle(cname="zstd")),
    "bszstd, blocks of 512": ("bszstd", lambda: hdf5plugin.Bitshuffle(nelems=512, cname="zstd")),
    "lz4": ("lz4", hdf5plugin.LZ4),
    "lz4, blocks of 1000": ("lz4", lambda: hdf5plugin.LZ4(nbytes=1000)),
    "lz4, blocks of 4 KiB": ("lz4", lambda: hdf5plugin.LZ4(nbytes=4096)),
}
PER_IMAGE = ("n_spots", "n_strong", "n_saturated", "max_count", "background")
PER_SPOT = ("x", "y", "intensity", "spot_background", "snr", "n_pixels", "peak", "flags")

Image = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """An image and how to search it."""

    image: Image
    params: Params


def finder(dtype: npt.DTypeLike, params: Params) -> SpotFinder:
    """The compiled finder with the reference's parameters."""
    return SpotFinder(dtype=np.dtype(dtype).name, **{f.name: getattr(params, f.name) for f in fields(params)})


def columns(batch: Batch) -> dict[str, npt.NDArray[np.generic]]:
    """All columns of a batch."""
    return {name: getattr(batch, name) for name in (*PER_IMAGE, "offsets", *PER_SPOT)}


def assert_same(got: dict[str, npt.NDArray[np.generic]], want: dict[str, npt.NDArray[np.generic]]) -> None:
    """Both hold the same values of the same types, to the bit."""
    for name, column in want.items():
        assert got[name].dtype == column.dtype, name
        np.testing.assert_array_equal(got[name], column, err_msg=name, strict=True)


def assert_agree(batch: Batch, image: Image, params: Params) -> None:
    """A batch of one image agrees with the reference."""
    assert batch.reasons == {}
    assert_same(columns(batch), reference.find(image, params).columns())


def encode(image: Image, encoding: str) -> bytes:
    """The image's stored form, written by HDF5 and the real filter."""
    return encode_all(image[None], ENCODINGS[encoding][1]())[0]


def encode_all(images: Image, compression: Any) -> list[bytes]:
    """Stored form of each image."""
    with h5py.File("in-memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", data=images, chunks=(1, *images.shape[1:]), **compression)
        file.flush()
        return [data.id.read_direct_chunk((i, 0, 0))[1] for i in range(len(images))]


def decode(stored: bytes, shape: tuple[int, int], dtype: npt.DTypeLike, compression: Any) -> Image | None:
    """What HDF5 makes of stored bytes; None where it cannot decode them."""
    with h5py.File("in-memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", (1, *shape), dtype, chunks=(1, *shape), **compression)
        data.id.write_direct_chunk((0, 0, 0), stored)
        file.flush()
        try:
            image: Image = data[0]
        except OSError:
            return None
        return image


def shapes() -> st.SearchStrategy[tuple[int, int]]:
    """Mostly small images; some of several units."""
    small = st.tuples(st.integers(1, 60), st.integers(1, 70))
    several_units = st.tuples(st.integers(60, 150), st.integers(60, 150))
    thin = st.one_of(st.tuples(st.just(1), st.integers(1, 9000)), st.tuples(st.integers(1, 9000), st.just(1)))
    return st.one_of(small, small, several_units, thin)


def counts(rng: np.random.Generator, kind: str, shape: tuple[int, int], dtype: str) -> npt.NDArray[np.int64]:
    """Background of an image, not yet cut to the type's range."""
    info = np.iinfo(dtype)
    if kind == "anything":
        return rng.integers(info.min, info.max, shape, dtype=np.int64, endpoint=True)
    if kind == "flat":
        return np.full(shape, rng.integers(info.min, info.max, endpoint=True))
    if kind == "ends":
        return rng.choice(np.array([info.min, info.max, 0, 1, info.max - 1]), shape)
    rate = {"sparse": 0.05, "low": 1.5, "high": 60.0, "large": float(info.max) / 3}[kind]
    offset = -3 if info.min < 0 and rng.random() < 0.3 else 0
    return rng.poisson(rate, shape).astype(np.int64) + offset


def plant(rng: np.random.Generator, image: npt.NDArray[np.int64], n: int, top: int) -> None:
    """Add spots of a few pixels."""
    height, width = image.shape
    for _ in range(n):
        y, x = rng.integers(height), rng.integers(width)
        h, w = rng.integers(1, 5, 2)
        part = image[y : y + h, x : x + w]
        part += rng.integers(0, rng.integers(1, top, endpoint=True), part.shape, endpoint=True)


def layouts(rng: np.random.Generator, kind: str, shape: tuple[int, int], n: int) -> npt.NDArray[np.uint16]:
    """Numbers below n for every pixel: bins or panels."""
    slow, fast = np.indices(shape)
    if kind == "random":
        return rng.integers(0, n, shape).astype(np.uint16)
    if kind == "rings":
        radius: npt.NDArray[np.float64] = np.hypot(slow - shape[0] * rng.random(), fast - shape[1] * rng.random())
        return np.minimum(radius / max(1.0, float(radius.max()) / n), n - 1).astype(np.uint16)
    if kind == "stripes":
        stripes: npt.NDArray[np.int64] = slow * n // shape[0]
        return stripes.astype(np.uint16)
    tile = max(1, int(np.ceil(shape[0] / 3))), max(1, int(np.ceil(shape[1] / 3)))
    tiles: npt.NDArray[np.int64] = (slow // tile[0] * 3 + fast // tile[1]) % n
    return tiles.astype(np.uint16)


LAYOUTS = st.sampled_from(["rings", "tiles", "stripes", "random"])


@st.composite
def cases(draw: st.DrawFn, dtype: str | None = None) -> Case:
    """An image of any type, mask, bins, panels and settings."""
    dtype = dtype or draw(st.sampled_from(DTYPES))
    info = np.iinfo(dtype)
    shape = draw(shapes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = counts(
        rng, draw(st.sampled_from(["low", "sparse", "high", "large", "anything", "flat", "ends"])), shape, dtype
    )
    plant(rng, image, draw(st.integers(0, 12)), draw(st.sampled_from([20, 100, 5000, int(info.max)])))
    image = np.clip(image, info.min, info.max)
    bad = draw(st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.6, 1.0]))
    n_bins = draw(st.integers(1, 20))
    limits = st.one_of(st.none(), st.integers(1, 120), st.integers(1, int(info.max)))
    special = st.one_of(st.none(), st.sampled_from([int(info.max), int(info.min), 0, 1]), limits)
    params = Params(
        bins=layouts(rng, draw(LAYOUTS), shape, n_bins),
        valid=rng.random(shape) >= bad,
        background_bins=rng.random(n_bins) < draw(st.sampled_from([0.0, 0.5, 1.0])),
        underload=draw(st.one_of(st.just(0), st.integers(-5, 3), st.just(int(info.min)))),
        saturation=draw(limits),
        error_value=draw(special),
        panels=layouts(rng, draw(LAYOUTS), shape, draw(st.integers(1, 5))) if draw(st.booleans()) else None,
        algorithm=draw(st.sampled_from(["radial", "radial", "dispersion"])),
        snr=draw(st.one_of(st.just(5.0), st.floats(0.05, 20.0))),
        min_count=draw(st.one_of(st.just(4), st.integers(1, 40))),
        min_pixels=draw(st.integers(1, 4)),
        max_pixels=draw(st.sampled_from([1, 5, 200, 10000])),
        spot_snr=draw(st.one_of(st.just(6.0), st.floats(0.0, 12.0))),
        ring_width=draw(st.integers(1, 16)),
        max_spots=draw(st.sampled_from([1, 2, 5, 2000])),
    )
    return Case(image.astype(dtype), params)
