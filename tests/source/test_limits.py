"""Counts that bound what pixels mean: saturation, underload and the error value."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.errors import SettingsError
from hitsieve.model import Run
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

from .builders import counts, data_file, field, nxmx


def opened(path: Path, *items: str) -> Run:
    with open_run([path], SourceSettings(set=items)) as run:
        return run.run


def stating(path: Path, name: str, value: object, group: str = "detector") -> Path:
    """A run of unsigned 16-bit pixels whose detector states a limit."""
    with h5py.File(nxmx(path), "a") as file:
        field(file.require_group(f"entry/instrument/{group}"), name, value)
    return path


@pytest.mark.parametrize("value", [np.uint64(2**64 - 1), np.int64(2**63 - 1), np.uint32(2**32 - 1), 65536, 1e30])
def test_saturation_that_no_pixel_reaches(tmp_path: Path, value: object) -> None:
    run = opened(stating(tmp_path / "a.h5", "saturation_value", value))
    assert run.detector.saturation_value is None
    assert any("the saturation value" in p.what and "uint16 pixels never reach" in p.what for p in run.problems)


def test_largest_count_is_a_saturation_value(tmp_path: Path) -> None:
    run = opened(stating(tmp_path / "a.h5", "saturation_value", 65535))
    assert run.detector.saturation_value == 65535
    assert not run.problems


@pytest.mark.parametrize(("value", "read"), [(-(2**31), 0), (0, 0), (3, 3), (2**40, None), (1e30, None), (-1e30, 0)])
def test_underload(tmp_path: Path, value: float, read: int | None) -> None:
    run = opened(stating(tmp_path / "a.h5", "underload_value", value))
    assert run.detector.underload_value == read
    assert any("the underload value" in p.what for p in run.problems) == (read is None)


@pytest.mark.parametrize("group", ["detector", "detector/detectorSpecific"])
def test_error_value(tmp_path: Path, group: str) -> None:
    assert opened(nxmx(tmp_path / "none.h5")).detector.error_value is None
    run = opened(stating(tmp_path / "a.h5", "error_value", np.int64(65535), group))
    assert run.detector.error_value == 65535
    assert not run.problems


def test_negative_error_value_of_signed_pixels(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 2, "int32"))
    with h5py.File(path, "a") as file:
        detector = file.create_group("entry/instrument/detector")
        detector.attrs["NX_class"], detector.parent.attrs["NX_class"] = "NXdetector", "NXinstrument"
        file["entry"].attrs["NX_class"] = "NXentry"
        detector["error_value"] = np.int64(-(2**31))
    assert opened(path).detector.error_value == -(2**31)


@pytest.mark.parametrize("value", [np.int32(-1), np.uint32(2**32 - 1), np.uint64(2**64 - 1)])
def test_error_value_that_no_pixel_can_have_is_told(tmp_path: Path, value: object) -> None:
    run = opened(stating(tmp_path / "a.h5", "error_value", value))
    assert run.detector.error_value is None
    assert any("the error value" in p.what and "uint16" in p.what for p in run.problems)


@pytest.mark.parametrize(
    "item", ["saturation_value=1e30", "saturation_value=9223372036854775808", "underload_value=-1e30"]
)
def test_counts_beyond_all_counts_are_refused(tmp_path: Path, item: str) -> None:
    with pytest.raises(SettingsError, match="beyond all counts") as caught:
        opened(nxmx(tmp_path / "a.h5"), item)
    assert item in str(caught.value)
    assert caught.value.mend
