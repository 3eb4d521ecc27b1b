"""Commands by name, and errors as one line and an exit code."""

from __future__ import annotations

import difflib
import sys
import traceback
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnknownCommandError
from cyclopts.help import DefaultFormatter, HelpPanel

import hitsieve
from hitsieve.errors import HitsieveError

HELP = (
    "Flag every image of a serial-crystallography run hit or miss, and keep the hits without loss.\n\n"
    "Exit codes: 0 done, 1 internal error, 2 wrong flag or setting, 3 input cannot be read, 4 output cannot be "
    "written, 5 verification failed, 6 a server does not answer or refuses, 130 stopped by Ctrl-C, 141 reader of the "
    "output went away, 143 stopped by SIGTERM or SIGHUP."
)

COMMANDS = {
    "run": "Flag every image of a stored run and write the hits.",
    "live": "Receive series from a detector, flag their images as they come, and write the hits of each.",
    "watch": "See to all runs that appear in a folder: sieve, check, prove, enter and register each, once.",
    "status": "Show what hitsieve watch has done and is doing, what failed, and what mends it.",
    "retry": "Have runs seen to again that hitsieve watch could not finish.",
    "explain": "Say why an image of a finished run is, or is not, a hit, with a picture.",
    "report": "Write the page of a finished run as one HTML file that opens anywhere.",
    "rethink": "Apply another rule to a finished run, without searching its images again.",
    "cell": "Find the unit cell that the hits of a finished run agree on, without any known one.",
    "check": "Check files against NXmx, the MX Gold Standard and the rules for hits, or complete a copy.",
    "verify": "Prove every stored chunk of a file of hits or misses against its hash and its source.",
    "subset": "Write some of the hits of a hit-only file as a hit-only file of their own.",
    "restore": "Rebuild the original series from the files of hits and misses of a run, bit for bit.",
    "release": "Prove that the files of a source can be deleted, because its hits and misses are kept whole.",
    "recall": "Say which files of a run hold hits and which none, to bring only those back from tape.",
    "search": "Find runs in the local catalogue, or in SciCat, by what is known of them.",
    "catalog": "Enter finished runs into the local catalogue, remove them, or list all.",
    "campaign": "Sieve whole archives, and say which runs and files hold the hits, and what is saved.",
    "ingest": "Register a finished run in SciCat: the raw data with their hit rate, and the hits.",
    "export": "Export lattices and hits of a finished run to DIALS or CrystFEL, or pack the hits to be published.",
    "serve": "Show the catalogue, runs, images and a running series in the browser.",
    "demo": "Simulate a small run, sieve it, and compare with the truth.",
    "simulate": "Write a simulated run, with its truth beside it.",
    "devices": "List the cores and graphics cards of this computer, and say which of them a run would use.",
}

USAGES = {
    "run": "PATHS...",
    "live": "ADDRESSES...",
    "watch": "FOLDER",
    "retry": "RUNS...",
    "explain": "RUN IMAGE",
    "report": "RUN",
    "rethink": "RUN",
    "cell": "RUN",
    "check": "PATHS...",
    "verify": "HITS",
    "subset": "HITS",
    "restore": "HITS MISSES",
    "release": "SOURCE...",
    "recall": "RUN",
    "search": "QUERY",
    "catalog": "ACTION PATHS...",
    "campaign": "FOLDERS...",
    "ingest": "RESULTS",
    "export": "RUN",
    "simulate": "OUTPUT",
}
"""What each command must be given."""

EXAMPLES = {
    "run": "run lyso_master.h5 -o out",
    "live": "live tcp://detector:31001 -o out",
    "watch": "watch /data --config beamline.toml",
    "retry": "retry 12",
    "explain": "explain out 12",
    "report": "report out",
    "rethink": "rethink out --min-spots 20 -o out20",
    "cell": "cell out",
    "check": "check lyso_master.h5",
    "verify": "verify out/lyso_hits.h5 --source lyso_master.h5",
    "subset": "subset out/lyso_hits.h5 -o few.h5 --first 100 --d-max 2.0",
    "restore": "restore out/lyso_hits.h5 out/lyso_misses.h5 -o lyso.h5",
    "release": "release lyso_master.h5 --run out",
    "recall": "recall out --list",
    "search": "search 'hit_rate > 5 %'",
    "catalog": "catalog add /data",
    "campaign": "campaign /data/archive -o sieved",
    "ingest": "ingest out --scicat https://scicat.example.org --facts facts.toml",
    "export": "export out --format dials",
    "simulate": "simulate sim --images 100",
}


def usage(name: str) -> str:
    """Give the usage line of a command."""
    return " ".join(("hitsieve", name, *filter(None, [USAGES.get(name)]), "[OPTIONS]"))


def shown_default(value: Any) -> str | None:
    """Give a default as the help shows it; None for one that says nothing."""
    if value is None or value in ((), ""):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


PARAMETER = Parameter(negative_iterable=(), show_default=shown_default)
"""Lists have no `--empty-...` flag."""


class _Help(DefaultFormatter):
    """Help in which lines end where the terminal does, not where the source breaks them."""

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Show a panel."""
        from rich.text import Text

        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                text.plain = " ".join(text.plain.split())
        super().__call__(console, options, panel)


def make_app() -> App:
    """Build the commands; their modules are imported only when they are called."""
    app = App(
        name="hitsieve",
        help=HELP,
        version=hitsieve.__version__,
        default_parameter=PARAMETER,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
        help_formatter=_Help(),
    )
    for name, text in COMMANDS.items():
        app.command(f"hitsieve.cli.{name}:{name}", name=name, help=text, usage=f"Usage: {usage(name)}")
    return app


def call(tokens: list[str]) -> int:
    """Run one command; the exit code.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, SIGTERM or SIGHUP.
    BrokenPipeError
        The reader of stdout went away.
    """
    debug = "--debug" in tokens
    try:
        result = make_app()(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(_usage(error, tokens), 2, debug=debug)
    except HitsieveError as error:
        return _fail(str(error), error.exit_code, debug=debug)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: report, do not print a traceback at the user
        what = f"internal error: {type(error).__name__}: {error}"
        return _fail(f"{what} (please report it with the output of the same command and --debug)", 1, debug=debug)
    return result if isinstance(result, int) else 0


def _usage(error: CycloptsError, tokens: list[str]) -> str:
    """One line for a wrong command or flag, naming it."""
    if isinstance(error, UnknownCommandError):
        # Its own message would import every command.
        near = difflib.get_close_matches(tokens[0], COMMANDS, n=1)
        return f"unknown command or flag {tokens[0]}" + (
            f", did you mean {near[0]}?" if near else " (see hitsieve --help)"
        )
    if "pydantic" in sys.modules:
        from pydantic import ValidationError

        from hitsieve.cli.config import flag_errors

        if isinstance(error.__cause__, ValidationError):
            return flag_errors(error.__cause__)
    name = tokens[0] if tokens else ""
    if isinstance(error, MissingArgumentError) and error.argument is not None and name in USAGES:
        if error.argument.index is not None:
            return f"{name} needs {USAGES[name]} (usage: {usage(name)}; for example: hitsieve {EXAMPLES[name]})"
        flags = error.argument.names
        if not any(token.partition("=")[0] in flags for token in tokens):
            return f"{name} needs {flags[0]} (for example: hitsieve {EXAMPLES[name]})"
    chain = " ".join(("hitsieve", *(error.command_chain or ())))
    return f"{_lower(str(error))} (see {chain} --help)"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _fail(message: str, code: int, *, debug: bool) -> int:
    """Report an error as one line; the exit code."""
    if debug:
        traceback.print_exc()
    print("hitsieve: error:", " ".join(message.split()), file=sys.stderr)
    return code
