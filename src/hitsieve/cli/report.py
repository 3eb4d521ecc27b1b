"""`hitsieve report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.screen import size_of
from hitsieve.errors import SettingsError


def report(
    results: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    grid: str = "",
    overwrite: Switch = False,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Write the page of a finished run as one HTML file, to be kept or sent; it opens without server and network.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    output
        HTML file, or a folder for <stem>_report.html; by default the folder of the results.
    grid
        Columns and rows of a grid scan, as 100x50, or 100x50,snake where every other row runs back; by default what the
        positions in the run's master tell.
    overwrite
        Replace the file whatever it is; without it only a report that hitsieve wrote is replaced.
    json
        Print file and size as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    try:
        from hitsieve.serve.report import write_report
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"hitsieve report needs {error.name}", mend="pip install fastapi jinja2 plotly uvicorn"
        ) from None
    written = write_report(results, output, grid=grid, overwrite=overwrite)
    if json:
        from json import dumps

        print(dumps({"report": str(written.path), "bytes": written.n_bytes}, indent=2))
    elif not messages.quiet:
        print(f"{written.path}: {size_of(written.n_bytes)}; open it in a browser")
    return 0
