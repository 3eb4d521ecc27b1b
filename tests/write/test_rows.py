"""Some rows of an array, written as HDF5 would have written them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hitsieve.write.rows import write_rows
from hitsieve.write.stream import OutputStream

N = 1000
PACKED: dict[str, Any] = {"chunks": (128, 7), "compression": "gzip", "compression_opts": 1, "shuffle": True}


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("f4", PACKED),
        ("i1", PACKED),
        (">i2", PACKED),
        ("f8", {**PACKED, "chunks": (1, 7)}),
        ("f4", {**PACKED, "chunks": (128, 3)}),
        ("i4", {**PACKED, "shuffle": False}),
        ("u2", {"chunks": (10, 7), "compression": "lzf"}),
        ("f4", {}),
        (h5py.string_dtype(), {}),
    ],
)
@pytest.mark.parametrize("how", ["all", "late", "some", "few", "none"])
def test_rows_are_those_of_the_source(tmp_path: Path, dtype: Any, options: dict[str, Any], how: str) -> None:
    random = np.random.default_rng(1)
    values = random.integers(-90, 90, (N, 7))
    texts = h5py.check_string_dtype(np.dtype(dtype)) is not None
    picked = np.flatnonzero(random.random(N) < 0.4)
    rows = {"all": np.arange(N), "late": np.arange(256, 900), "some": picked, "few": np.array([3, 999])}.get(how)
    rows = np.zeros(0, dtype=np.int64) if rows is None else rows
    with h5py.File(tmp_path / "in.h5", "w") as file:
        made = file.create_dataset("a/b", (N, 7), dtype, **options)
        made[...] = values.astype(str).astype(object) if texts else values
        made.attrs["units"] = "pixels"
    stream = OutputStream(tmp_path / "out.h5")
    with h5py.File(tmp_path / "in.h5") as source, h5py.File(stream, "w") as output:
        write_rows(source["a/b"], output, stream, rows)
    stream.close()
    with h5py.File(tmp_path / "in.h5") as source, h5py.File(tmp_path / "out.h5") as output:
        wanted, got = source["a/b"], output["a/b"]
        assert (got.dtype, got.compression, got.shuffle) == (wanted.dtype, wanted.compression, wanted.shuffle)
        np.testing.assert_array_equal(got[()], wanted[()][rows])
        assert got.attrs["units"] == "pixels"


def test_chunks_that_are_copied_are_whole(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        made = file.create_dataset("a/b", (N, 7), "f4", fillvalue=5, **PACKED)
        # The second chunk was never written, and the third is stored without filters.
        made[:128] = 1
        made.id.write_direct_chunk((256, 0), np.full((128, 7), 3, "f4").tobytes(), filter_mask=3)
    stream = OutputStream(tmp_path / "out.h5")
    with h5py.File(tmp_path / "in.h5") as source, h5py.File(stream, "w") as output:
        write_rows(source["a/b"], output, stream, np.arange(384))
    stream.close()
    with h5py.File(tmp_path / "out.h5") as output:
        np.testing.assert_array_equal(output["a/b"][:, 0], np.repeat([1.0, 5.0, 3.0], 128))


@pytest.mark.parametrize("stored", [b"no deflate", zlib.compress(bytes(9)), zlib.compress(bytes(99999))])
def test_a_chunk_that_is_damaged_is_not_copied(tmp_path: Path, stored: bytes) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("a/b", (N, 7), "f4", **PACKED).id.write_direct_chunk((0, 0), stored)
    stream = OutputStream(tmp_path / "out.h5")
    with h5py.File(tmp_path / "in.h5") as source, h5py.File(stream, "w") as output:
        with pytest.raises(ValueError, match="a chunk"):
            write_rows(source["a/b"], output, stream, np.arange(N))
    stream.close()
