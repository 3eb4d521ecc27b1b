"""Whether hit information agrees with itself and with the images."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.check.images import Images
from hitsieve.check.reading import (
    FAILURES,
    at_path,
    numbers,
    shape_of,
    text_of,
    value_of,
)
from hitsieve.check.subject import Subject

STATES = {"miss": 0, "hit": 1, "unreadable": 2, "missing": 3}
_TOTALS = {"n_hits": 1, "n_misses": 0, "n_unreadable": 2, "n_missing": 3}
_BLOCK = 1 << 20
_SAME = 1e-6


def check_hits(subject: Subject, images: Images | None) -> None:
    """Check the hit information of an entry; nothing where it has none, unless only that is asked for."""
    if "hits" not in subject.sets:
        return
    groups = subject.groups("entry/hit_finding")
    if not groups:
        if tuple(subject.sets) == ("hits",):
            subject.find(
                "hits-there", f"{subject.entry.name}/hit_finding", "is absent: the file has no hit information"
            )
        return
    for group in groups:
        _HitFinding(subject, group, images).check()


class _HitFinding:
    """One group of hit information."""

    def __init__(self, subject: Subject, group: h5py.Group, images: Images | None) -> None:
        self._subject = subject
        self._group = group
        self._holds = _text(at_path(group, "holds"))
        self._totals = {name: _number(at_path(group, name)) for name in ("n_images", *_TOTALS)}
        of_run = self._totals["n_images"]
        n = images.n if images is not None and images.n >= 0 else None
        if n is None and self._holds == "all" and of_run is not None:
            n = int(of_run)
        self._lengths: dict[str, int | None] = {"images": n}
        """By what has rows: how many."""

    def check(self) -> None:
        """Check all of it."""
        self._check_totals()
        self._check_rates()
        self._check_rows()
        self._check_states()
        for name, said in self._subject.book.offsets.items():
            self._check_offsets(name, self._lengths.get(said["of"]), said["ends"])
        self._check_peaks()
        self._check_source()

    def _place(self, name: str) -> str:
        return f"{self._group.name}/{name}"

    def _check_totals(self) -> None:
        values = list(self._totals.values())
        if any(value is None for value in values):
            return
        whole, *parts = (value for value in values if value is not None)
        if whole != sum(parts) or any(part < 0 for part in parts):
            told = f"is {whole:,.0f}; hits, misses, unreadable and missing images are {sum(parts):,.0f}"
            self._subject.find("hits-totals", self._place("n_images"), told)

    def _check_rates(self) -> None:
        hits, misses = self._totals["n_hits"], self._totals["n_misses"]
        rate = _number(at_path(self._group, "hit_rate"))
        if rate is not None and hits is not None and misses is not None:
            wanted = hits / (hits + misses) if hits + misses else None
            if wanted is None or abs(rate - wanted) > _SAME:
                told = f"is {rate:.6g}, where the totals give {'none' if wanted is None else f'{wanted:.6g}'}"
                self._subject.find("hits-rate", self._place("hit_rate"), told)
        for name in ("hit_rate", "indexing_rate"):
            value = _number(at_path(self._group, name))
            interval = _values(at_path(self._group, f"{name}_interval"))
            if value is None or interval is None or len(interval) != 2:
                continue
            low, high = interval
            if not (0 <= low <= high <= 1) or not low - _SAME <= value <= high + _SAME:
                told = f"is {low:.6g} to {high:.6g}, where {name} is {value:.6g}"
                self._subject.find("hits-rate", self._place(f"{name}_interval"), told)

    def _check_rows(self) -> None:
        """Columns are as long as what they have a row for."""
        for rule in self._subject.book.places.values():
            if not rule.rows:
                continue
            path = rule.place.removeprefix("entry/hit_finding/")
            item = at_path(self._group if path != rule.place else self._subject.entry, path.removeprefix("entry/"))
            shape = shape_of(item) if isinstance(item, h5py.Dataset) else None
            if not shape or not isinstance(item, h5py.Dataset):
                continue
            # Without another measure the first column is that of the others.
            wanted = self._lengths.setdefault(rule.rows, shape[0])
            if wanted is None:
                self._lengths[rule.rows] = shape[0]
            elif shape[0] != wanted:
                told = f"has {shape[0]:,} rows, where there are {wanted:,} {rule.rows}"
                self._subject.find("hits-rows", str(item.name), told)

    def _check_states(self) -> None:
        item = at_path(self._group, "state")
        counts = np.zeros(len(STATES) + 1, dtype=np.int64)
        for _, values in _blocks(item):
            known = (values >= 0) & (values < len(STATES))
            counts[-1] += int(np.count_nonzero(~known))
            counts[:-1] += np.bincount(values[known].astype(np.int64), minlength=len(STATES))
        if counts[-1]:
            self._subject.find("hits-states", self._place("state"), f"has {counts[-1]:,} rows of no known state")
        only = {"hits": "hit", "subset": "hit", "misses": "miss"}.get(self._holds)
        others = int(counts.sum() - counts[STATES[only]]) if only else 0
        if others:
            told = f"has {others:,} rows that are no {only}, where the file holds {self._holds}"
            self._subject.find("hits-states", self._place("state"), told)
        if self._holds == "all" and isinstance(item, h5py.Dataset):
            for name, state in _TOTALS.items():
                total = self._totals[name]
                if total is not None and total != counts[state]:
                    told = f"is {total:,.0f}; {counts[state]:,} images have that state"
                    self._subject.find("hits-totals", self._place(name), told)

    def _check_offsets(self, name: str, n: int | None, ends: str) -> None:
        item = at_path(self._group, f"{name}/offsets")
        if not isinstance(item, h5py.Dataset):
            return
        place, shape = self._place(f"{name}/offsets"), shape_of(item)
        if not shape or len(shape) != 1:
            return
        if n is not None and shape[0] != n + 1:
            told = f"has {shape[0]:,} values, where there are {n:,} images"
            self._subject.find("hits-offsets", place, told)
            return
        before, first = 0.0, True
        for _, values in _blocks(item):
            if first and values[0] != 0:
                self._subject.find("hits-offsets", place, f"begins at {values[0]:.0f}")
                return
            if np.any(np.diff(np.concatenate([[before], values])) < 0):
                self._subject.find("hits-offsets", place, "falls")
                return
            before, first = float(values[-1]), False
        length = self._lengths.get(ends)
        if length is not None and length != before:
            self._subject.find("hits-offsets", place, f"ends at {before:,.0f}, where there are {length:,} {ends}")

    def _check_peaks(self) -> None:
        entry = self._subject.entry
        item, lists = at_path(entry, "MX/nPeaks"), at_path(entry, "MX/peakXPosRaw")
        shape = shape_of(lists) if isinstance(lists, h5py.Dataset) else None
        if not shape or len(shape) != 2:
            return
        wrong = sum(int(np.count_nonzero((values < 0) | (values > shape[1]))) for _, values in _blocks(item))
        if wrong:
            told = f"has {wrong:,} images with more peaks than the {shape[1]:,} that the lists have room for"
            self._subject.find("hits-peaks", f"{entry.name}/MX/nPeaks", told)

    def _check_source(self) -> None:
        """Files, rows and images that the rows name."""
        files = at_path(self._group, "source_files")
        shape = shape_of(files) if isinstance(files, h5py.Dataset) else None
        n_files = shape[0] if shape else 0
        for name, most in (("source_file", n_files), ("source_image", self._totals["n_images"])):
            item = at_path(self._group, name)
            if not isinstance(item, h5py.Dataset) or most is None:
                continue
            wrong = sum(int(np.count_nonzero((values < -1) | (values >= most))) for _, values in _blocks(item))
            if wrong:
                what = "files of the list" if name == "source_file" else "images of the run"
                told = f"has {wrong:,} rows beyond the {most:,.0f} {what}"
                self._subject.find("hits-source", self._place(name), told)
        item = at_path(self._group, "source_image")
        if item is None and self._holds in ("hits", "subset", "misses"):
            what = "some of the hits" if self._holds == "subset" else f"only {self._holds}"
            told = f"is absent, where the file holds {what}: nobody can tell which images they are"
            self._subject.find("hits-source", self._place("source_image"), told)
        before = -1.0
        for _, values in _blocks(item):
            if np.any(np.diff(np.concatenate([[before], values])) <= 0):
                self._subject.find("hits-source", self._place("source_image"), "does not rise from row to row")
                return
            before = float(values[-1])


def _blocks(item: object) -> list[tuple[int, npt.NDArray[np.float64]]] | Any:
    """Rows of a column of numbers, some at a time; none where it is no such column."""
    shape = shape_of(item) if isinstance(item, h5py.Dataset) else None
    if not isinstance(item, h5py.Dataset) or not shape or len(shape) != 1:
        return
    for start in range(0, shape[0], _BLOCK):
        try:
            values = numbers(item[start : start + _BLOCK])
        except FAILURES:
            return
        if values is None or not len(values):
            return
        yield start, values


def _values(item: object) -> npt.NDArray[np.float64] | None:
    return numbers(value_of(item)) if isinstance(item, h5py.Dataset) else None


def _number(item: object) -> float | None:
    values = _values(item)
    return float(values[0]) if values is not None and len(values) == 1 and np.isfinite(values[0]) else None


def _text(item: object) -> str:
    return (text_of(value_of(item)) or "") if isinstance(item, h5py.Dataset) else ""
