"""`hitsieve release`."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.screen import number_of, size_of
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import OutputError, SettingsError, VerificationError

if TYPE_CHECKING:
    from hitsieve.pipeline.release import ReleaseReport, ReleaseRequest
    from hitsieve.write import ReleaseProof

SERVER = Group("Server: SciCat, where it is to say that the files are on tape")
ServerSwitch = Annotated[bool, Parameter(negative=(), show_default=False, group=SERVER)]
LISTED = 10
"""Most reasons that are listed one by one."""


@dataclass(frozen=True, slots=True)
class _Server:
    """Where SciCat is, and who asks."""

    url: str
    raw: str | None
    token_file: Path | None
    patience: float
    insecure: bool


def release(
    source: tuple[Path, ...],
    /,
    *,
    run: Path | None = None,
    hits: Path | None = None,
    misses: Path | None = None,
    catalogue: Path | None = None,
    delete: Switch = False,
    json: AsJson = False,
    scicat: Annotated[str | None, Parameter(group=SERVER)] = None,
    raw: Annotated[str | None, Parameter(group=SERVER)] = None,
    token_file: Annotated[Path | None, Parameter(group=SERVER)] = None,
    patience: Annotated[float, Parameter(validator=Number(gte=0), group=SERVER)] = 60.0,
    insecure: ServerSwitch = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Prove that the files of a source can be deleted, because files of hits and misses give back all that is in them.

    Every image is read from the source and from the files that hold the run, and must be the same byte by byte; every
    array and attribute of the source must be what a restore gives. The proof is printed, and written to
    <stem>_release.json beside these files. What cannot be proven is refused with the reason, and exit code 5.

    Where only the hits are kept, the files can be deleted if SciCat says that they are archived: --scicat asks it. Who
    asks is told as for hitsieve ingest.

    Nothing is deleted without --delete, and then only after the words that are asked for have been typed at a terminal.

    Parameters
    ----------
    source
        Master file of the run, or all its data files, as they were named for hitsieve run.
    run
        An output of the run with --misses keep, or the folder with its outputs; by default that which the local
        catalogue knows of SOURCE, one with all misses before others.
    hits
        Instead of --run: its hit-only file.
    misses
        Instead of --run: its misses file.
    catalogue
        File of the catalogue; by default what HITSIEVE_CATALOGUE names, else that of the user.
    delete
        Delete the files of the source once all is proven and confirmed. A file that has changed in between stays.
    json
        Print the proof, or the reasons against it, as JSON on stdout, and nothing else there.
    scicat
        URL of SciCat's backend, to be asked whether all files of the source are archived; then misses are not needed.
    raw
        Identifier of the raw dataset, where it cannot be found by its folder.
    token_file
        File that holds a token, and that nobody but you may read.
    patience
        Longest time (s) that is spent on one request that the server does not answer.
    insecure
        Allow http to another computer, where anybody on the way can read the password.
    """
    messages.set_up_logging()
    if delete and not sys.stdin.isatty():
        raise SettingsError(
            "--delete asks for a confirmation that must be typed at a terminal, and there is none",
            mend="call it at a terminal; without --delete it proves and deletes nothing",
        )
    request = _request(source, run, (hits, misses), catalogue)
    server = None if scicat is None else _Server(scicat, raw, token_file, patience, insecure)

    from hitsieve.pipeline.release import ReleaseReport, begun_before
    from hitsieve.pipeline.release import release as prove

    before = begun_before(request)
    if before is not None:
        _say(f"hitsieve: {request.proof}: {_so_far(before)}")
        report = ReleaseReport(before)
    elif server is not None:
        report = _from_tape(request, server)
    else:
        with shown_count("proving", wanted=not (json or messages.quiet)) as progress:
            report = prove(request, progress=stoppable(progress))
    proof = _proven(report, source[0], as_json=json)
    if not (json or messages.quiet):
        _print(proof, request.proof)
        if report.earlier is not None:
            print(f"\nthe earlier proof, on which files were deleted, is now {report.earlier}")
    if delete:
        proof = _delete(proof, request)
    elif not (json or messages.quiet):
        print("\nnothing was deleted: that needs --delete, and a word typed at a terminal")
    if json:
        print(proof.model_dump_json(indent=2))
    return 0


def _from_tape(request: ReleaseRequest, server: _Server) -> ReleaseReport:
    from hitsieve.catalogue.scicat import SciCat
    from hitsieve.cli.account import account
    from hitsieve.pipeline.tape import release_from_tape

    asking = account(server.token_file)
    with SciCat(server.url, asking, patience=server.patience, insecure=server.insecure) as client:
        return release_from_tape(request, client, server.raw)


def _request(
    source: tuple[Path, ...], run: Path | None, parts: tuple[Path | None, Path | None], catalogue: Path | None
) -> ReleaseRequest:
    from hitsieve.catalogue import default_catalogue
    from hitsieve.pipeline.release import ReleaseRequest

    if not source:
        raise SettingsError("release needs SOURCE...", mend="for example: hitsieve release lyso_master.h5 --run out")
    hits, misses = parts
    if run is None and hits is None and misses is None:
        return ReleaseRequest.of_source(source, catalogue or default_catalogue())
    if catalogue is not None:
        raise SettingsError(
            "--catalogue goes without --run, --hits and --misses", mend="leave out the one or the others"
        )
    if run is not None and hits is None and misses is None:
        return ReleaseRequest.of_run(source, run)
    if run is not None or hits is None:
        raise SettingsError(
            "the files that hold the run are not named", mend="give --run, or --hits and --misses, not both"
        )
    return ReleaseRequest(source, hits, misses)


def _proven(report: ReleaseReport, named: Path, *, as_json: bool) -> ReleaseProof:
    """Give the proof; list the reasons against it and raise where there is none."""
    if report.proof is not None:
        return report.proof
    if as_json:
        import json as encoder

        print(encoder.dumps({"released": False, "reasons": report.reasons}, indent=2))
    for reason in report.reasons[:LISTED]:
        _say(f"hitsieve: error: {reason}")
    n = len(report.reasons)
    counted = "for the reason above" if n == 1 else f"for {n:,} reasons"
    raise VerificationError(f"{named}: cannot be released, {counted}", mend="keep its files; nothing was deleted")


def _print(proof: ReleaseProof, place: Path) -> None:
    if proof.archive is not None:
        _print_rows(_archive_rows(proof, place), proof)
        return
    states = f"{proof.n_hits:,} hits, {proof.n_misses:,} misses, {proof.n_unreadable:,} unreadable"
    rows = [
        ("proven", f"{proof.date.isoformat(timespec='seconds')}: {proof.evidence}"),
        ("images", f"{proof.n_images:,}: {states}, {proof.n_missing:,} missing, there as here"),
        ("bytes", f"{proof.n_bytes:,} stored images are the same byte by byte, and agree with their recorded SHA-256"),
        ("metadata", f"{proof.n_metadata:,} arrays and attributes are what a restore gives"),
        *_kept(proof),
        ("proof", str(place)),
    ]
    if proof.n_pixels:
        rows.insert(3, ("pixels", f"{proof.n_pixels:,} were packed anew when the run was sieved: the same pixels"))
    if proof.own_values:
        rows.insert(-1, ("written down", f"{len(proof.own_values):,} values of single files, in the proof"))
    _print_rows(rows, proof)


def _archive_rows(proof: ReleaseProof, place: Path) -> list[tuple[str, str]]:
    told = proof.archive or {}
    status = told.get("lifecycle", {}).get("archiveStatusMessage")
    listed = "as files" + (f" and in {told.get('n_packages'):,} packages" if told.get("n_packages") else "")
    return [
        ("proven", f"{proof.date.isoformat(timespec='seconds')}: {proof.evidence}"),
        (
            "status",
            f"{status}, can be retrieved; all {len(proof.files):,} files are listed, {listed}, with their sizes",
        ),
        ("images", f"{proof.n_images:,}: {proof.n_hits:,} hits are kept here, byte by byte, and all others only there"),
        *_kept(proof),
        ("proof", str(place)),
    ]


def _kept(proof: ReleaseProof) -> list[tuple[str, str]]:
    return [("kept", f"{file.path} ({size_of(file.size)}, sha256 {file.sha256})") for file in proof.kept]


def _print_rows(rows: list[tuple[str, str]], proof: ReleaseProof) -> None:
    for name, value in rows:
        print(f"{name:<14}{value}")
    print(f"\ncan be deleted: {number_of(len(proof.files), 'file')}, {size_of(proof.n_file_bytes)}\n")
    for file in proof.files:
        print(file.path)
    if proof.shown_by:
        print("\nother files show something of these files, and lose it with them:\n")
        for path in proof.shown_by:
            print(path)
    if proof.linked:
        print("\nthese files link to others, which stay:\n")
        for path in proof.linked:
            print(path)
    annotated = Path(proof.kept[0].path).with_name(f"{proof.stem}_annotated.h5")
    if annotated.exists():
        print(f"\n{annotated.name} shows images of these files: without them it has its results, and no pixels")
    if {file.device for file in proof.kept} & {file.device for file in proof.files}:
        print("\nwhat is kept is on the disk of these files: without them there is one copy of it, on one disk")


def _delete(proof: ReleaseProof, request: ReleaseRequest) -> ReleaseProof:
    """Ask, and delete; raise where files stay."""
    from hitsieve.pipeline.deletion import cannot_delete, delete, still_there

    files = still_there(proof)
    for why in cannot_delete(files):
        raise OutputError(f"nothing was deleted: {why}", mend="ask the owner of the folder")
    words = f"delete {len(files)} files"
    amount = size_of(sum(file.size for file in files))
    _list("others", (f"{path}: shows something of these files" for path in proof.shown_by))
    what = f"{amount} of {request.source[0]}"
    # What was typed or pasted before the question is no answer to it.
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    print(f"\nThis cannot be undone. To delete {what}, type: {words}\n> ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != words:
        _say("hitsieve: nothing was deleted")
        return proof
    try:
        done = delete(proof, request.proof, step=stoppable(None))
    except KeyboardInterrupt:
        _tell_deletion(request.proof)
        raise
    _tell_deletion(request.proof)
    left = {} if done.deletion is None else done.deletion.left
    if left:
        path, why = next(iter(left.items()))
        mend = f"see {request.proof}, and call the same command again"
        raise OutputError(f"{len(left):,} of {len(done.files):,} files stay: {path}: {why}", mend=mend)
    return done


def _tell_deletion(place: Path) -> None:
    """Say what is gone and what stays, as the proof file has it."""
    from hitsieve.write import read_proof

    proof = read_proof(place)
    if proof.deletion is not None:
        _say(f"hitsieve: {_so_far(proof)}")
        _list("stays", proof.deletion.left)
        _say(f"hitsieve: {place} lists them all")


def _list(what: str, paths: Iterable[str]) -> None:
    named = list(paths)
    for path in named[:LISTED]:
        _say(f"{what:<8}{path}")
    if len(named) > LISTED:
        _say(f"{what:<8}{len(named) - LISTED:,} more")


def _so_far(proof: ReleaseProof) -> str:
    from hitsieve.pipeline.deletion import still_there

    left = still_there(proof)
    gone = len(proof.files) - len(left)
    rest = f"; {len(left):,} stay" if left else ""
    return f"{gone:,} of {len(proof.files):,} files are deleted{rest}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
