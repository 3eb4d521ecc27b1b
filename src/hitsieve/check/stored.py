"""The data sets that store images, behind links and virtual data sets: there, written, and readable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hitsieve.check.decoding import why_not_decoded
from hitsieve.check.findings import legible
from hitsieve.check.reading import FAILURES, at_path, locate, shape_of, short, why_not_there
from hitsieve.check.subject import Subject

DEEPEST = 8
"""Virtual data sets that show virtual data sets, at most."""
DECODED = 32
"""Files of a run of which images are decoded, evenly chosen."""


def evenly(n: int) -> set[int]:
    """At most DECODED numbers below n, the first and the last among them."""
    return {int(number) for number in np.linspace(0, n - 1, min(n, DECODED)).round()} if n else set()


@dataclass(frozen=True, slots=True)
class _Shown:
    """A mapping of a virtual data set.

    The mappings of HDF5 are let go: h5py looks at every open object whenever a file is closed.
    """

    file: str
    dataset: str
    shape: tuple[int, ...]
    """Of the source, as stated; nothing where it is shown whole."""
    points: int
    """Pixels that are shown."""

    @classmethod
    def all(cls, item: h5py.Dataset) -> list[_Shown] | None:
        """All of a data set; None for one that is not virtual."""
        if not item.is_virtual:
            return None
        return [
            cls(s.file_name, s.dset_name, tuple(s.src_space.shape), int(s.vspace.get_select_npoints()))
            for s in item.virtual_sources()
        ]


class StoredImages:
    """Checks data sets of images down to the files that store them; only one file a level is open at a time."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._done: set[tuple[str, str]] = set()

    def check(self, place: str, item: h5py.Dataset, *, decode: bool, depth: int = 0) -> None:
        """Check one data set of images.

        Parameters
        ----------
        place : str
            What findings call it.
        item : h5py.Dataset
            The data set; a virtual one is followed to its sources.
        decode : bool
            Whether the first and the last of its images are to be decoded.
        depth : int
            Virtual data sets that lead to it.
        """
        self._subject.step()
        try:
            key = (str(item.file.filename), str(item.name))
            sources = _Shown.all(item)
            outside = [name for name, _, _ in item.external or ()]
        except FAILURES as error:
            self._subject.find("images", place, f"its layout cannot be read: {short(error)}")
            return
        if sources is not None and depth > DEEPEST:
            self._subject.find("sources", place, "is a virtual data set that shows itself")
        elif sources is not None:
            self._check_covered(place, item, sources)
            self._follow(place, item, sources, depth)
        elif key not in self._done:
            self._done.add(key)
            self._check_outside(place, item, outside)
            self._check_written(place, item)
            if decode:
                self._decode(place, item)

    def _follow(self, place: str, item: h5py.Dataset, sources: list[_Shown], depth: int) -> None:
        # One whose files are named by a pattern is left to HDF5.
        first = {(shown.file, shown.dataset): shown for shown in sources if "%" not in shown.file.replace("%%", "")}
        chosen = evenly(len(first))
        for number, ((name, dataset), source) in enumerate(sorted(first.items(), key=lambda one: one[0])):
            with self._source(place, item, name, dataset) as found:
                if found is None:
                    continue
                inner = place if name == "." else f"{place} ({Path(name).name}:{dataset})"
                self._check_extent(place, source, found)
                self.check(inner, found, decode=number in chosen, depth=depth + 1)

    @contextmanager
    def _source(self, place: str, item: h5py.Dataset, name: str, dataset: str) -> Iterator[h5py.Dataset | None]:
        """Open a source of a virtual data set; None, and told, where it is not there."""
        file = item.file if name == "." else self._opened(place, locate(name, Path(item.file.filename)), name)
        if file is None:
            yield None
            return
        try:
            found = at_path(file["/"], dataset)
            if not isinstance(found, h5py.Dataset) or shape_of(found) is None:
                told = f"shows {legible(dataset)} of {legible(name)}, which has no such data set"
                self._subject.find("sources", place, told)
                found = None
            yield found
        finally:
            if name != ".":
                file.close()

    def _opened(self, place: str, path: Path, name: str) -> h5py.File | None:
        why = why_not_there(path)
        if not why:
            try:
                return h5py.File(path, "r", locking=False)
            except FAILURES as error:
                why = f"HDF5 cannot open ({short(error)})"
        self._subject.find("sources", place, f"shows images of {legible(name)}, which {why}")
        return None

    def _check_covered(self, place: str, item: h5py.Dataset, sources: list[_Shown]) -> None:
        """Count images that no source stands for."""
        shape = shape_of(item) or ()
        points = sum(shown.points for shown in sources)
        size = int(np.prod(shape, dtype=object)) if shape else 0
        if points < size:
            pixels = max(int(np.prod(shape[1:], dtype=object)), 1)
            lost = -(-(size - points) // pixels)
            self._subject.find("written", place, f"{lost:,} of {shape[0]:,} images have no source")

    def _check_extent(self, place: str, source: _Shown, found: h5py.Dataset) -> None:
        """Compare what a mapping says of its source with the source."""
        real, stated = shape_of(found) or (), source.shape
        # A source that is shown whole is stored without its shape.
        if not stated:
            fits, told = source.points <= int(np.prod(real, dtype=object)), f"{source.points:,} pixels"
        else:
            fits = len(stated) == len(real) and stated[1:] == real[1:] and stated[0] <= real[0]
            told = by(stated)
        if not fits:
            what = f"shows {told} of {legible(source.file)}, which has {by(real)}"
            self._subject.find("sources", place, what)

    def _check_outside(self, place: str, item: h5py.Dataset, names: list[str]) -> None:
        here = Path(item.file.filename)
        for name in names:
            why = why_not_there(locate(name, here))
            if why:
                self._subject.find("sources", place, f"stores its images in {legible(name)}, which {why}")

    def _check_written(self, place: str, item: h5py.Dataset) -> None:
        """Count images that were never written."""
        try:
            shape, chunks = shape_of(item) or (), item.chunks
            if 0 in shape or item.external:
                return
            if chunks is None:
                if item.id.get_storage_size() == 0:
                    self._subject.find("written", place, f"none of its {shape[0]:,} images was ever written")
                return
            whole = int(np.prod([-(-n // c) for n, c in zip(shape, chunks, strict=True)], dtype=object))
            there = int(item.id.get_num_chunks())
        except FAILURES as error:
            self._subject.find("images", place, f"its index of chunks cannot be read: {short(error)}")
            return
        if there < whole:
            one_each = len(shape) == 3 and chunks == (1, *shape[1:])
            what = "images were" if one_each else "parts (chunks) were"
            self._subject.find("written", place, f"{whole - there:,} of {whole:,} {what} never written")

    def _decode(self, place: str, item: h5py.Dataset) -> None:
        """Decode the first and the last image."""
        shape = shape_of(item) or ()
        if 0 in shape or not shape:
            return
        n = shape[0] if len(shape) > 2 else 1
        for image in dict.fromkeys((0, n - 1)):
            why = why_not_decoded(item, image)
            if why:
                self._subject.find("images", place, f"image {image:,} cannot be read: {legible(why)}")
                return


def by(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return " x ".join(f"{n:,}" for n in shape)
