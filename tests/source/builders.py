"""Small runs on disk, in every style, with h5py."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

SHAPE = (6, 8)
BSLZ4 = dict(hdf5plugin.Bitshuffle(cname="lz4"))
BSZSTD = dict(hdf5plugin.Bitshuffle(cname="zstd"))
LZ4 = dict(hdf5plugin.LZ4())


def counts(start: int, n: int, dtype: str = "uint16", shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Images that tell their number in the run: image i holds i, i + 1, ... modulo 100."""
    pixels = np.arange(shape[0] * shape[1]).reshape(shape)
    return ((np.arange(start, start + n)[:, None, None] + pixels) % 100).astype(dtype)


def data_file(path: Path, images: np.ndarray, **options: object) -> Path:
    """A data file as detectors write them."""
    settings: dict[str, object] = {"chunks": (1, *images.shape[1:]), **BSLZ4, **options}
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=images, **settings)
    return path


def vds_master(path: Path, layout: h5py.VirtualLayout) -> Path:
    """A master with one virtual dataset."""
    with h5py.File(path, "w") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file.create_group("entry/data").attrs["NX_class"] = "NXdata"
        file.create_virtual_dataset("entry/data/data", layout)
    return path


def link_master(path: Path, targets: list[str], announced: tuple[int, int] | None = None) -> Path:
    """A DECTRIS-style master with external links."""
    with h5py.File(path, "w") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file.create_group("entry/data").attrs["NX_class"] = "NXdata"
        detector = file.create_group("entry/instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        detector.parent.attrs["NX_class"] = "NXinstrument"
        for k, target in enumerate(targets, start=1):
            file[f"entry/data/data_{k:06d}"] = h5py.ExternalLink(target, "/entry/data/data")
        if announced:
            detector["detectorSpecific/nimages"], detector["detectorSpecific/ntrigger"] = announced
    return path


def nxmx(path: Path, n: int = 3, shape: tuple[int, int] = SHAPE) -> Path:
    """A single-file run with a flat detector stated by its fields only."""
    data_file(path, counts(0, n, shape=shape))
    with h5py.File(path, "a") as file:
        for name, nx in (
            ("entry", "NXentry"),
            ("entry/data", "NXdata"),
            ("entry/instrument", "NXinstrument"),
            ("entry/instrument/beam", "NXbeam"),
            ("entry/instrument/detector", "NXdetector"),
        ):
            file.require_group(name).attrs["NX_class"] = nx
        beam, detector = file["entry/instrument/beam"], file["entry/instrument/detector"]
        field(beam, "incident_wavelength", 1.5, "angstrom")
        field(detector, "distance", 100.0, "mm")
        field(detector, "beam_center_x", 4.5)
        field(detector, "beam_center_y", 2.5)
        field(detector, "x_pixel_size", 75.0, "um")
        field(detector, "y_pixel_size", 75e-6, "m")
        detector["pixel_mask"] = np.zeros(shape, dtype=np.uint32)
    return path


def field(group: h5py.Group, name: str, value: object, units: str | None = None) -> None:
    """Write or replace a field."""
    if name in group:
        del group[name]
    group[name] = value
    if units:
        group[name].attrs["units"] = units


def axis(
    group: h5py.Group,
    name: str,
    kind: str,
    value: float,
    units: str,
    vector: list[float],
    depends_on: str,
    **more: object,
) -> None:
    """Write a transformation."""
    group[name] = [value]
    group[name].attrs.update(
        {"transformation_type": kind, "units": units, "vector": vector, "depends_on": depends_on, **more}
    )
