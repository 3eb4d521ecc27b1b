"""Deletes files that were proven to be kept elsewhere, and only as they were when that was proven."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from hitsieve.errors import OutputError, SourceError, VerificationError
from hitsieve.pipeline.record import file_sha256
from hitsieve.write import Deletion, FilePrint, ReleaseProof, signals_held, write_proof

CHANGED = "has changed since it was compared"
STOPPED = "the deletion ended before it"


def print_of(path: Path, *, sha256: bool = False) -> FilePrint:
    """A file as it is now.

    Raises
    ------
    SourceError
        It cannot be read.
    """
    try:
        state, digest = path.stat(), file_sha256(path) if sha256 else None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="see that it is there") from error
    return FilePrint(
        path=str(path),
        size=state.st_size,
        modified=state.st_mtime_ns,
        inode=state.st_ino,
        device=state.st_dev,
        sha256=digest,
    )


def why_not_same(file: FilePrint) -> str:
    """Why the file at a path is not the one that was compared; nothing where it is."""
    try:
        state = os.lstat(file.path)
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    now = (state.st_size, state.st_mtime_ns, state.st_ino, state.st_dev)
    return "" if now == (file.size, file.modified, file.inode, file.device) else CHANGED


def bring_to_disk(path: Path) -> None:
    """See that a file and its name in the folder are on the disk, and that it is next read from there.

    Raises
    ------
    OutputError
        The system cannot say so.
    """
    for place in (path, path.parent):
        try:
            handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
                if place is path:
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)
        except OSError as error:
            what = f"{place}: cannot be brought to the disk: {(error.strerror or str(error)).lower()}"
            raise OutputError(what, mend="keep the source, and see that the disk is whole") from error


def still_there(proof: ReleaseProof) -> list[FilePrint]:
    """Files of a proof that are not deleted yet; all of them where no deletion has begun."""
    return [file for file in proof.files if proof.deletion is None or os.path.lexists(file.path)]


def cannot_delete(files: Iterable[FilePrint]) -> Iterator[str]:
    """Folders of the files in which nothing may be deleted."""
    for folder in sorted({Path(file.path).parent for file in files}):
        if not os.access(folder, os.W_OK | os.X_OK):
            yield f"{folder}: no permission to delete files in it"


def delete(proof: ReleaseProof, place: Path, step: Callable[[int, int], None] | None = None) -> ReleaseProof:
    """Delete the files that a proof names, in its order, each only if it is as it was when it was compared.

    Parameters
    ----------
    proof : ReleaseProof
    place : Path
        The proof file. It says that deletion has begun before anything is deleted, and what is gone at the end.
    step : callable, optional
        Called with the number done and of all, after each file; an exception that it raises ends the deletion.

    Returns
    -------
    ReleaseProof
        With what was deleted and what stays.

    Raises
    ------
    VerificationError
        The files that hold the run, or those of the source, are not as they were; nothing was deleted.
    OutputError
        The proof file cannot be written.
    """
    todo = still_there(proof)
    strange = [f"{file.path}: {differs}" for file in (*proof.kept, *todo) if (differs := why_not_same(file))]
    if strange:
        more = f", and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise VerificationError(f"nothing was deleted: {strange[0]}{more}", mend="call hitsieve release again")
    begun = datetime.now(timezone.utc)
    write_proof(place, proof.model_copy(update={"deletion": Deletion(begun=begun)}))
    why: dict[str, str] = {}
    try:
        for done, file in enumerate(todo):
            why = _delete(file)
            if why:
                break
            if step is not None:
                step(done + 1, len(todo))
    finally:
        with signals_held():
            ended = _ended(proof, begun, why)
            write_proof(place, ended)
    return ended


def _delete(file: FilePrint) -> dict[str, str]:
    """Delete one file; why it stays, nothing where it is gone."""
    changed = why_not_same(file)
    if changed:
        return {file.path: changed}
    try:
        Path(file.path).unlink()
    except OSError as error:
        return {file.path: f"cannot be deleted: {(error.strerror or str(error)).lower()}"}
    return {}


def _ended(proof: ReleaseProof, begun: datetime, why: Mapping[str, str]) -> ReleaseProof:
    """What is gone by now, and what stays."""
    gone = [file.path for file in proof.files if not os.path.lexists(file.path)]
    left = {file.path: why.get(file.path, STOPPED) for file in proof.files if file.path not in set(gone)}
    ended = datetime.now(timezone.utc)
    return proof.model_copy(update={"deletion": Deletion(begun=begun, ended=ended, deleted=tuple(gone), left=left)})
