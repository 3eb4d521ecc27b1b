"""Groups, attributes, links and datasets of one HDF5 file in another one."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection

import h5py

from hitsieve.write.attributes import copy_attributes


def _same(path: str) -> str:
    return path


class TreeCopy:
    """Copies what a file holds, but for the datasets that others write, and gives objects all the names they had.

    Parameters
    ----------
    source, output : h5py.File
    left_out : collection of str
        Paths of what is not copied.
    rows : collection of str
        Paths of datasets that others write, at the place that they have.
    place : callable, optional
        Gives the path that an object has in the output; the same by default.
    """

    def __init__(
        self,
        source: h5py.File,
        output: h5py.File,
        *,
        left_out: Collection[str],
        rows: Collection[str],
        place: Callable[[str], str] = _same,
    ) -> None:
        self._source, self._output = source, output
        self._left_out, self._rows, self._place = frozenset(left_out), frozenset(rows), place
        self._seen: dict[tuple[int, int], str] = {}
        self._names: list[tuple[str, str]] = []

    def copy(self) -> None:
        """Copy everything but the datasets that others write."""
        self._group(self._source["/"], self._output["/"])

    def name_again(self) -> None:
        """Give objects with several names the others, once all are there."""
        for known, other in self._names:
            if known in self._output and other not in self._output:
                self._output[other] = self._output[known]

    def _group(self, source: h5py.Group, target: h5py.Group) -> None:
        copy_attributes(source, target)
        for name in source:
            path = posixpath.join(source.name, name)
            if path in self._left_out:
                continue
            place = self._place(path)
            link = source.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                self._output[place] = h5py.SoftLink(link.path)
                continue
            item = source[name]
            info = h5py.h5o.get_info(item.id)
            known = self._seen.setdefault((info.fileno, info.addr), place)
            if known != place:
                self._names.append((known, place))
            elif isinstance(item, h5py.Group):
                self._group(item, self._output.create_group(place))
            elif path not in self._rows:
                h5py.h5o.copy(source.id, name.encode(), self._output.id, place.encode())
