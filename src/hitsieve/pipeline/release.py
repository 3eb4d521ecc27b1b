"""Proves that the files of a source can be deleted: that its hits and misses give back all that is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import hitsieve
from hitsieve.catalogue import Catalogue
from hitsieve.errors import OutputError, SettingsError, SourceError, VerificationError
from hitsieve.model import Run
from hitsieve.pipeline.deletion import bring_to_disk, print_of, still_there, why_not_same
from hitsieve.source import OpenedRun, linked_from, linking_to, open_run
from hitsieve.write import (
    PROOF_SUFFIX,
    Compared,
    FilePrint,
    KeptRun,
    ReleaseProof,
    Remainder,
    compare_images,
    damaged_sample,
    find_outputs,
    leads_elsewhere,
    merged,
    metadata_differences,
    not_shown,
    read_proof,
    read_summary,
    remainder_of,
    restored_metadata,
    set_aside,
    shown_as,
    size_of_metadata,
    source_names,
    write_proof,
)

MOST = 1000
"""Most reasons that are told."""
Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """What is to be proven."""

    source: tuple[Path, ...]
    """The run, named as it was for hitsieve run."""
    hits: Path
    """Hit-only file of the run."""
    misses: Path | None
    """Its misses file; None: there is none."""

    @property
    def proof(self) -> Path:
        """The proof file."""
        return self.hits.absolute().with_name(self.hits.name.removesuffix("_hits.h5") + PROOF_SUFFIX)

    @classmethod
    def of_run(cls, source: Sequence[Path], results: Path) -> ReleaseRequest:
        """Find hits and misses among the outputs of a run.

        Raises
        ------
        SourceError
            There are no such outputs.
        """
        outputs = find_outputs(results)
        return cls(tuple(source), outputs.hits, outputs.misses)

    @classmethod
    def of_source(cls, source: Sequence[Path], catalogue: Path) -> ReleaseRequest:
        """Find hits and misses of a source by the catalogue: of its runs that with all misses, the latest of several.

        Nothing is believed of the catalogue but where to look.

        Raises
        ------
        SettingsError
            It knows no such run, or there is no catalogue: the files must be named.
        """
        places: list[str] = []
        if catalogue.is_file():
            with Catalogue(catalogue) as known:
                places = known.places_by_source().get(str(source[0].resolve()), [])
        there = []
        for place in map(Path, places):
            # Results that were moved or deleted stay in the catalogue.
            with suppress(SourceError):
                outputs, summary = find_outputs(place), read_summary(place)
                there.append((summary.miss_bytes is not None, summary.date, outputs))
        if not there:
            what = f"{source[0]}: the catalogue {catalogue} knows no results of it that are there"
            raise SettingsError(what, mend="give --run, or --hits and --misses")
        outputs = max(there, key=lambda one: one[:2])[2]
        return cls(tuple(source), outputs.hits, outputs.misses)


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """What was proven, or why nothing was."""

    proof: ReleaseProof | None
    """None: the files must not be deleted."""
    reasons: tuple[str, ...] = ()
    """Against it, in words."""
    earlier: Path | None = None
    """Where an earlier proof is now, on which other files were deleted."""


def begun_before(request: ReleaseRequest) -> ReleaseProof | None:
    """Give the proof on which some files of this source were deleted already, and others not.

    Where all its files are there, they can be compared: then there is none.

    Raises
    ------
    SourceError
        All were deleted.
    VerificationError
        The files that hold the run, or those that are left of the source, are not as they were when that was proven, or
        it lists other files.
    """
    if not request.proof.is_file():
        return None
    proof = read_proof(request.proof)
    left = still_there(proof)
    if proof.deletion is None or proof.source != named(request) or len(left) == len(proof.files):
        return None
    if not left:
        what = f"{request.source[0]}: its {len(proof.files)} files were deleted on {proof.deletion.begun:%Y-%m-%d}"
        raise SourceError(what, mend=f"see {request.proof}; hitsieve restore gives the series back")
    for file in proof.kept:
        if why_not_same(file) or print_of(Path(file.path), sha256=True) != file:
            msg = f"{file.path}: is not as it was when {request.proof.name} was written"
            raise VerificationError(msg, mend="keep what is left of the source, and find the file as it was")
    # What a file on the disk lists is deleted only where the source itself has it, and the hits name it too.
    known, own = source_names(Path(proof.kept[0].path)), _left_of(request)
    strange = next((file.path for file in left if file.path not in own or Path(file.path).name not in known), None)
    if strange is not None:
        msg = f"{request.proof}: lists {strange}, which is no file of this run"
        raise VerificationError(msg, mend="move the proof away; delete nothing by it")
    for file in left:
        if differs := why_not_same(file):
            msg = f"{file.path}: {differs}, and cannot be compared again, as other files of the run are deleted"
            raise VerificationError(msg, mend="keep what is left; once all files are there, call again")
    return proof


def _left_of(request: ReleaseRequest) -> set[str]:
    """Files of a source of which others are deleted already: those named, and those that its masters show."""
    own = set(named(request))
    there = [path for path in request.source if path.exists()]
    with suppress(SourceError), open_run(there, compare=False) as source:
        own.update(map(str, files_of(source.run)))
    return own


def release(request: ReleaseRequest, *, progress: Step | None = None) -> ReleaseReport:
    """Prove that the files of a source can be deleted, and write the proof beside the files that hold the run.

    Parameters
    ----------
    request : ReleaseRequest
    progress : callable, optional
        Called with the number of images compared and of all.

    Raises
    ------
    SourceError
        The source cannot be read.
    OutputError
        The proof cannot be written, or the files cannot be brought to the disk.
    """
    check_place(request)
    if request.misses is None:
        return ReleaseReport(None, (f"{request.hits}: only the hits are kept; there is no file of all misses",))
    with ExitStack() as stack:
        # Only what the files say is compared: no settings.
        source = stack.enter_context(open_run(request.source, compare=False))
        try:
            kept = stack.enter_context(KeptRun(request.hits, request.misses))
        except (SourceError, VerificationError) as error:
            return ReleaseReport(None, (str(error),))
        if len(source.run) != len(kept):
            what = f"{source.run.path}: has {len(source.run)} images, the run in {kept.hits.path} had {len(kept)}"
            return ReleaseReport(None, (what,))
        report = _Prover(request, kept, source).prove(progress)
    return report if report.proof is None else replace(report, earlier=record(request, report.proof))


def record(request: ReleaseRequest, proof: ReleaseProof) -> Path | None:
    """Write a proof beside the files that hold the run; gives the place of an earlier one on which files were deleted.

    Raises
    ------
    SourceError
        Another file has its name.
    OutputError
        It cannot be written.
    """
    earlier = set_aside(request.proof)
    write_proof(request.proof, proof)
    return earlier


def check_place(request: ReleaseRequest) -> None:
    """Refuse a folder in which the proof cannot be written, before anything is compared.

    Raises
    ------
    OutputError
    """
    folder = request.proof.parent
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        what = f"{folder}: no permission to write the proof beside the files that hold the run"
        raise OutputError(what, mend="ask its owner, or copy hits and misses to a folder of yours")


@dataclass(frozen=True, slots=True)
class Around:
    """Other files that the files of a source link to, and such as link to them."""

    linked: tuple[str, ...]
    shown_by: tuple[str, ...]

    @classmethod
    def of(cls, files: Sequence[FilePrint]) -> Around:
        """Look into the files, and into those beside them."""
        paths = [Path(file.path) for file in files]
        return cls(tuple(map(str, linked_from(paths))), tuple(map(str, linking_to(paths))))


class _Prover:
    """Compares one source with one pair of files."""

    def __init__(self, request: ReleaseRequest, kept: KeptRun, source: OpenedRun) -> None:
        self._request, self._kept, self._source = request, kept, source
        self._run = source.run
        self._files = [print_of(path) for path in files_of(self._run)]
        self._n_metadata = 0
        self._parts = [print_of(part.path.resolve()) for part in kept.parts]

    def prove(self, progress: Step | None) -> ReleaseReport:
        """Compare everything; the cheapest first, so that what is hopeless is told at once."""
        reasons = tuple(islice(self._hopeless(), MOST))
        if reasons:
            return ReleaseReport(None, reasons)
        for part in self._kept.parts:
            bring_to_disk(part.path.resolve())
        images, rest = Compared(), Remainder()
        try:
            images = compare_images(self._kept, self._source, progress)
            reasons = (*images.failures, *damaged_sample(self._kept), *self._metadata(rest))
        except (SourceError, VerificationError) as error:
            reasons = (*images.failures, str(error))
        reasons += tuple(f"{file.path}: changed while it was compared" for file in self._all if why_not_same(file))
        if reasons:
            return ReleaseReport(None, reasons[:MOST])
        kept = tuple(_read(part, digest) for part, digest in zip(self._parts, images.files, strict=True))
        if [file.model_copy(update={"sha256": None}) for file in kept] != self._parts:
            return ReleaseReport(None, (f"{kept[0].path} or {kept[1].path}: changed while it was compared",))
        return ReleaseReport(self._proof(images, rest, kept))

    @property
    def _all(self) -> list[FilePrint]:
        return [*self._files, *self._parts]

    def _hopeless(self) -> Iterator[str]:
        """What speaks against it before anything is read."""
        if self._run.style == "images":
            yield f"{self._run.path}: is no HDF5 file; of other formats the files themselves cannot be given back"
            return
        own = {(file.device, file.inode): file.path for file in self._files}
        for part, shown in zip(self._parts, self._kept.parts, strict=True):
            same = own.get((part.device, part.inode))
            if same is not None:
                yield f"{shown.path}: is a file of the source itself ({same})"
            for what in leads_elsewhere(shown.file):
                yield f"{shown.path}: does not hold all that it shows: {what}"
        yield from not_shown(self._run)

    def _metadata(self, rest: Remainder) -> Iterator[str]:
        """What a restore would not give back of anything but the images."""
        with restored_metadata(self._kept, self._request.proof.parent) as restored:
            yield from islice(metadata_differences(restored, self._run, strict=True), MOST)
            there = [number for number, file in enumerate(self._run.files) if file.path.exists()]
            parts = (remainder_of(self._run, number, restored) for number in there)
            found = merged((shown_as(self._run, restored), *parts))
            self._n_metadata = size_of_metadata(restored)
        rest.values = found.values
        yield from found.lost

    def _proof(self, images: Compared, rest: Remainder, kept: tuple[FilePrint, ...]) -> ReleaseProof:
        hits, misses = self._kept.parts
        around = Around.of(self._files)
        return ReleaseProof(
            version=hitsieve.__version__,
            date=datetime.now(timezone.utc),
            stem=self._request.hits.name.removesuffix("_hits.h5"),
            sieved=str(hits.identity[0]),
            evidence=f"every image is in {hits.path.name} or {misses.path.name}",
            source=named(self._request),
            n_images=len(self._kept),
            n_hits=len(hits.images),
            n_misses=len(misses.images),
            n_unreadable=len(self._kept.unreadable),
            n_missing=images.n_missing,
            n_bytes=images.n_bytes,
            n_pixels=images.n_pixels,
            n_metadata=self._n_metadata,
            images_digest=images.digest,
            kept=kept,
            files=tuple(self._files),
            own_values=tuple(asdict(value) for value in rest.values),
            linked=around.linked,
            shown_by=around.shown_by,
        )


def _read(file: FilePrint, digest: str) -> FilePrint:
    """A file as it is after it was read, with its SHA-256 where that is known; else it is read again."""
    path = Path(file.path)
    return print_of(path).model_copy(update={"sha256": digest}) if digest else print_of(path, sha256=True)


def files_of(run: Run) -> list[Path]:
    """Files that a source consists of and that are there, without symbolic links: data files first, the master last."""
    masters = [path.resolve() for path in run.named]
    data = [file.path.resolve() for file in run.files if file.path.exists()]
    return list(dict.fromkeys([*(path for path in data if path not in set(masters)), *masters]))


def named(request: ReleaseRequest) -> tuple[str, ...]:
    """What the user named, without symbolic links."""
    return tuple(str(path.resolve()) for path in request.source)
