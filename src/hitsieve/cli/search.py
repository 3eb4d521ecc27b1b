"""`hitsieve search`."""

from __future__ import annotations

import sys
from pathlib import Path

from hitsieve.cli.found import Form, print_count, print_found, print_runs
from hitsieve.cli.options import AsJson, Messages, Switch, WholeFrom1
from hitsieve.errors import SettingsError


def search(
    query: str,
    /,
    *,
    catalogue: Path | None = None,
    scicat: str | None = None,
    token_file: Path | None = None,
    insecure: Switch = False,
    limit: WholeFrom1 | None = None,
    json: AsJson = False,
    csv: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Find runs in the local catalogue, or in SciCat, by what is known of them.

    For example: 'hit_rate > 5 % and cell ~ 79,79,38,90,90,90 and resolution < 2.0 and pump = light'. Put the query in
    quotes: < and > mean something else to the shell.

    Parameters
    ----------
    query
        Conditions on fields, joined by and, or, not and parentheses; an empty one finds all. "..." in it finds words of
        title, sample and path.
    catalogue
        File of the catalogue; by default what HITSIEVE_CATALOGUE names, else that of the user.
    scicat
        Search the SciCat whose backend is at this URL instead. Without a token (HITSIEVE_SCICAT_TOKEN), or a user and a
        password (HITSIEVE_SCICAT_USER, HITSIEVE_SCICAT_PASSWORD), it shows public data sets only.
    token_file
        File with a token for SciCat; nobody but its owner may read it.
    insecure
        Allow a URL without https, whose traffic others can read.
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
    form: Form = "json" if json else "csv" if csv else "table"
    if scicat is not None:
        if catalogue is not None:
            raise SettingsError("--catalogue and --scicat exclude each other", mend="give one")
        _search_there(query, scicat, (token_file, insecure), form, limit)
        return 0
    if token_file is not None or insecure:
        raise SettingsError("--token-file and --insecure are for SciCat", mend="give --scicat URL as well")
    from hitsieve.catalogue import default_catalogue

    print_found(catalogue or default_catalogue(), query, form, limit)
    return 0


def _search_there(query: str, url: str, access: tuple[Path | None, bool], form: Form, limit: int | None) -> None:
    from hitsieve.catalogue.scicat import SciCat, known_credentials
    from hitsieve.catalogue.scicat.search import search as search_there

    token_file, insecure = access
    credentials = known_credentials(token_file)
    with SciCat(url, credentials, insecure=insecure) as client:
        found = search_there(client, query, public=credentials is None)
        print_runs(found.runs[:limit], form, lambda one: found.records[one.facts["id"]], place="data set")
        who = " (public data sets only: no token was given)" if credentials is None else ""
        n = len(found.runs)
        told = f"{n:,} run{'' if n == 1 else 's'} in {client.url}{who}" if n else f"no run found in {client.url}{who}"
    print_count(told, n, form, limit)
    if found.n_unlike:
        what = f"{found.n_unlike:,} data sets are not as this version of hitsieve writes them, and were passed over"
        print(f"hitsieve: warning: {what} (--verbose names them)", file=sys.stderr)
