"""`hitsieve retry`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve.cli.options import Messages, Switch
from hitsieve.cli.screen import number_of
from hitsieve.cli.status import TROUBLE, place_of
from hitsieve.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitsieve.pipeline.watch import RunRow


def retry(
    runs: tuple[str, ...] = (),
    /,
    *,
    all: Switch = False,
    as_it_is: Switch = False,
    again: Switch = False,
    forget: Switch = False,
    config: Path | None = None,
    journal: Path | None = None,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Have runs seen to again that failed or are held; the watcher goes on where each of them stands.

    Works while the watcher runs, which then begins at once, and when it does not.

    Parameters
    ----------
    runs
        Numbers that hitsieve status shows, or masters.
    all
        All runs that failed or are held.
    as_it_is
        Take a run that is not whole without what is missing.
    again
        Begin from the start: sieve it again, and replace its outputs.
    forget
        See no more to the runs; no file is touched.
    config
        Settings of the beamline, which may name the journal.
    journal
        The journal; by default what HITSIEVE_JOURNAL names, else watch.sqlite beside the local catalogue.
    """
    messages.set_up_logging()
    if bool(runs) == all:
        raise SettingsError("retry needs RUNS... or --all", mend="see hitsieve status --failed")
    if forget and (again or as_it_is):
        raise SettingsError("--forget excludes --again and --as-it-is", mend="give one")
    from hitsieve.pipeline.watch import Journal

    with Journal(place_of(config, journal), create=False) as opened:
        rows = opened.rows("gone != 'replaced'")
        chosen = [row for row in rows if row.state in TROUBLE] if all else _chosen(rows, runs, opened.path)
        watchers = opened.watchers()
        busily = "is at work: wait until it is done"
        if not watchers:
            busily = "was at work when its watcher ended: start hitsieve watch, which goes on with it"
        changed = 0
        for row in chosen:
            busy = row.state == "running" and (again or forget)
            if busy or (not (again or as_it_is or forget) and row.state not in TROUBLE):
                if not messages.quiet:
                    why = busily if busy else f"{row.state}: nothing is to be tried again"
                    print(f"run {row.key}: {why}: {row.path}")
                continue
            if forget:
                opened.mark(row.key, "forgotten")
            else:
                opened.retry(row.key, as_it_is=as_it_is, again=again)
            changed += 1
    if not messages.quiet:
        print(f"{number_of(changed, 'run')} {'forgotten' if forget else 'to be seen to again'}")
        if changed and not watchers and not forget:
            print("nobody watches: start hitsieve watch")
    return 0


def _chosen(rows: Sequence[RunRow], named: Sequence[str], place: Path) -> list[RunRow]:
    """Runs by number or master; of several of one master the last."""
    by_name = {name: row for row in rows for name in (str(row.path), str(row.key))}
    chosen = []
    for name in named:
        row = by_name.get(name) or by_name.get(str(Path(name).absolute()))
        if row is None:
            raise SourceError(f"{place}: has no run {name}", mend="see hitsieve status")
        chosen.append(row)
    return chosen
