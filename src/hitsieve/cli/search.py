"""`hitsieve search`."""

from __future__ import annotations

from pathlib import Path

from hitsieve.cli.found import print_found
from hitsieve.cli.options import AsJson, Messages, WholeFrom1
from hitsieve.errors import SettingsError


def search(
    query: str,
    /,
    *,
    catalogue: Path | None = None,
    limit: WholeFrom1 | None = None,
    json: AsJson = False,
    csv: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Find runs in the local catalogue by what is known of them.

    For example: 'hit_rate > 5 % and cell ~ 79,79,38,90,90,90 and resolution < 2.0 and pump = light'. Put the query in
    quotes: < and > mean something else to the shell.

    Parameters
    ----------
    query
        Conditions on fields, joined by and, or, not and parentheses; an empty one finds all. "..." in it finds words of
        title, sample and path.
    catalogue
        File of the catalogue; by default what HITSIEVE_CATALOGUE names, else that of the user.
    limit
        Most runs that are shown; the latest, or those nearest to the cell.
    json
        Print whole records as JSON on stdout, and nothing else there.
    csv
        Print a table of all fields as CSV on stdout, and nothing else there.
    """
    messages.set_up_logging()
    if json and csv:
        raise SettingsError("--json and --csv exclude each other", mend="give one")
    from hitsieve.catalogue import default_catalogue

    place = catalogue or default_catalogue()
    print_found(place, query, "json" if json else "csv" if csv else "table", limit)
    return 0
