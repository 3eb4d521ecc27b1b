"""`hitsieve catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hitsieve.cli.config import read_settings
from hitsieve.cli.found import print_found
from hitsieve.cli.options import AsJson, Messages, Switch, Whole
from hitsieve.cli.progress import shown_count
from hitsieve.cli.scan import scan_archive
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from hitsieve.pipeline.register import Entered


def catalog(
    action: Literal["add", "remove", "list"],
    /,
    *paths: Path,
    catalogue: Path | None = None,
    scan: Switch = False,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    config: Path | None = None,
    workers: Whole | None = None,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Enter finished runs into the local catalogue, remove them, or list all.

    A run is known by its source and the time it ended: entering it again changes nothing, unless it changed or moved.

    With --scan, add takes archives of runs that were never sieved: it finds the masters in the folders, or below, and
    sieves each that has no results yet. When it is stopped, or killed, the same command goes on where it was; several
    at a time share the work. A run that fails is told and does not stop the others; the exit code is 3 then.

    Parameters
    ----------
    action
        add: enter the runs whose summaries (*_summary.json) are in the folders, or below; remove: take runs out, and
        touch no file; list: show all.
    paths
        Folders, or summaries.
    catalogue
        File of the catalogue; by default what HITSIEVE_CATALOGUE names, else that of the user.
    scan
        With add: sieve the runs of whole archives.
    output
        With --scan: folder for the outputs, which lie in it as the runs do in the archive.
    config
        With --scan: TOML file with settings of hitsieve run.
    workers
        With --scan: worker threads; 0: one a core.
    json
        Print what is done, or the runs, as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    from hitsieve.catalogue import default_catalogue

    place = catalogue or default_catalogue()
    if scan:
        if action != "add" or not paths or output is None:
            mend = "for example: hitsieve catalog add /data --scan -o results"
            raise SettingsError("--scan is a way to add PATHS..., and needs --output", mend=mend)
        return scan_archive(paths, output, read_settings(config, {}, workers), place, quiet=messages.quiet, json=json)
    if output or config or workers is not None:
        raise SettingsError("--output, --config and --workers go with --scan", mend="add --scan, or leave them out")
    if action == "list":
        if paths:
            raise SettingsError("catalog list takes no paths", mend="to choose among runs, use hitsieve search")
        print_found(place, "", "json" if json else "table")
        return 0
    if not paths:
        raise SettingsError(
            f"catalog {action} needs PATHS...", mend=f"for example: hitsieve catalog {action} /data/out"
        )
    done = _add(place, paths, quiet=json or messages.quiet) if action == "add" else _remove(place, paths)
    if json:
        import json as encoder

        print(encoder.dumps([{"what": one.what, "path": str(one.path), "why": one.why} for one in done], indent=2))
    elif not messages.quiet:
        _print(done, place)
    return 0


def _add(place: Path, paths: tuple[Path, ...], *, quiet: bool) -> list[Entered]:
    from hitsieve.pipeline.register import enter

    with shown_count("entering", wanted=not quiet) as progress:
        return enter(paths, place, progress=stoppable(progress))


def _remove(place: Path, paths: tuple[Path, ...]) -> list[Entered]:
    from hitsieve.catalogue import Catalogue
    from hitsieve.pipeline.register import Entered

    gone = []
    with Catalogue(place) as catalogue:
        for path in paths:
            removed = catalogue.remove(path.resolve())
            if not removed:
                raise SourceError(f"{path}: no run in {place} lies there", mend="see hitsieve catalog list")
            gone += [Entered(Path(text), "removed", "") for text in removed]
    return gone


def _print(done: list[Entered], place: Path) -> None:
    for one in done:
        print(f"{one.what:<8}{one.path}" + (f": {one.why}" if one.why else ""))
    counts = [f"{n:,} {what}" for what in ("added", "updated", "skipped", "removed") if (n := _count(done, what))]
    print(f"\n{', '.join(counts)}: {place}")


def _count(done: list[Entered], what: str) -> int:
    return sum(one.what == what for one in done)
