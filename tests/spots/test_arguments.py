"""Arguments that do not fit together are refused with a plain reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hitsieve._core import SpotFinder, cpu_features

SHAPE = (20, 30)
GOOD: dict[str, Any] = {
    "bins": np.zeros(SHAPE, dtype=np.uint16),
    "valid": np.ones(SHAPE, dtype=np.bool_),
    "dtype": "uint16",
    "underload": 0,
    "saturation": None,
    "error_value": None,
    "background_bins": np.ones(1, dtype=np.bool_),
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"valid": np.ones((20, 31), dtype=np.bool_)}, "valid"),
        ({"valid": np.ones((30, 20), dtype=np.bool_)}, "valid"),
        ({"panels": np.zeros((19, 30), dtype=np.uint16)}, "panels"),
        ({"bins": np.full(SHAPE, 1, dtype=np.uint16)}, "bin"),
        ({"background_bins": np.ones(0, dtype=np.bool_)}, "bin"),
        ({"dtype": "float32"}, "float32"),
        ({"dtype": "uint64"}, "uint64"),
        ({"dtype": "nonsense"}, "nonsense"),
        ({"algorithm": "magic"}, "magic"),
        ({"snr": float("nan")}, "snr"),
        ({"spot_snr": float("nan")}, "spot_snr"),
    ],
)
def test_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        SpotFinder(**(GOOD | changes))


def test_image_of_another_shape_or_type() -> None:
    search = SpotFinder(**GOOD)
    with pytest.raises(ValueError, match="shape"):
        search.find(np.zeros((30, 20), dtype=np.uint16))
    with pytest.raises((ValueError, TypeError), match="uint16"):
        search.find(np.zeros(SHAPE, dtype=np.int32))


def test_unknown_codec() -> None:
    search = SpotFinder(**GOOD)
    with pytest.raises(ValueError, match="gzip"):
        search.find_stored(b"", "gzip")
    none = np.empty(0, dtype=np.int64)
    with pytest.raises(ValueError, match="gzip"):
        list(search.scan(["a.h5"], ["gzip"], none.astype(np.int32), none, none, 1, 1))


def test_a_stored_image_in_memory_of_another_kind() -> None:
    search = SpotFinder(**GOOD)
    stored = b"no image, but bytes of one"
    as_bytes = search.find_stored(stored, "bslz4")
    assert as_bytes.reasons
    for other in (np.frombuffer(stored, np.uint8), np.frombuffer(memoryview(bytearray(stored)), np.uint8)):
        assert search.find_stored(other, "bslz4").reasons == as_bytes.reasons
    twice = np.repeat(np.frombuffer(stored, np.uint8), 2)
    with pytest.raises(TypeError, match="contiguous"):
        search.find_stored(twice[::2], "bslz4")
    for wrong in (memoryview(stored), twice.astype(np.uint16), "text", None):
        with pytest.raises(TypeError, match="1-D array of uint8"):
            search.find_stored(wrong, "bslz4")  # type: ignore[arg-type]


def test_scan_of_columns_that_do_not_fit() -> None:
    search = SpotFinder(**GOOD)
    one, two = np.zeros(1, dtype=np.int64), np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="length"):
        list(search.scan(["a.h5"], ["bslz4"], one.astype(np.int32), two, one, 1, 1))
    with pytest.raises(ValueError, match="codec"):
        list(search.scan(["a.h5"], [], one.astype(np.int32), one, one, 1, 1))
    with pytest.raises(ValueError, match="file"):
        list(search.scan(["a.h5"], ["bslz4"], np.array([5], dtype=np.int32), one, one, 1, 1))


def test_results_are_columns_of_known_types() -> None:
    batch = SpotFinder(**GOOD).find(np.zeros(SHAPE, dtype=np.uint16))
    assert batch.n_spots.tolist() == [0]
    assert batch.max_count.tolist() == [0]
    assert batch.offsets.tolist() == [0, 0]


def test_cpu_features_names_a_variant() -> None:
    assert cpu_features() in ("avx512", "avx2", "portable")


@pytest.mark.parametrize("saturation", [0, -1])
def test_saturation_is_at_least_one(saturation: int) -> None:
    with pytest.raises(ValueError, match="saturation"):
        SpotFinder(**(GOOD | {"saturation": saturation}))
