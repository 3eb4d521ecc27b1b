"""Small source runs of each style, with all the metadata that a real one has, and results for them."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from hitsieve.model import ImageResults, Lattices, PumpStates, Run, Spots, State
from hitsieve.pipeline.facts import facts_of
from hitsieve.settings import RunSettings, SourceSettings, WriteSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.write import (
    AuditSummary,
    HitRuleSummary,
    Outputs,
    RunWriter,
    SourceSummary,
    Summary,
    TimeLine,
    choose_audit,
)

SHAPE = (48, 64)
PACKINGS: dict[str, dict[str, Any]] = {
    "bslz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "bszstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    "lz4": dict(hdf5plugin.LZ4()),
    "gzip": {"compression": "gzip", "shuffle": True},
}


TYPES: dict[str, Any] = {"n_pixels": np.int32, "flags": np.uint8, "h": np.int16, "k": np.int16, "l": np.int16}


def images(n: int, dtype: str = "u2") -> np.ndarray:
    """Random counts, different in each image."""
    return np.random.default_rng(n).poisson(2, (n, *SHAPE)).astype(dtype)


def describe(handle: h5py.File, n: int) -> None:
    """Fill a master with NXmx metadata, links and per-image arrays."""
    entry = handle.create_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    entry["definition"] = "NXmx"
    entry["start_time"] = "2026-01-02T03:04:05Z"
    entry["end_time_estimated"] = "2026-01-02T03:05:05Z"
    instrument = entry.create_group("instrument")
    instrument.attrs["NX_class"] = "NXinstrument"
    instrument["name"] = "test"
    beam = instrument.create_group("beam")
    beam.attrs["NX_class"] = "NXbeam"
    beam.create_dataset("incident_wavelength", data=1.0 + np.arange(n) / 1000).attrs["units"] = "angstrom"
    detector = instrument.create_group("detector")
    detector.attrs["NX_class"] = "NXdetector"
    detector["sensor_material"] = "Si"
    for name, value, units in (
        ("sensor_thickness", 0.00032, "m"),
        ("distance", 0.1, "m"),
        ("x_pixel_size", 75e-6, "m"),
        ("y_pixel_size", 75e-6, "m"),
        ("beam_center_x", 32.0, "pixels"),
        ("beam_center_y", 24.0, "pixels"),
    ):
        detector.create_dataset(name, data=value).attrs["units"] = units
    detector["saturation_value"] = 1000
    detector["depends_on"] = "/entry/instrument/detector/transformations/det_z"
    detector.create_dataset("pixel_mask", data=np.eye(*SHAPE, dtype="u4"), compression="gzip")
    specific = detector.create_group("detectorSpecific")
    specific["pixel_mask"] = detector["pixel_mask"]
    specific["nimages"] = np.uint32(1)
    specific["ntrigger"] = np.uint32(n)
    specific.create_dataset("flatfield", data=np.ones(SHAPE, "f4"), compression="lzf")
    _describe_geometry(detector)
    _describe_rest(entry, n)


def _describe_geometry(detector: h5py.Group) -> None:
    transformations = detector.create_group("transformations")
    transformations.attrs["NX_class"] = "NXtransformations"
    _axis(transformations, "det_z", 0.1, (0, 0, 1), ".")
    module = detector.create_group("module")
    module.attrs["NX_class"] = "NXdetector_module"
    module["data_origin"] = np.array([0, 0])
    module["data_size"] = np.array(SHAPE)
    path = "/entry/instrument/detector/"
    _axis(module, "module_offset", 1.0, (32 * 75e-6, 24 * 75e-6, 0), path + "transformations/det_z")
    _axis(module, "fast_pixel_direction", 75e-6, (-1, 0, 0), path + "module/module_offset")
    _axis(module, "slow_pixel_direction", 75e-6, (0, -1, 0), path + "module/module_offset")


def _describe_rest(entry: h5py.Group, n: int) -> None:
    sample = entry.create_group("sample")
    sample.attrs["NX_class"] = "NXsample"
    sample["name"] = "lysozyme"
    sample["depends_on"] = "."
    sample["unit_cell"] = np.array([79, 79, 38, 90, 90, 90.0])
    source = entry.create_group("source")
    source.attrs["NX_class"] = "NXsource"
    source.create_dataset("name", data="SLS").attrs["short_name"] = "SLS"
    entry["user/name"] = np.bytes_("A. User")
    entry["xfel/pulse_id"] = np.arange(n, dtype="u8") + 10**12
    entry["xfel/labels"] = [f"shot {i}" for i in range(n)]
    entry["sample_alias"] = h5py.SoftLink("/entry/sample")
    entry["MX/nPeaks"] = np.arange(n, dtype="i4")


def _axis(group: h5py.Group, name: str, value: float, vector: tuple[float, ...], depends_on: str) -> None:
    axis = group.create_dataset(name, data=[value])
    axis.attrs["vector"] = np.array(vector, float)
    axis.attrs["offset"] = np.zeros(3)
    axis.attrs["transformation_type"] = "translation"
    axis.attrs["units"] = "m"
    axis.attrs["depends_on"] = depends_on


def _images_into(group: h5py.Group, values: np.ndarray, packing: str) -> None:
    group.create_dataset("data", data=values, chunks=(1, *SHAPE), **PACKINGS[packing])


def make_run(folder: Path, style: str, packing: str = "bslz4", *, n: int = 24, files: int = 3) -> Path:
    """Write a run of n images in one of the styles: vds, strided, external, single; gives its master."""
    folder.mkdir(parents=True, exist_ok=True)
    values = images(n)
    master = folder / "test_master.h5"
    with h5py.File(master, "w") as handle:
        describe(handle, n)
        data = handle.create_group("entry/data")
        data.attrs["NX_class"] = "NXdata"
        data.attrs["signal"] = "data"
        if style == "single":
            _images_into(data, values, packing)
            handle["entry/instrument/detector/data"] = data["data"]
            return master
        layout = h5py.VirtualLayout((n, *SHAPE), "u2")
        for k in range(files):
            which = np.arange(k, n, files) if style == "strided" else np.array_split(np.arange(n), files)[k]
            name = f"test_data_{k + 1:06d}.h5"
            with h5py.File(folder / name, "w") as part:
                _images_into(part.create_group("entry/data"), values[which], packing)
                part["entry/data/data"].attrs["image_nr_low"] = int(which[0]) + 1
                part["entry/detector/timestamp"] = which * 1.5
                part["entry/azint/bin_to_q"] = np.linspace(0, 5, 7)
                part["entry/azint/image"] = np.repeat(which[:, None], 7, axis=1).astype("f4")
            source = h5py.VirtualSource(name, "/entry/data/data", (len(which), *SHAPE), "u2")
            layout[which[0] : which[-1] + 1 : files if style == "strided" else 1] = source
            if style == "external":
                data[f"data_{k + 1:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        if style != "external":
            data.create_virtual_dataset("data", layout)
    return master


def opened(path: Path) -> OpenedRun:
    """Open a run with default settings."""
    return open_run([path], SourceSettings())


def make_results(
    run: Run, hits: list[int], start: int, stop: int, reasons: dict[int, str] | None = None
) -> ImageResults:
    """Results of images start to stop: image i has i % 4 spots, or 5 + i % 3 and i % 3 lattices where it is a hit."""
    image = np.arange(start, stop)
    reasons = {i: text for i, text in (reasons or {}).items() if start <= i < stop}
    state = np.where(np.isin(image, hits), State.HIT, State.MISS).astype(np.uint8)
    n_spots = np.where(state == State.HIT, 5 + image % 3, image % 4).astype(np.int32)
    for i in reasons:
        state[i - start] = State.MISSING if i in run.images.missing else State.UNREADABLE
        n_spots[i - start] = 0
    offsets = np.concatenate([[0], np.cumsum(n_spots)]).astype(np.int64)
    owner = np.repeat(image, n_spots)
    place = np.arange(len(owner)) - np.repeat(offsets[:-1], n_spots)
    columns: dict[str, Any] = {}
    for k, field in enumerate(fields(Spots)):
        dtype = TYPES.get(field.name, np.float32)
        columns[field.name] = ((owner * 7 + place + k) % 40 + 1).astype(dtype)
    n_lattices = np.where(state == State.HIT, image % 3, 0).astype(np.int32)
    columns["lattice"] = np.minimum(place, np.repeat(n_lattices, n_spots) - 1).astype(np.int8)
    for name in "hkl":
        columns[name] = np.where(columns["lattice"] >= 0, columns[name] - 20, 0).astype(np.int16)
    n_indexed = np.bincount(owner[columns["lattice"] >= 0] - start, minlength=len(image))
    return ImageResults(
        image=image,
        state=state,
        n_spots=n_spots,
        n_spots_counted=n_spots,
        n_spots_ice=np.zeros_like(n_spots),
        n_strong=2 * n_spots,
        n_saturated=np.zeros_like(n_spots),
        max_count=image + 100,
        background=(image / 10).astype(np.float32),
        resolution=np.where(n_spots > 4, 1.5 + image / 100, np.nan).astype(np.float32),
        n_lattices=np.where(state < State.UNREADABLE, n_lattices, -1).astype(np.int32),
        n_indexed=np.where(state < State.UNREADABLE, n_indexed, -1).astype(np.int32),
        pump=np.full(len(image), -1, dtype=np.int16) if run.pump is None else run.pump.code[image],
        reasons=reasons,
        offsets=offsets,
        spots=Spots(**columns),
        lattice_offsets=np.concatenate([[0], np.cumsum(n_lattices)]).astype(np.int64),
        lattices=make_lattices(np.repeat(image, n_lattices)),
    )


def make_lattices(owner: np.ndarray) -> Lattices:
    """A lattice for each image number in `owner`."""
    m = len(owner)
    return Lattices(
        A=(owner[:, None, None] + np.arange(9).reshape(3, 3)) / 1000,
        cell=owner[:, None] + np.array([79, 80, 38, 90, 90, 90.0]),
        n_indexed=(owner % 90 + 8).astype(np.int32),
        residual=owner / 1e5,
        chance=np.full(m, 1e-6),
    )


def make_pump(n: int) -> PumpStates:
    """Image i is dark where 3 divides i, unknown for i = 1, and light otherwise."""
    image = np.arange(n)
    code = np.where(image == 1, -1, image % 3 > 0).astype(np.int16)
    return PumpStates(("dark", "light 1ms"), code, "pattern")


def make_summary(run: Run, settings: RunSettings, n_hits: int, n_audit: int, n_bad: int = 0) -> Summary:
    """Summary with the right totals."""
    n_missing = len(run.images.missing)
    n_misses = len(run) - n_hits - n_bad - n_missing
    searched = n_hits + n_misses
    return Summary(
        version="0",
        date=datetime(2026, 1, 2, tzinfo=timezone.utc),
        settings=settings.model_dump(mode="json"),
        source=SourceSummary(
            path=str(run.path),
            stem=run.stem,
            style=run.style,
            n_files=len(run.files),
            image_shape=run.detector.shape,
            dtype=str(run.dtype),
        ),
        n_images=len(run),
        n_hits=n_hits,
        n_misses=n_misses,
        n_unreadable=n_bad,
        n_missing=n_missing,
        hit_rate=n_hits / searched if searched else None,
        hit_rate_interval=(0.0, 1.0) if searched else None,
        rule=HitRuleSummary(rule="spots", min_spots=5, origin="given"),
        timeline=TimeLine(first=(0,), n_searched=(searched,), n_hits=(n_hits,), n_indexed=(0,), background=(None,)),
        audit=AuditSummary(n=n_audit, seed=settings.write.audit_seed, fraction=settings.write.audit_fraction),
        seconds=1.0,
        images_per_second=float(len(run)),
        workers=1,
        source_bytes=None,
        hit_bytes=0,
        facts=facts_of(run),
        overrides=run.overrides,
    )


def write_run(
    source: OpenedRun, output: Path, hits: list[int], *, batch: int = 7, bad: dict[int, str] | None = None, **write: Any
) -> Outputs:
    """Write all outputs of a run of which `hits` are the hits, and `bad` cannot be decoded."""
    run = source.run
    settings = RunSettings(write=WriteSettings(output=output, audit_min=3, **write))
    bad = {**(bad or {}), **run.images.unreadable}
    reasons = {**run.images.missing, **bad}
    misses = np.array([i for i in range(len(run)) if i not in hits and i not in reasons], dtype=np.int64)
    audit = choose_audit(misses, settings.write)
    with RunWriter(run, settings) as writer:
        for start in range(0, len(run), batch):
            results = make_results(run, hits, start, min(start + batch, len(run)), reasons)
            wanted = results.image[writer.wants(results)].tolist()
            writer.add(results, {i: source.salvaged(i) if i in bad else fetch(source, i) for i in wanted})
        summary = make_summary(run, settings, len(hits), len(audit), len(bad))
        return writer.finish(summary, ((int(i), fetch(source, int(i))) for i in audit))


def fetch(source: OpenedRun, i: int) -> bytes | np.ndarray:
    """Stored bytes of an image, or its pixels where it has none."""
    chunk = source.chunk(i)
    return source.pixels(i) if chunk is None else chunk
