"""`hitsieve serve`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from cyclopts import Group, Parameter

from hitsieve.cli.options import Messages, Switch
from hitsieve.cli.stopping import Terminated
from hitsieve.errors import SettingsError, SourceError
from hitsieve.settings import ServeSettings

if TYPE_CHECKING:
    from pathlib import Path

SERVE = Group("Serve: what is shown in the browser, and to whom")


class ServeFlags(ServeSettings):
    """Settings of the server, with a flag that has no opposite."""

    behind_proxy: Annotated[bool, Parameter(negative=())] = False
    """A proxy in front lets in only whom it may, and says who asks; no token is needed then."""


def serve(
    *,
    serve: Annotated[ServeFlags, Parameter(name="*", group=SERVE)] = ServeFlags(),  # noqa: B008 - frozen
    open: Switch = False,
    messages: Messages = Messages(),  # noqa: B008
) -> int:
    """Show the catalogue, its runs, their images and a running series in the browser, until Ctrl-C.

    Nothing is changed by it, and by default only this computer can ask. Whoever shows it to others gives a token
    (--token-file, or the variable HITSIEVE_TOKEN), which a visitor must know, or puts a proxy in front that asks who
    they are (--behind-proxy).

    Parameters
    ----------
    open
        Open the first page in the browser; it asks for the token, where there is one.
    """
    messages.set_up_logging()
    settings = ServeSettings.model_validate(serve.model_dump())
    try:
        from hitsieve.serve import Server, create_app, read_token
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"hitsieve serve needs {error.name}", mend="pip install fastapi jinja2 plotly uvicorn"
        ) from None
    token = read_token(settings.token_file)
    app = create_app(settings, token=token)
    _bring_up_to_date(settings.catalogue)
    with Server(app, settings) as server:
        address = f"{server.url}?token={quote(token, safe='')}" if token else server.url
        if not messages.quiet:
            print(f"hitsieve is at {address} (Ctrl-C ends it)", flush=True)
        if open:
            import webbrowser

            # The arguments of a browser can be read by every user of this computer: they hold no token.
            webbrowser.open(server.url)
        try:
            server.run()
        except Terminated:
            raise
        except KeyboardInterrupt:
            # It is how a server ends.
            return 0
    return 0


def _bring_up_to_date(named: Path | None) -> None:
    """Make the tables of the catalogue those of this version; the server itself only reads."""
    from hitsieve.catalogue import Catalogue, default_catalogue

    place = named or default_catalogue()
    if named is None and not place.exists():
        # The first run makes it; its page says so until then.
        print(f"hitsieve: warning: {place}: there is no catalogue yet; hitsieve run enters each run", file=sys.stderr)
        return
    try:
        Catalogue(place).close()
    except SourceError:
        # It may be on a medium that cannot be written, and be of this version all the same.
        Catalogue(place, read_only=True).close()
