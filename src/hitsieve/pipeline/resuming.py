"""What was found on images is kept beside the outputs, so that a run that was cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import hitsieve
from hitsieve.model import Run
from hitsieve.pipeline.searcher import Images, Scan, Scanning
from hitsieve.pipeline.units import fingerprint, units
from hitsieve.settings import SpotSettings
from hitsieve.spots import Searched
from hitsieve.write import writing

_REASONS = "reasons"
_COLUMNS = tuple(field.name for field in fields(Searched) if field.name != _REASONS)


class FoundStore:
    """What was found on units of images, each a file of its own.

    Parameters
    ----------
    folder : Path
        Hidden folder of one run; made with the first unit.
    run : Run
    spots : SpotSettings
        What was found with other settings, on other bytes, or by another version of hitsieve is another thing.
    """

    def __init__(self, folder: Path, run: Run, spots: SpotSettings) -> None:
        told = "\n".join((hitsieve.__version__, fingerprint(run), spots.model_dump_json(), _changed(run)))
        self.folder = folder
        self._mine = folder / hashlib.sha256(told.encode()).hexdigest()[:32]

    def get(self, images: Images) -> Searched | None:
        """What was found on these images; None where that is not known."""
        try:
            with np.load(self._place(images), allow_pickle=False) as file:
                reasons = {int(image): why for image, why in json.loads(str(file[_REASONS])).items()}
                found = Searched(reasons=reasons, **{name: file[name] for name in _COLUMNS})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # Absent, or cut off where the machine died: it is searched again.
            return None
        return found if len(found) == len(images) else None

    def put(self, images: Images, found: Searched) -> None:
        """Keep what was found on these images.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        columns = {name: getattr(found, name) for name in _COLUMNS}
        columns[_REASONS] = np.array(json.dumps(found.reasons))
        place = self._place(images)
        with writing(self._mine):
            try:
                self._write(place, columns)
            except FileNotFoundError:
                # Another run of this name has ended, and removed all.
                self._write(place, columns)

    def _write(self, place: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        self._mine.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{place.stem}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **columns)
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all: the outputs are there."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _place(self, images: Images) -> Path:
        return self._mine / f"{hashlib.sha256(images.tobytes()).hexdigest()[:32]}.npz"


def resumed(scan: Scan, store: FoundStore) -> Scan:
    """A scan that gives what is known from a store, has the rest searched by `scan`, and puts it into the store."""

    def begin(run: Run, images: Images) -> Scanning:
        return _Resumed(run, images, scan, store)

    return begin


class _Resumed:
    def __init__(self, run: Run, images: Images, scan: Scan, store: FoundStore) -> None:
        self._run, self._images, self._scan, self._store = run, images, scan, store
        self._inner: Scanning | None = None
        self._parts = self._found()

    def __iter__(self) -> Iterator[Searched]:
        return self

    def __next__(self) -> Searched:
        return next(self._parts)

    def close(self) -> None:
        """Stop whoever searches."""
        self._parts.close()
        if self._inner is not None:
            self._inner.close()

    def _found(self) -> Generator[Searched, None, None]:
        known = ((part, self._store.get(self._images[part])) for part in units(self._run, self._images))
        for is_known, parts in groupby(known, key=lambda one: one[1] is not None):
            if is_known:
                yield from (found for _, found in parts if found is not None)
            else:
                yield from self._searched([part for part, _ in parts])

    def _searched(self, parts: list[slice]) -> Iterator[Searched]:
        """Consecutive units, searched in one go."""
        self._inner = self._scan(self._run, self._images[parts[0].start : parts[-1].stop])
        rest: list[Searched] = []
        for part in parts:
            n = part.stop - part.start
            while sum(map(len, rest)) < n:
                rest.append(next(self._inner))
            whole = Searched.joined(rest)
            found, rest = whole.part(0, n), [whole.part(n, len(whole))] if len(whole) > n else []
            # What a file system that has gone for a while made unreadable is tried again.
            if not any(found.reasons.values()):
                self._store.put(self._images[part], found)
            yield found
        self._inner.close()
        self._inner = None


def _changed(run: Run) -> str:
    """Sizes and times of the files, as far as they are there."""
    told = []
    for file in run.files:
        try:
            stat = file.path.stat()
        except OSError:
            told.append(f"{file.path} -")
        else:
            told.append(f"{file.path} {stat.st_size} {stat.st_mtime_ns}")
    return "\n".join(told)
