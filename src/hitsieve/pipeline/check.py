"""Checks files against the rules, and completes copies of them from templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hitsieve.check import RULE_SETS, Checked, Filled, Guard, Severity, fill, read_template, write_template
from hitsieve.errors import SourceError
from hitsieve.write import changed_copy

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Completed:
    """A copy that was filled from a template."""

    path: Path
    filled: tuple[Filled, ...]
    checked: Checked
    """What is still found in the copy."""


def check(paths: Sequence[Path], sets: Sequence[str] = RULE_SETS, progress: Progress | None = None) -> list[Checked]:
    """Check files, each in a process that it may bring down.

    Parameters
    ----------
    paths : sequence of Path
        HDF5 files, or what should be such.
    sets : sequence of str
        Rule sets: nxmx, gold, hits.
    progress : callable, optional
        Takes files done and all files, often.

    Returns
    -------
    list of Checked
        One a file.

    Raises
    ------
    SourceError
        A path is no file, or may not be read.
    """
    for path in paths:
        _require_file(path)
    done: list[Checked] = []
    with Guard(lambda: progress(len(done), len(paths)) if progress is not None else None) as guard:
        for path in paths:
            done += [guard.examine(path, sets)]
    if progress is not None:
        progress(len(done), len(paths))
    return done


def template_of(path: Path, sets: Sequence[str] = RULE_SETS) -> str:
    """Write a template of what a file lacks.

    Raises
    ------
    SourceError
        It is no file, or cannot be read as HDF5.
    """
    (checked,) = check([path], sets)
    _require_readable(checked)
    return write_template(checked)


def complete(
    path: Path,
    template: Path,
    copy: Path,
    *,
    sets: Sequence[str] = RULE_SETS,
    overwrite: tuple[bool, bool] = (False, False),
    tick: Callable[[], None] | None = None,
) -> Completed:
    """Copy a file and fill the copy from a template; it appears whole or not at all.

    Stored bytes are copied as they are. Links of a master lead to the same files from the folder of the copy.

    Parameters
    ----------
    path : Path
        The file, which is only read.
    template : Path
        TOML file with what a beamline knows.
    copy : Path
        File to write.
    sets : sequence of str
        Rule sets by which the copy is checked.
    overwrite : (bool, bool)
        Replace values that are there; replace the copy if it exists.
    tick : callable, optional
        Called now and then; what it raises stops the work.

    Returns
    -------
    Completed

    Raises
    ------
    SettingsError
        The template is wrong; the message names the line.
    SourceError
        The file cannot be read or changed.
    OutputError
        The copy exists, is the file itself, or cannot be written.
    """
    given = read_template(template)
    _require_file(path)
    overwrite_values, overwrite_copy = overwrite
    with Guard(tick) as guard:
        _require_readable(guard.examine(path, sets))
        filled = changed_copy(
            path,
            copy,
            lambda stream: fill(stream, given, overwrite=overwrite_values, name=path),
            overwrite=overwrite_copy,
        )
        return Completed(copy, tuple(filled), guard.examine(copy, sets))


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SourceError(f"{path}: is a folder", mend="name the master file in it")
        if not path.is_file():
            if path.exists():
                raise SourceError(f"{path}: is no regular file", mend="name an HDF5 file")
            raise SourceError(f"{path}: there is no such file", mend="check the path")
        with path.open("rb"):
            pass
    except PermissionError:
        raise SourceError(f"{path}: no permission to read it", mend="ask its owner for read access") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check the file system") from None


def _require_readable(checked: Checked) -> None:
    for finding in checked.findings:
        if finding.rule == "file" and finding.severity is Severity.ERROR:
            raise SourceError(f"{checked.path}: {finding.what}", mend=finding.mend)
        if finding.rule == "entry":
            raise SourceError(f"{checked.path}: {finding.what}", mend="give the master file of a run")
