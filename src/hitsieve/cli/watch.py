"""`hitsieve watch`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from hitsieve.cli.config import read_beamline
from hitsieve.cli.options import Messages, Switch
from hitsieve.cli.stopping import stopped_once
from hitsieve.errors import SettingsError, SourceError

_STOPS = (
    "stopping: what is being done is left at once, or at its end, and begun again at the next start",
    "stopped at once; the next start goes on from here",
)


def watch(
    folder: Path,
    /,
    *,
    config: Path | None = None,
    once: Switch = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """See to all runs that appear in a folder: sieve, check, prove, enter and register each, once.

    A run is seen to when its master and all data files that it announces are there and have not changed for a while;
    then it goes through run, check, verify, catalogue and, where a server is named, SciCat. How far each is stands in
    a journal, which hitsieve status shows: whenever this command ends, or is killed, the next one goes on. What may
    mend itself, as a full disk or a server that is away, is tried again; what cannot waits for hitsieve retry. Ctrl-C
    or SIGTERM ends it.

    Parameters
    ----------
    folder
        Folder that runs appear in, or below.
    config
        TOML file with the settings of the beamline: those of hitsieve run, and the tables watch and scicat.
    once
        See to all that is there, and end; the exit code is 3 where something failed or is held.
    """
    messages.set_up_logging()
    if not messages.quiet and not messages.debug:
        logging.getLogger("hitsieve").setLevel(logging.INFO)
    settings = read_beamline(config)
    try:
        from hitsieve.pipeline.watch import default_journal
        from hitsieve.pipeline.watch.steps import check_scicat
        from hitsieve.pipeline.watch.watching import WatchRequest
        from hitsieve.pipeline.watch.watching import watch as go

        if settings.watch.notify is not None:
            import hitsieve.pipeline.watch.notices
        if settings.watch.metrics is not None:
            import hitsieve.pipeline.watch.metrics  # noqa: F401 - for what it needs
    except ModuleNotFoundError as error:
        mend = "pip install cbor2 prometheus-client pyzmq watchfiles"
        raise SettingsError(f"hitsieve watch needs {error.name}", mend=mend) from None
    check_scicat(settings.scicat)
    request = WatchRequest(folder.absolute(), settings, settings.watch.journal or default_journal(), once)
    with stopped_once(*_STOPS) as stop:
        if not messages.quiet:
            print(f"watching {request.top}, journal {request.journal}", file=sys.stderr, flush=True)
        left = go(request, stop)
    return SourceError.exit_code if once and left else 0
