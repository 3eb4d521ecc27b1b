"""A long run from a short one: its results repeated, without the images."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.filters import register_filters
from hitsieve.model import State
from hitsieve.write import Outputs, read_summary

_PER_FILE = 1000


def lengthen(
    outputs: Outputs, folder: Path, images: int, *, stops: Sequence[tuple[int, int]] = (), seed: int = 0
) -> Outputs:
    """Write annotated master and summary of a run whose results are those of a finished one, over and over.

    What has one row an image, and the lattices, are as large as of a real run of this length; the spots are those of
    the short run, over and over too, but stored once. There are no images, no table and no hit-only file. The
    background scatters, so that it packs as that of a real run does.

    Parameters
    ----------
    outputs : Outputs
        Of the short run.
    folder : Path
        Made if absent.
    images : int
        Of the long run, as many as the short one at least.
    stops : sequence of (int, int)
        First and last image of each jet stop, ascending: their hits become misses.
    seed : int
        Of the scatter of the background.

    Returns
    -------
    Outputs
    """
    register_filters()
    folder.mkdir(parents=True, exist_ok=True)
    stem = outputs.summary.name.removesuffix("_summary.json")
    made = Outputs.of(folder, stem)
    shutil.copyfile(outputs.annotated, made.annotated)
    told = json.loads(outputs.summary.read_text(encoding="utf-8"))
    told["date"] = datetime.now(timezone.utc).isoformat()
    with h5py.File(made.annotated, "a") as file:
        process = file["entry/hit_finding"]
        _repeat(process, told["n_images"], images, np.random.default_rng(seed))
        state = process["state"][()]
        for first, last in stops:
            state[first : last + 1][state[first : last + 1] == State.HIT] = State.MISS
        _replace(process, "state", state)
        background = process["background"][()]
        for first, last in stops:
            background[first : last + 1] *= 0.2
        _replace(process, "background", background)
        _replace(process, "date", told["date"])
    made.summary.write_text(json.dumps(told | _numbers(state, stops)), encoding="utf-8")
    read_summary(made.summary)
    return made


def _repeat(process: h5py.Group, short: int, images: int, rng: np.random.Generator) -> None:
    times = -(-images // short)
    columns = [name for name, item in process.items() if isinstance(item, h5py.Dataset) and item.shape == (short,)]
    for name in columns:
        values = np.tile(process[name][()], times)[:images]
        if name == "background":
            values = (values * rng.normal(1, 0.02, images)).astype(values.dtype)
        _replace(process, name, values)
    _replace(process, "source_file", (np.arange(images) // _PER_FILE).astype(process["source_file"].dtype))
    n_files = -(-images // _PER_FILE)
    names = [f"/data/long_data_{number:06d}.h5" for number in range(1, n_files + 1)]
    for name, texts in (("source_files", names), ("source_datasets", ["/entry/data/data"] * n_files)):
        _replace(process, name, np.array(texts, dtype=object))
    for group in (process["lattices"], process["spots"]):
        ends = group["offsets"][()]
        starts = np.arange(times, dtype=np.int64)[:, None] * ends[-1] + ends[:-1]
        _replace(group, "offsets", np.append(starts.ravel(), times * ends[-1])[: images + 1])
    lattices = process["lattices"]
    for name in [key for key in lattices if key != "offsets"]:
        values = lattices[name][()]
        _replace(lattices, name, np.tile(values, (times, *[1] * (values.ndim - 1)))[: lattices["offsets"][-1]])
    _show_over_and_over(process, "spots", times)


def _show_over_and_over(process: h5py.Group, name: str, times: int) -> None:
    """Move the columns of a group elsewhere, and show each of them so many times, one after the other."""
    group, n = process[name], int(process[name]["offsets"][-1])
    stored = f"{process.name}/{name}_stored_once"
    few = max(1, math.isqrt(times))
    for column in [key for key in group if key != "offsets"]:
        length, attributes = len(group[column]), dict(group[column].attrs)
        once, few_times = f"{stored}/{column}", f"{stored}/{column}_{few}_times"
        process.file.move(group[column].name, once)
        # In two steps: a dataset that is put together from a million others takes long to open.
        _put_together(process.file, few_times, once, (length, few * length))
        _put_together(process.file, f"{group.name}/{column}", few_times, (few * length, n))
        group[column].attrs.update(attributes)


def _put_together(file: h5py.File, name: str, of: str, lengths: tuple[int, int]) -> None:
    """Make a dataset of a certain length that shows another one, of a certain length, over and over."""
    one, whole = lengths
    layout = h5py.VirtualLayout(shape=(whole,), dtype=file[of].dtype)
    for start in range(0, whole, max(one, 1)):
        stop = min(start + one, whole)
        layout[start:stop] = h5py.VirtualSource(".", of, shape=(one,))[: stop - start]
    file.create_virtual_dataset(name, layout)


def _replace(group: h5py.Group, name: str, values: Any) -> None:
    """Give a dataset other values, with its attributes and its type."""
    old = group[name]
    attributes, dtype = dict(old.attrs), old.dtype
    del group[name]
    packing: dict[str, Any] = {}
    if isinstance(values, np.ndarray) and values.dtype != object and len(values):
        chunks = (min(8192, len(values)), *values.shape[1:])
        packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": chunks}
    group.create_dataset(name, data=values, dtype=dtype, **packing).attrs.update(attributes)


def _numbers(state: npt.NDArray[np.uint8], stops: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """What the summary says of the long run and not of the short one."""
    n, n_hits, n_misses = len(state), int((state == State.HIT).sum()), int((state == State.MISS).sum())
    rate = n_hits / (n_hits + n_misses)
    parts, at = [], 0
    for first, last in (*stops, (n, n)):
        if first > at:
            parts.append({"kind": "jet running", "first": at, "last": first - 1, "hit_rate": rate, "background": 0.5})
        if first < n:
            parts.append({"kind": "jet stopped", "first": first, "last": last, "hit_rate": 0.0, "background": 0.1})
        at = last + 1
    return {
        "n_images": n,
        "n_hits": n_hits,
        "n_misses": n_misses,
        "n_unreadable": int((state == State.UNREADABLE).sum()),
        "n_missing": int((state == State.MISSING).sum()),
        "hit_rate": rate,
        "hit_rate_interval": [rate - 0.01 if rate > 0.01 else 0.0, min(rate + 0.01, 1.0)],
        "segments": {"segments": parts, "n_without_jet": sum(last + 1 - first for first, last in stops)},
    }
