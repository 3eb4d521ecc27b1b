"""The group hit_finding (NXprocess) that both HDF5 outputs have."""

from __future__ import annotations

import json

import h5py
import numpy as np

from hitsieve.model import Run
from hitsieve.write.columns import TEXT
from hitsieve.write.summary import Summary

_TOTALS = {
    "n_images": "images of the run",
    "n_hits": "images that are hits",
    "n_misses": "images that are misses",
    "n_unreadable": "images whose bytes cannot be decoded",
    "n_missing": "images that the run announces but that are not there",
}


HITS, MISSES = "hits", "misses"


def write_contents(group: h5py.Group, images: str) -> None:
    """Say which images of the run the file holds: HITS or MISSES."""
    _described(group, "holds", images, "images of the run that are in /entry/data/data: hits or misses")


def contents_of(group: h5py.Group) -> str:
    """Which images of the run a file holds, as it says; HITS where it says nothing."""
    return str(group["holds"].asstr()[()]) if "holds" in group else HITS


def write_process(group: h5py.Group, summary: Summary, run: Run) -> None:
    """Program, settings, totals, rule, hit rate, indexing, pump states, and what the user should know.

    Parameters
    ----------
    group : h5py.Group
        /entry/hit_finding.
    summary : Summary
        The run's numbers.
    run : Run
        The source.
    """
    for name, text, about in (
        ("program", summary.program, "program that found the hits"),
        ("version", summary.version, "version of the program"),
        ("date", summary.date.isoformat(), "when the run of the program ended (UTC, ISO 8601)"),
    ):
        group.create_dataset(name, data=text).attrs["description"] = about
    _note(group, "settings", summary.settings, "all settings of the run")
    if summary.overrides:
        _note(group, "overrides", summary.overrides, "metadata that the user set, as given")
    for name, description in _TOTALS.items():
        total = group.create_dataset(name, data=np.int64(getattr(summary, name)))
        total.attrs["description"] = description
    if summary.hit_rate is not None and summary.hit_rate_interval is not None:
        rate = group.create_dataset("hit_rate", data=summary.hit_rate)
        rate.attrs["description"] = "n_hits / (n_hits + n_misses)"
        interval = group.create_dataset("hit_rate_interval", data=np.asarray(summary.hit_rate_interval))
        interval.attrs["description"] = "95 % interval (low, high) of the hit rate"
    _described(group, "rule", summary.rule.rule, "what made a hit: enough spots, a lattice (indexed), either or both")
    _described(group, "min_spots", np.int64(summary.rule.min_spots), "fewest counted spots that were enough")
    _indexing(group, summary)
    if run.pump is not None:
        made = group.create_dataset("pump_names", data=list(run.pump.names), dtype=TEXT)
        made.attrs["description"] = "names of the pump states"
        _described(group, "pump_origin", run.pump.origin, "who says which image has which pump state")
    if summary.problems:
        made = group.create_dataset("problems", data=list(summary.problems), dtype=TEXT)
        made.attrs["description"] = "what the user should know about the source and what is carried of it"


def _indexing(group: h5py.Group, summary: Summary) -> None:
    index = summary.index
    if index is None:
        return
    cell = group.create_dataset("unit_cell", data=np.asarray(index.cell.parameters, dtype=np.float64))
    cell.attrs["description"] = "cell that was looked for: a, b, c (angstrom), alpha, beta, gamma (degrees)"
    _described(group, "unit_cell_centring", index.cell.centring, "centring of the cell: P, A, B, C, I, F or R")
    _described(group, "unit_cell_origin", index.cell.origin, "who says the cell")
    if index.indexing_rate is not None and index.indexing_rate_interval is not None:
        _described(group, "indexing_rate", index.indexing_rate, "share of the hits that have a lattice")
        interval = np.asarray(index.indexing_rate_interval)
        _described(group, "indexing_rate_interval", interval, "95 % interval (low, high) of the indexing rate")


def _described(group: h5py.Group, name: str, value: object, description: str) -> None:
    group.create_dataset(name, data=value).attrs["description"] = description


def _note(group: h5py.Group, name: str, content: object, description: str) -> None:
    note = group.create_group(name)
    note.attrs["NX_class"] = "NXnote"
    note["type"] = "application/json"
    note["description"] = description
    note["data"] = json.dumps(content, default=str)
