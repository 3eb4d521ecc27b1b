"""Measured images pass through whole, and DIALS reads the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import nxmx
import pytest
from making import make_run, opened, write_run

from dialsprograms import dials, needs_dials
from hitsieve.pipeline.verify import verify

FULL = ["i24_thaumatin_pilatus3_6m", "lcls_cxi_thermolysin_cspad", "dls_thaumatin_eiger2_4mroi", "su_timepix_electron"]
PARTIAL = ["sls_jungfrau_module", "dls_i19_pilatus_300k_blank"]
OURS = ("entry/hit_finding", "entry/MX")


def _everything(handle: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def take(name: str, item: h5py.HLObject) -> None:
        if not name.startswith(OURS) and name != "entry/data/data":
            found[name] = item[()] if isinstance(item, h5py.Dataset) else None
            found.update({f"{name}@{key}": value for key, value in item.attrs.items()})

    handle.visititems(take)
    return found


@pytest.mark.parametrize("name", FULL + PARTIAL)
def test_all_metadata_of_real_files_are_carried(tmp_path: Path, data_dir: Path, name: str) -> None:
    path = data_dir / "images" / f"{name}.h5"
    with opened(path) as source:
        n = len(source.run)
        hits = list(range(0, n, 2))
        outputs = write_run(source, tmp_path, hits)
    assert verify(outputs.hits, path).ok
    with h5py.File(path) as before, h5py.File(outputs.hits) as some, h5py.File(outputs.annotated) as every:
        wanted, kept, shown = _everything(before), _everything(some), _everything(every)
        assert kept.keys() == wanted.keys() == shown.keys()
        for key, value in wanted.items():
            assert np.array_equal(shown[key], value), key
            cut = n > 1 and np.shape(value)[:1] == (n,) and "@" not in key
            assert np.array_equal(kept[key], value[hits] if cut else value), key
        for row, image in enumerate(hits):
            assert np.array_equal(some["entry/data/data"][row], before["entry/data/data"][image])
        assert np.array_equal(every["entry/data/data"][n - 1], before["entry/data/data"][n - 1])
        lines = every["entry/hit_finding"].get("problems")
        # What the source itself lacks is the one thing that may be said.
        assert all("which NXmx requires" in line for line in (lines.asstr()[()] if lines else ()))


@pytest.mark.parametrize("name", FULL)
def test_nxmx_reads_real_geometry(tmp_path: Path, data_dir: Path, name: str) -> None:
    path = data_dir / "images" / f"{name}.h5"
    with opened(path) as source:
        outputs = write_run(source, tmp_path, [0])
    chains = []
    for file in (path, outputs.hits, outputs.annotated):
        with h5py.File(file) as handle:
            (entry,) = nxmx.NXmx(handle).entries
            modules = entry.instruments[0].detectors[0].modules
            axes = [nxmx.get_dependency_chain(module.slow_pixel_direction) for module in modules]
            chains.append([nxmx.get_cumulative_transformation(chain) for chain in axes])
    assert np.array_equal(chains[0], chains[1])
    assert np.array_equal(chains[0], chains[2])


def _dials(path: Path, folder: Path) -> str:
    folder.mkdir()
    told = dials(folder, "dials.import", str(path), "output.experiments=imported.expt", "output.log=None")
    return told + dials(folder, "dials.find_spots", "imported.expt", "output.log=None", "nproc=1")


@pytest.mark.dials
@needs_dials
def test_dials_finds_the_same_spots(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "images" / "dls_thaumatin_eiger2_4mroi.h5"
    with opened(path) as source:
        outputs = write_run(source, tmp_path / "out", [0])
    logs = [_dials(file, tmp_path / str(i)) for i, file in enumerate((path, outputs.hits, outputs.annotated))]
    saved = [[line for line in log.splitlines() if line.startswith("Saved ")] for log in logs]
    assert len(saved[0]) >= 1
    assert saved[0] == saved[1] == saved[2]


@pytest.mark.dials
@needs_dials
@pytest.mark.parametrize("style", ["vds", "external"])
def test_dials_counts_the_images(tmp_path: Path, style: str) -> None:
    with opened(make_run(tmp_path / "in", style)) as source:
        outputs = write_run(source, tmp_path / "out", [2, 3, 9])
    for number, (file, n) in enumerate(((outputs.hits, 3), (outputs.annotated, 24))):
        log = _dials(file, tmp_path / str(number))
        assert f"num images: {n}" in log
