"""The group hit_finding (NXprocess) that both HDF5 outputs have."""

from __future__ import annotations

import json

import h5py
import numpy as np

from hitsieve.write.columns import TEXT
from hitsieve.write.summary import Summary

_TOTALS = {
    "n_images": "images of the run",
    "n_hits": "images that are hits",
    "n_misses": "images that are misses",
    "n_unreadable": "images whose bytes cannot be decoded",
    "n_missing": "images that the run announces but that are not there",
}


def write_process(group: h5py.Group, summary: Summary) -> None:
    """Program, settings, totals, hit rate, and what the user should know.

    Parameters
    ----------
    group : h5py.Group
        /entry/hit_finding.
    summary : Summary
        The run's numbers.
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
        interval.attrs["description"] = "95 % Wilson interval (low, high) of the hit rate"
    if summary.problems:
        made = group.create_dataset("problems", data=list(summary.problems), dtype=TEXT)
        made.attrs["description"] = "what the user should know about the source and what is carried of it"


def _note(group: h5py.Group, name: str, content: object, description: str) -> None:
    note = group.create_group(name)
    note.attrs["NX_class"] = "NXnote"
    note["type"] = "application/json"
    note["description"] = description
    note["data"] = json.dumps(content, default=str)
