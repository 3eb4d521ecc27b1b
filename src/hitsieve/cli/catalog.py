"""`hitsieve catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hitsieve.cli.found import print_found
from hitsieve.cli.options import AsJson, Messages
from hitsieve.cli.progress import shown_count
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from hitsieve.pipeline.register import Entered


def catalog(
    action: Literal["add", "remove", "list"],
    /,
    *paths: Path,
    catalogue: Path | None = None,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Enter finished runs into the local catalogue, remove them, or list all.

    A run is known by its source and the time it ended: entering it again changes nothing, unless it changed or moved.

    Parameters
    ----------
    action
        add: enter the runs whose summaries (*_summary.json) are in the folders, or below; remove: take runs out, and
        touch no file; list: show all.
    paths
        Folders, or summaries.
    catalogue
        File of the catalogue; by default what HITSIEVE_CATALOGUE names, else that of the user.
    json
        Print what is done, or the runs, as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    from hitsieve.catalogue import default_catalogue

    place = catalogue or default_catalogue()
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
