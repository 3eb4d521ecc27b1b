"""Rebuilds the original series of a run from its files of hits and misses."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.write.atomic import OutputFiles, writing
from hitsieve.write.attributes import copy_attributes
from hitsieve.write.chunks import clone_dataset
from hitsieve.write.counts import restore_counts
from hitsieve.write.hashing import Hasher
from hitsieve.write.keptrun import IN_HITS, IN_MISSES, IN_REST, KeptRun
from hitsieve.write.metadata import OWN_GROUPS, entry_of
from hitsieve.write.perimage import OpenFiles, PerImageArray, Target, write_array
from hitsieve.write.process import RESTORE
from hitsieve.write.stream import OutputStream
from hitsieve.write.tree import TreeCopy
from hitsieve.write.virtual import Mosaic, SourceArray, absent_value, virtual_dataset

Step = Callable[[int, int], None]
_BLOCK = 64
"""Images between two looks at their hashes."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restored file holds, and what of it is proven."""

    path: Path
    n_images: int
    """Images of the run, in the original order."""
    n_proven: int
    """Stored images, each equal to the SHA-256 that was recorded when the run was sieved."""
    n_verbatim: int
    """Those of them whose chunk is that of the original, byte by byte; the others were packed anew, without loss."""
    n_unreadable: int
    """Those of them that cannot be decoded, as they could not be then."""
    n_missing: int
    """Images that were missing then: they read as the fill value."""
    n_lost: int
    """Unreadable images without a chunk that this file could hold; they read as the fill value too."""
    virtual: bool


def restore_run(
    kept: KeptRun, target: Path, *, virtual: bool = False, overwrite: bool = False, step: Step | None = None
) -> Restored:
    """Write the original series as one NXmx file, whole or not at all.

    Parameters
    ----------
    kept : KeptRun
    target : Path
        File to write.
    virtual : bool
        Show the images of the two files as one virtual dataset, instead of copying them.
    overwrite : bool
        Replace the file if it exists.
    step : callable, optional
        Called with the number of images done and of all.

    Raises
    ------
    VerificationError
        A stored image does not agree with its SHA-256.
    SourceError
        One of the files is damaged.
    OutputError
        The file exists, or cannot be written.
    """
    inputs = [part.path for part in kept.parts]
    with OutputFiles((target,), overwrite=overwrite, inputs=inputs) as files:
        stream = files.open(target)
        try:
            with h5py.File(stream, "w") as output:
                restored = _write(kept, Target(output, stream, target.parent), target, virtual=virtual, step=step)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            files.check(target)
            raise _unreadable(kept, error) from error
    return restored


@contextmanager
def restored_metadata(kept: KeptRun, folder: Path) -> Iterator[h5py.File]:
    """Give the original series without its images, in a nameless file of a folder, for a `with` statement.

    Raises
    ------
    SourceError
        One of the files is damaged.
    OutputError
        The folder cannot be written.
    """
    aside = folder / f".{kept.hits.path.stem}.{secrets.token_hex(4)}.tmp"
    with writing(aside):
        stream = OutputStream(aside)
        aside.unlink()
    with closing(stream), h5py.File(stream, "w") as output:
        try:
            _write_metadata(kept, Target(output, stream, folder), virtual=False)
            _empty_images(kept, Target(output, stream, folder))
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            with writing(aside):
                stream.check()
            raise _unreadable(kept, error) from error
        yield output


def _unreadable(kept: KeptRun, error: Exception) -> SourceError:
    hits, misses = (part.path for part in kept.parts)
    reason = " ".join(str(error).split())
    return SourceError(f"{hits} or {misses}: cannot be read: {reason}", mend="copy the files again from a backup")


def _write_metadata(kept: KeptRun, target: Target, *, virtual: bool) -> None:
    original = _Original(kept)
    tree = TreeCopy(kept.hits.file, target.output, left_out=original.left_out, rows=original.rows, place=original.place)
    tree.copy()
    _write_rows(kept, original, target, virtual=virtual)
    tree.name_again()
    restore_counts(kept.hits.process, target.output)


def _write(kept: KeptRun, target: Target, path: Path, *, virtual: bool, step: Step | None) -> Restored:
    _write_metadata(kept, target, virtual=virtual)
    data = _virtual_images(kept, target) if virtual else _empty_images(kept, target)
    proven = _prove(kept, None if virtual else data, target.stream, step)
    placed = np.zeros(0, dtype=np.int64) if virtual else proven[np.isin(proven, kept.unreadable)]
    stored = proven[~np.isin(proven, kept.unreadable)]
    return Restored(
        path=path,
        n_images=len(kept),
        n_proven=len(stored) + len(placed),
        n_verbatim=sum(kept.is_verbatim(image) for image in stored.tolist()) + len(placed),
        n_unreadable=len(placed),
        n_missing=len(kept.missing),
        n_lost=len(kept.unreadable) - len(placed),
        virtual=virtual,
    )


class _Original:
    """What the files have of the run as a whole, without what hitsieve added, and the original names of it."""

    def __init__(self, kept: KeptRun) -> None:
        part = kept.hits
        entry = entry_of(part.file)
        self.rows = part.texts(f"{RESTORE}/per_image")
        """Paths, in the files, of arrays with a row an image."""
        now_and_before = (part.texts(f"{RESTORE}/{name}") for name in ("renamed", "renamed_from"))
        renamed = zip(*now_and_before, strict=True)
        self._renamed = {f"{entry}/{now}": f"{entry}/{before}" for now, before in renamed}
        own = {f"{entry}/{name}" for name in OWN_GROUPS} | {f"{entry}/data/data"}
        self.left_out = {*own, *part.texts(f"{RESTORE}/added")}

    def place(self, path: str) -> str:
        """Original path of an object."""
        for now, before in self._renamed.items():
            if path == now or path.startswith(f"{now}/"):
                return before + path[len(now) :]
        return path


def _write_rows(kept: KeptRun, original: _Original, target: Target, *, virtual: bool) -> None:
    """Join the arrays with a row an image, in the original order."""
    # What is made is like the first of the files: that with the most rows has the chunks nearest to the source's.
    order = sorted((IN_HITS, IN_MISSES, IN_REST), key=lambda place: -int(np.count_nonzero(kept.where == place)))
    aside = f"{kept.misses.process.name}/rest/metadata"
    paths = {IN_HITS: kept.hits.path, IN_MISSES: kept.misses.path, IN_REST: kept.misses.path}
    file = np.array([order.index(place) for place in range(3)], dtype=np.int32)[kept.where]
    every = np.arange(len(kept), dtype=np.int64)
    with OpenFiles() as opened:
        for path in original.rows:
            array = PerImageArray(
                target=original.place(path),
                files=tuple(paths[place] for place in order),
                dataset=path,
                file=file,
                row=kept.row,
                datasets=tuple(aside + path if place == IN_REST else path for place in order),
            )
            # Rows that are absent were so in the source: they hold the same fill value in either file.
            write_array(array, target, None if virtual else every, opened)


def _empty_images(kept: KeptRun, target: Target) -> h5py.Dataset:
    """Make a dataset like those of the files, with room for all images; images that are not written stand out."""
    data = kept.hits.data
    group = target.output[posixpath.dirname(data.name)]
    made = clone_dataset(group, data, data.shape[1:], fill=absent_value(data.dtype))
    made.resize(len(kept), axis=0)
    return made


def _virtual_images(kept: KeptRun, target: Target) -> h5py.Dataset:
    data = kept.hits.data
    sources = [SourceArray(part.path, part.data.name, part.data.shape) for part in kept.parts]
    row = np.where(kept.where == IN_REST, -1, kept.row)
    mosaic = Mosaic(sources, kept.where.astype(np.int32), row, data.dtype, data.shape[1:])
    made = virtual_dataset(target.output, data.name, mosaic, target.folder)
    copy_attributes(data, made)
    return made


def _prove(kept: KeptRun, data: h5py.Dataset | None, stream: OutputStream, step: Step | None) -> npt.NDArray[np.int64]:
    """Hash each stored image, and write it where there is a dataset for it; gives those that agree, which all must.

    Raises
    ------
    VerificationError
        One does not agree.
    """
    hasher, proven, n_proven = Hasher(), np.zeros(len(kept), dtype=np.bool_), 0
    try:
        for start in range(0, len(kept), _BLOCK):
            images, recorded = [], []
            for image in range(start, min(start + _BLOCK, len(kept))):
                found = kept.stored(image)
                if found is None:
                    continue
                stored, sha256 = found
                if data is not None:
                    data.id.write_direct_chunk((image, 0, 0), stored)
                    stream.check()
                hasher.add(stored)
                images.append(image)
                recorded.append(sha256)
            _check(kept, images, hasher.digests(n_proven) == np.array(recorded, dtype="S64"))
            proven[images] = True
            n_proven += len(images)
            if step is not None:
                step(min(start + _BLOCK, len(kept)), len(kept))
    except BaseException:
        hasher.abandon()
        raise
    hasher.close()
    return np.flatnonzero(proven)


def _check(kept: KeptRun, images: list[int], agree: npt.NDArray[np.bool_]) -> None:
    """Raise VerificationError where the hash of an image is not that recorded."""
    for image, same in zip(images, agree.tolist(), strict=True):
        if not same:
            raise kept.damaged(image, "it does not agree with its SHA-256")
