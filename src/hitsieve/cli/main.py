"""Entry point: signals and the exit code.

Nothing but the standard library is imported at the top, directly or not: importing the commands takes a tenth of a
second, and Ctrl-C must be answered with one line then too.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from hitsieve.cli.stopping import Terminated, listen

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code.

    Parameters
    ----------
    tokens
        Command and flags; those of the process if absent.
    """
    given = list(sys.argv[1:] if tokens is None else tokens)
    try:
        listen()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files need not be text; stderr is like that from the start.
            sys.stdout.reconfigure(errors="backslashreplace")
        from hitsieve.cli.commands import call

        code = call(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    except KeyboardInterrupt as stopped:
        if tokens is None:
            # The work is undone; a second Ctrl-C has nothing left to stop.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = _stopped(stopped, debug="--debug" in given)
    _leave(code)


def _leave(code: int) -> NoReturn:
    # Whoever never asked another process for anything does not load what does.
    apart = sys.modules.get("hitsieve.pipeline.apart")
    if apart is not None and apart.are_there_still():
        # The interpreter would wait for those that wait for a share that does not answer.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _stopped(error: KeyboardInterrupt, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    terminated = isinstance(error, Terminated)
    by = (str(error) or "SIGTERM") if terminated else "Ctrl-C"
    with contextlib.suppress(OSError):  # the terminal may be what is gone
        print(f"hitsieve: error: stopped by {by}; no partial output was left behind", file=sys.stderr)
    return TERMINATED if terminated else INTERRUPTED
