"""Whether every image of a source is in its files of hits and misses, byte by byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from hitsieve.errors import HitsieveError
from hitsieve.model import Run
from hitsieve.write.chunks import filters_of
from hitsieve.write.hashing import Hasher
from hitsieve.write.keptrun import IN_HITS, IN_MISSES, KeptRun
from hitsieve.write.onepass import MOST, pass_over
from hitsieve.write.places import open_source
from hitsieve.write.sameness import ImageReader, Packing, packed_as

Step = Callable[[int, int], None]
Take = Callable[[int, bytes, bytes], None]
_BLOCK = 64


@dataclass(slots=True)
class Compared:
    """What was compared of the images, and what speaks against it."""

    n_bytes: int = 0
    """Images whose stored bytes are those of the source."""
    n_pixels: int = 0
    """Images that were packed anew: their pixels are those of the source."""
    n_missing: int = 0
    """Images that neither the source nor the files have."""
    failures: list[str] = field(default_factory=list)
    """In words."""
    packings: dict[int, Packing | None] = field(default_factory=dict)
    """Type and filters of each file of the source that was met."""
    digest: str = ""
    """SHA-256 over the SHA-256 (hexadecimal, in the order of the run) of what is stored of each image."""
    files: list[str] = field(default_factory=list)
    """SHA-256 (hexadecimal) of the files of hits and misses, as they were read; empty where that is not known."""


def compare_images(kept: KeptRun, source: ImageReader, step: Step | None = None) -> Compared:
    """Read every image from the kept files and from the source, compare them, and hash what is kept.

    Parameters
    ----------
    kept : KeptRun
        As many images as the source.
    source : ImageReader
        The run, opened with no settings.
    step : callable, optional
        Called with the number of images compared and of all.

    Raises
    ------
    VerificationError
        A kept image cannot be read.
    """
    found, told = Compared(), _Told(step, len(kept))
    hashes = np.zeros(len(kept), dtype="S64")
    left = np.ones(len(kept), dtype=np.bool_)
    for part in kept.parts:
        passed = pass_over(part, source.run, found.packings, told)
        hashes[passed.images], left[passed.images] = passed.hashes, False
        found.n_bytes += len(passed.images)
        found.files.append(passed.sha256)
    _one_by_one(kept, source, np.flatnonzero(left), (found, hashes), told)
    found.digest = hashlib.sha256(hashes[hashes != b""].tobytes()).hexdigest()
    return found


class _Told:
    """Tells whoever wants to know how far it is."""

    def __init__(self, step: Step | None, n: int) -> None:
        self._step, self._n, self._done = step, n, 0

    def __call__(self, n: int) -> None:
        self._done += n
        if self._step is not None:
            self._step(self._done, self._n)


def _one_by_one(
    kept: KeptRun,
    source: ImageReader,
    images: npt.NDArray[np.int64],
    to: tuple[Compared, npt.NDArray[np.bytes_]],
    told: _Told,
) -> None:
    """Compare some images, each by itself, and say what is wrong with them; also sets the hash of each."""
    found, hashes = to
    hasher, done = Hasher(), 0
    try:
        for start in range(0, len(images), _BLOCK):
            these = images[start : start + _BLOCK].tolist()
            hashed: list[tuple[int, bytes]] = []
            take = partial(_take, hasher, hashed)
            why = {image: _image(kept, source, image, found, take) for image in these}
            digests = hasher.digests(done)
            done += len(digests)
            for (image, recorded), now in zip(hashed, digests.tolist(), strict=True):
                if now != recorded:
                    why[image] = "what is kept of it does not agree with its SHA-256"
                hashes[image] = now
            found.failures += [f"image {image}: {text}" for image, text in why.items() if text]
            told(len(these))
            if len(found.failures) >= MOST:
                break
    except BaseException:
        hasher.abandon()
        raise
    hasher.close()


def _take(hasher: Hasher, hashed: list[tuple[int, bytes]], image: int, stored: bytes, recorded: bytes) -> None:
    hasher.add(stored)
    hashed.append((image, recorded))


def _image(kept: KeptRun, source: ImageReader, image: int, found: Compared, take: Take) -> str:
    """Compare one image; why it is not proven, nothing where it is."""
    if kept.where[image] in (IN_HITS, IN_MISSES):
        stored = kept.stored(image)
        if stored is not None:
            take(image, *stored)
            return _stored(kept, source, image, stored[0], found)
    absent = source.run.images.missing.get(image)
    if not kept.is_missing(image):
        return _salvaged(kept, source, image, found, take) if absent is None else f"is not in the source: {absent}"
    if absent is None:
        return "was missing when the run was sieved, and is in the source now"
    found.n_missing += 1
    return ""


def _salvaged(kept: KeptRun, source: ImageReader, image: int, found: Compared, take: Take) -> str:
    """Compare the bytes of an image that cannot be decoded."""
    held, recorded = kept.salvaged(image)
    if not held:
        return "cannot be decoded, and its bytes are not in the misses file"
    take(image, held, recorded)
    if source.salvaged(image) != held:
        return "cannot be decoded, and its bytes are not those in the misses file"
    found.n_bytes += 1
    return ""


def _stored(kept: KeptRun, source: ImageReader, image: int, stored: bytes, found: Compared) -> str:
    try:
        if kept.is_verbatim(image):
            if source.chunk(image) != stored:
                return "its stored bytes are not those of the source"
            number = int(source.run.images.file[image])
            if number not in found.packings:
                found.packings[number] = packed_as(source.run, number)
            # The same bytes are other pixels where type or filters are not the same.
            if found.packings[number] != (kept.hits.data.dtype, filters_of(kept.hits.data)):
                return "its stored bytes are not packed as those of the source"
            found.n_bytes += 1
        elif np.array_equal(kept.pixels(image), source.pixels(image)):
            found.n_pixels += 1
        else:
            return "its pixels are not those of the source"
    except HitsieveError as error:
        return f"could not be compared: {error.what}"
    return ""


def damaged_sample(kept: KeptRun) -> Iterator[str]:
    """Images of the audit sample that do not agree with their SHA-256."""
    sample = kept.hits.process.get("audit")
    if sample is None:
        return
    images = sample["source_image"][()].tolist()
    for row, (image, recorded) in enumerate(zip(images, sample["sha256"][()].tolist(), strict=True)):
        try:
            stored = sample["data"].id.read_direct_chunk((row, 0, 0))[1]
        except (OSError, RuntimeError, ValueError):
            stored = b""
        if hashlib.sha256(stored).hexdigest().encode("ascii") != recorded:
            yield f"{kept.hits.path}: image {image}, in the sample of misses, does not agree with its SHA-256"


def not_shown(run: Run) -> Iterator[str]:
    """What the files of a source hold in images beside those of the run, and images that lie in files unknown."""
    for number, file in enumerate(run.files):
        try:
            with open_source(file.path) as handle:
                dataset = handle[file.dataset]
                virtual, n = dataset.is_virtual, len(dataset) if dataset.ndim == 3 else 1
        except (OSError, KeyError, RuntimeError):
            continue
        if virtual:
            yield f"{file.path}: {file.dataset} puts each image together from several files, which are not known"
        row = run.images.row[run.images.file == number]
        rows = np.unique(row[(row >= 0) & (row < n)])
        if len(rows) != n:
            yield f"{file.path}: {n - len(rows)} of its {n} images are not in the run"
