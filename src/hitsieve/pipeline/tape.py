"""Proves that the files of a source can be deleted because SciCat says that they are on tape."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone

import hitsieve
from hitsieve.catalogue.scicat import InArchive, LocalFile, SciCat, in_archive
from hitsieve.pipeline.deletion import bring_to_disk, print_of, why_not_same
from hitsieve.pipeline.release import ReleaseReport, ReleaseRequest, check_place, files_of, named
from hitsieve.pipeline.verify import verify
from hitsieve.source import open_run
from hitsieve.write import FilePrint, ReleaseProof, VerifyReport, write_proof


def release_from_tape(request: ReleaseRequest, client: SciCat, pid: str | None = None) -> ReleaseReport:
    """Ask SciCat whether all files of a source are archived as they are here, and prove the hits that stay.

    Parameters
    ----------
    request : ReleaseRequest
        Its misses are not looked at.
    client : SciCat
    pid : str, optional
        The raw dataset, where it cannot be found by the folder of the source.

    Raises
    ------
    ServerError
        The server does not answer or refuses, or has no such dataset, or several.
    SourceError
        Source or hits cannot be read.
    OutputError
        The proof cannot be written.
    """
    check_place(request)
    with open_run(request.source, compare=False) as source:
        run = source.run
        files = [print_of(path) for path in files_of(run)]
        n = len(run)
    folder = str(run.path.resolve().parent)
    client.login()
    told = in_archive(client, folder, [_local(file) for file in files], pid)
    if told.reasons:
        return ReleaseReport(None, told.reasons)
    hits = request.hits.resolve()
    bring_to_disk(hits)
    proven = verify(request.hits, request.source)
    reasons = [f"{request.hits}: image {one.source_image}: {one.reason}" for one in proven.failures]
    kept = print_of(hits, sha256=True)
    if any((kept.device, kept.inode) == (file.device, file.inode) for file in files):
        reasons.append(f"{request.hits}: is a file of the source itself")
    reasons += [f"{file.path}: changed while it was compared" for file in files if why_not_same(file)]
    if reasons:
        return ReleaseReport(None, tuple(reasons))
    proof = _proof(request, told, (tuple(files), kept), n, proven)
    write_proof(request.proof, proof)
    return ReleaseReport(proof)


def _local(file: FilePrint) -> LocalFile:
    return LocalFile(file.path, file.size, file.modified / 1e9)


def _proof(
    request: ReleaseRequest,
    told: InArchive,
    prints: tuple[tuple[FilePrint, ...], FilePrint],
    n: int,
    proven: VerifyReport,
) -> ReleaseProof:
    files, kept = prints
    return ReleaseProof(
        version=hitsieve.__version__,
        date=datetime.now(timezone.utc),
        stem=request.proof.name.removesuffix("_release.json"),
        sieved="",
        evidence=f"{told.server} says that all files are archived, in {told.pid}",
        source=named(request),
        n_images=n,
        n_hits=proven.n_hits,
        n_misses=n - proven.n_hits,
        n_unreadable=0,
        n_missing=0,
        n_bytes=proven.n_hits,
        n_pixels=0,
        n_metadata=0,
        images_digest="",
        kept=(kept,),
        files=files,
        archive=asdict(told),
    )
