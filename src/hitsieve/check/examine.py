"""One file, examined by all rules that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from errno import EAGAIN
from pathlib import Path

import h5py

from hitsieve.check.chains import check_chains
from hitsieve.check.fields import check_places
from hitsieve.check.findings import Checked, Finding, Severity, together
from hitsieve.check.hits import check_hits
from hitsieve.check.images import check_images
from hitsieve.check.links import check_links
from hitsieve.check.reading import FAILURES, short, text_attribute, why_not_there
from hitsieve.check.rules import RULE_SETS, rule_book
from hitsieve.check.shapes import check_shapes
from hitsieve.check.subject import Sink, Subject, entries_of

_IN_USE = "wait until it is closed; after a crash of its writer, mend a copy with h5clear"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def examine(
    path: Path, sets: Sequence[str] = RULE_SETS, tell: Sink | None = None, step: Callable[[], None] = lambda: None
) -> Checked:
    """Examine one file.

    Parameters
    ----------
    path : Path
        An HDF5 file, or what should be one.
    sets : sequence of str
        Rule sets: nxmx, gold, hits.
    tell : callable, optional
        Takes each finding as it is made, before the file can do more harm.
    step : callable
        Called now and then, as a sign of life.

    Returns
    -------
    Checked
        All findings; nothing that a file holds raises.
    """
    found: list[Finding] = []

    def sink(finding: Finding) -> None:
        found.append(finding)
        if tell is not None:
            tell(finding)

    why = _why_no_hdf5(path)
    if why:
        sink(_about_file(sets, why))
        return Checked(path, together(found))
    try:
        with h5py.File(path, "r", locking=False) as file:
            _examine(Subject(path, file["/"], rule_book(), sets, sink, step=step), file)
    except FAILURES as error:
        sink(_about_file(sets, *_why_not_opened(path, error)))
    return Checked(path, together(found))


def _about_file(sets: Sequence[str], what: str, mend: str = "") -> Finding:
    rule = rule_book().checks["file"]
    return Finding(rule.severity, rule.id, tuple(sets), ("/",), what, mend or rule.mend)


def _why_no_hdf5(path: Path) -> str:
    """Why a file cannot be HDF5; nothing where it can."""
    why = why_not_there(path)
    if why:
        return why
    with path.open("rb") as file:
        size, position = path.stat().st_size, 0
        while position + len(_SIGNATURE) <= size:
            file.seek(position)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return ""
            position = max(512, 2 * position)
    return "is no HDF5 file"


def _why_not_opened(path: Path, error: BaseException) -> tuple[str, str]:
    """Why HDF5 does not open a file, and its mend where it is another than for damaged files."""
    text = str(error)
    if "truncated" in text:
        return f"is truncated: it has {path.stat().st_size:,} bytes, fewer than its header says", ""
    if "file is already open for write" in text or f"unable to lock file, errno = {EAGAIN}" in text:
        return "is open for writing, or its writer crashed", _IN_USE
    return f"is damaged, HDF5 cannot read it ({short(error)})", ""


def _examine(root: Subject, file: h5py.File) -> None:
    """Examine an open file; `root` is its root group."""
    chosen = entries_of(file)
    if not chosen:
        root.find("entry", "/", "has no group of class NXentry: it is no NeXus file, or only a part of one")
    if len(chosen) > 1:
        names = ", ".join(str(one.name) for one in chosen)
        root.find("several", "/", f"has {len(chosen)} of them: {names}")
    for entry in chosen:
        subject = replace(root, entry=entry)
        if not text_attribute(entry, "NX_class"):
            subject.find("class", str(entry.name), "has no NX_class; it should be NXentry", severity=Severity.ERROR)
        images = check_images(subject)
        subject.n_images = None if images is None or images.n < 0 else images.n
        check_places(subject)
        check_chains(subject)
        check_shapes(subject, images)
        check_hits(subject, images)
    check_links(root, file["/"])
