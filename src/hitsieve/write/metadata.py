"""Carries the metadata of a source into an output: groups, datasets, attributes and links."""

from __future__ import annotations

import errno
import posixpath
import re
from pathlib import Path

import h5py
import numpy as np

from hitsieve.model import Problem, Run
from hitsieve.write.atomic import error_number
from hitsieve.write.attributes import copy_attributes
from hitsieve.write.perimage import PerImageArray, is_per_image
from hitsieve.write.places import open_source

_DATA_LINK = re.compile(r"data_\d+")
_DEEPEST = 64
OWN_GROUPS = ("MX", "hit_finding")
"""Groups of the entry that the outputs write; the source's own are kept as MX_source and hit_finding_source."""
_NOT_IMAGES = frozenset(
    {
        *("spots", "lattices", "audit", "rest", "restore"),
        *("hit_rate_interval", "indexing_rate_interval", "pump_names", "problems", "reason_image", "reason_text"),
        *("source_files", "source_datasets", "source_paths"),
    }
)
"""Members of an earlier hit_finding whose rows are spots, lattices, misses, files or limits, however many there are."""
_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


def entry_of(handle: h5py.File) -> str:
    """Path of the file's first NXentry, or of /entry."""
    for name in handle:
        found = handle.get(name) if isinstance(name, str) else None
        if isinstance(found, h5py.Group) and _text(found.attrs.get("NX_class")) == "NXentry":
            return f"/{name}"
    return "/entry"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class MetadataCarrier:
    """Copies everything of a run's HDF5 files but the images.

    Per-image arrays are not copied but listed in `arrays`, so that they can be cut once the hits are known. Links to
    the images (`data_000001`, ...) are left out. External links and virtual datasets become real data.

    Parameters
    ----------
    run : Run
        The source.
    output : h5py.File
        Where the metadata go.
    """

    def __init__(self, run: Run, output: h5py.File) -> None:
        self.arrays: list[PerImageArray] = []
        self.problems: list[Problem] = []
        self.image_paths: list[str] = []
        """Places where the source shows its images."""
        self.aliases: list[tuple[str, str]] = []
        """Second names of per-image arrays: (path of the array, other path)."""
        self.renamed: dict[str, str] = {}
        """Names in the source of members of the entry that have another one in the output."""
        self._run = run
        self._output = output
        self._images = {(file.path.resolve(), "/" + file.dataset.strip("/")) for file in run.files}
        self._image_datasets = {dataset for _, dataset in self._images}
        self._image_ids: set[tuple[int, int]] = set()
        self._seen: dict[tuple[int, int], str] = {}
        self._source: h5py.File
        self._entry = "/entry"
        self._n_rows = len(run)
        self._own_rows = False

    def carry(self) -> None:
        """Copy the metadata of the master, then what only the data files have."""
        run = self._run
        master = run.path.resolve()
        own = next((file for file in run.files if file.path.resolve() == master), None)
        if own is None:
            self._carry_file(run.path, len(run), own_rows=False)
        else:
            self._carry_file(own.path, own.n_images, own_rows=True)
        others = [file for file in run.files if file.path.resolve() != master and file.path.exists()]
        if others:
            longest = max(others, key=lambda file: file.n_images)
            self._carry_file(longest.path, longest.n_images, own_rows=True)

    def _carry_file(self, path: Path, n_rows: int, *, own_rows: bool) -> None:
        self._n_rows, self._own_rows = n_rows, own_rows
        self._seen.clear()
        try:
            self._source = open_source(path)
        except OSError as error:
            self.problems.append(Problem(str(path), f"its metadata cannot be read: {error}"))
            return
        with self._source:
            self._entry = entry_of(self._source)
            own = path.resolve()
            shown = (self._source.get(name) for file, name in self._images if file == own)
            self._image_ids = {_identity(item) for item in shown if item is not None}
            self._group(self._source["/"], self._output["/"], 0)

    def _group(self, source: h5py.Group, target: h5py.Group, depth: int) -> None:
        there = target.name
        self._seen.setdefault(_identity(source), there)
        for name in copy_attributes(source, target):
            self._lose(f"{source.name}@{name}", "the attribute cannot be copied")
        if depth > _DEEPEST:
            self._lose(source.name, "groups are nested too deep")
            return
        for name in source:
            if not isinstance(name, str):
                self._lose(posixpath.join(there, name.decode("utf-8", "replace")), "its name is not UTF-8")
                continue
            try:
                link = source.get(name, getlink=True)
                item = source.get(name)
            except (KeyError, OSError, RuntimeError) as error:
                if not _DATA_LINK.fullmatch(name):
                    self._lose(posixpath.join(there, name), f"cannot be opened: {error}")
                continue
            free = self._free_name(source, name)
            self._item(item, link, target, (free, posixpath.join(there, free)), depth)

    def _free_name(self, source: h5py.Group, name: str) -> str:
        """Name in the output: groups that the output writes itself get out of the way."""
        if name not in OWN_GROUPS or source.name != self._entry:
            return name
        before = name
        while name in source:
            name += "_source"
        self.renamed[name] = before
        return name

    def _item(
        self, item: h5py.HLObject | None, link: object, target: h5py.Group, place: tuple[str, str], depth: int
    ) -> None:
        """Carry a member of a group to its place: its name in the target, and its path."""
        name, path = place
        if item is None:
            self._broken(link, target, place)
            return
        identity = _identity(item)
        if isinstance(item, h5py.Dataset) and self._shows_images(item, identity):
            self.image_paths.append(path)
        elif isinstance(link, h5py.SoftLink) and item.file.filename == self._source.filename:
            if name not in target:
                target[name] = h5py.SoftLink(link.path)
        elif (known := self._seen.get(identity)) is not None:
            self._second_name(known, target, place)
        elif isinstance(item, h5py.Group):
            made = target[name] if name in target else target.create_group(name)
            if isinstance(made, h5py.Group):
                self._group(item, made, depth + 1)
        elif name not in target:
            self._seen[identity] = path
            self._leaf(item, target, place)

    def _broken(self, link: object, target: h5py.Group, place: tuple[str, str]) -> None:
        name, path = place
        if isinstance(link, h5py.SoftLink):
            if name not in target:
                target[name] = h5py.SoftLink(link.path)
        elif not _DATA_LINK.fullmatch(name):
            self._lose(path, "the link leads nowhere")

    def _second_name(self, known: str, target: h5py.Group, place: tuple[str, str]) -> None:
        name, path = place
        if name in target:
            return
        if known in self._output:
            target[name] = self._output[known]
        else:
            self.aliases.append((known, path))

    def _leaf(self, item: h5py.HLObject, target: h5py.Group, place: tuple[str, str]) -> None:
        name, path = place
        if isinstance(item, h5py.Dataset) and self._is_old_audit(item, path):
            self._lose(path, "images that an earlier hit finding kept are not copied; the source still has them")
            return
        if isinstance(item, h5py.Dataset) and self._is_per_image(item):
            if all(array.target != path for array in self.arrays):
                self.arrays.append(self._array(item, path))
            return
        try:
            if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
                made = target.create_dataset(name, data=item[()], dtype=item.dtype)
                copy_attributes(item, made)
            else:
                h5py.h5o.copy(item.id, b".", target.id, name.encode())
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, (OSError, RuntimeError)) and error_number(error) in _WRITE_ERRORS:
                raise
            self._lose(path, f"cannot be copied: {error}")

    def _is_per_image(self, item: h5py.Dataset) -> bool:
        # A field of length one of a run of one image is as good as a constant.
        if len(self._run) < 2 or (self._n_rows == 1 and "vector" in item.attrs):
            return False
        earlier = posixpath.join(self._entry, "hit_finding", "")
        if item.name.startswith(earlier) and item.name.removeprefix(earlier).partition("/")[0] in _NOT_IMAGES:
            return False
        return is_per_image(item, self._n_rows, self._run.detector.shape)

    def _array(self, item: h5py.Dataset, path: str) -> PerImageArray:
        images = self._run.images
        if self._own_rows:
            files = tuple(file.path for file in self._run.files)
            return PerImageArray(path, files, item.name, images.file, images.row)
        n = len(images)
        return PerImageArray(
            path, (Path(item.file.filename),), item.name, np.zeros(n, np.int32), np.arange(n, dtype=np.int64)
        )

    def _shows_images(self, item: h5py.Dataset, identity: tuple[int, int]) -> bool:
        if identity in self._image_ids:
            return True
        # To find out where a file really lies takes longer than all else here.
        if item.name in self._image_datasets and (Path(item.file.filename).resolve(), item.name) in self._images:
            return True
        if item.ndim != 3 or tuple(item.shape[1:]) != self._run.detector.shape:
            return False
        if not item.is_virtual:
            return False
        return any("/" + source.dset_name.strip("/") in self._image_datasets for source in item.virtual_sources())

    def _is_old_audit(self, item: h5py.Dataset, path: str) -> bool:
        """Whether these are images in the hit_finding of a source that is an output itself."""
        inside = path.startswith(posixpath.join(self._entry, "hit_finding_source"))
        return inside and item.ndim == 3 and tuple(item.shape[1:]) == self._run.detector.shape

    def _lose(self, path: str, what: str) -> None:
        self.problems.append(Problem(f"{self._source.filename}:{path}", what))


def _identity(item: h5py.HLObject) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr
