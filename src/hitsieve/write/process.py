"""The group hit_finding (NXprocess) that both HDF5 outputs have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import h5py
import numpy as np

from hitsieve.model import Run
from hitsieve.write.columns import CELL_ANGLES, CELL_LENGTHS, TEXT
from hitsieve.write.summary import Summary

_TOTALS = {
    "n_images": "images of the run",
    "n_hits": "images that are hits",
    "n_misses": "images that are misses",
    "n_unreadable": "images whose bytes cannot be decoded",
    "n_missing": "images that the run announces but that are not there",
}


HITS, MISSES, ALL, SUBSET = "hits", "misses", "all", "subset"
DEFINITION, DEFINITION_VERSION = "NXhit_finding", "1.0"
"""Class that describes the group, in NXhit_finding.nxdl.xml beside this module."""
RESTORE = "restore"
"""Group of hit_finding with what `hitsieve restore` needs."""


def new_process(entry: h5py.Group) -> h5py.Group:
    """Make the group hit_finding.

    It is an NXprocess for NeXus, which has no NXhit_finding yet, and says by its field `definition` what it is more.
    """
    group = entry.create_group("hit_finding")
    group.attrs["NX_class"] = "NXprocess"
    _described(group, "definition", DEFINITION, "class, a proposal to NeXus, that describes this group")
    group["definition"].attrs["version"] = DEFINITION_VERSION
    return group


def restore_record(group: h5py.Group) -> h5py.Group:
    """Group of hit_finding for what only a program that gives the source back must know."""
    if RESTORE not in group:
        made = group.create_group(RESTORE)
        made.attrs["NX_class"] = "NXcollection"
        made.attrs["description"] = "what the source was like where this file differs, for hitsieve restore"
    return group[RESTORE]


def write_contents(group: h5py.Group, images: str) -> None:
    """Say which images of the run the file holds: HITS, MISSES, ALL or SUBSET."""
    described = "all, hits, misses, or a subset of the hits"
    _described(group, "holds", images, f"images of the run that are in /entry/data/data: {described}")


def write_choice(group: h5py.Group, choice: Mapping[str, object]) -> None:
    """Say how a subset of the hits was chosen, and from which file."""
    about = "how the hits of this file were chosen, and of which file, whose totals and rates these are"
    _note(group, "subset", choice, about)


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
        _interval(group, "hit_rate", summary.hit_rate_interval)
    _described(group, "rule", summary.rule.rule, "what made a hit: enough spots, a lattice (indexed), either or both")
    _described(group, "min_spots", np.int64(summary.rule.min_spots), "fewest counted spots that were enough")
    if summary.n_dropped:
        about = "images of a stream of which nothing is kept, as the user wanted; they count as misses or unreadable"
        _described(group, "n_dropped", np.int64(summary.n_dropped), about)
    if summary.veto is not None:
        _described(group, "veto", summary.veto.statement, "rule by which images were dropped before they were written")
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
    for column, values in ((CELL_LENGTHS, index.cell.parameters[:3]), (CELL_ANGLES, index.cell.parameters[3:])):
        about = f"{column.description} that was looked for"
        made = group.create_dataset(column.name, data=np.asarray(values, dtype=np.float64))
        replace(column, description=about).describe(made)
    _described(group, "unit_cell_centring", index.cell.centring, "centring of the cell: P, A, B, C, I, F or R")
    _described(group, "unit_cell_origin", index.cell.origin, "who says the cell")
    if index.indexing_rate is not None and index.indexing_rate_interval is not None:
        _described(group, "indexing_rate", index.indexing_rate, "share of the hits that have a lattice")
        _interval(group, "indexing_rate", index.indexing_rate_interval)


def _interval(group: h5py.Group, rate: str, limits: tuple[float, float]) -> None:
    name = f"{rate}_interval"
    _described(group, name, np.asarray(limits), f"interval (low, high) of {rate} at the confidence level")
    group[name].attrs["confidence_level"] = 0.95


def _described(group: h5py.Group, name: str, value: object, description: str) -> None:
    group.create_dataset(name, data=value).attrs["description"] = description


def _note(group: h5py.Group, name: str, content: object, description: str) -> None:
    note = group.create_group(name)
    note.attrs["NX_class"] = "NXnote"
    note["type"] = "application/json"
    note["description"] = description
    note["data"] = json.dumps(content, default=str)
