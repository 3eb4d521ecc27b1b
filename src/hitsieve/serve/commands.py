"""Commands that fetch hit-only files, to be copied into a terminal; called again, they go on where they stopped."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

from starlette.requests import Request

from hitsieve.catalogue import Record
from hitsieve.serve.tokens import VARIABLE

Tool = Literal["curl", "wget"]
TOOLS: tuple[Tool, ...] = ("curl", "wget")


def origin_of(request: Request) -> str:
    """Scheme, name and port by which the visitor came, and the path below which this server is."""
    return f"{request.scope['scheme']}://{request.headers['host']}{request.app.state.base}"


def file_path(record: Record, name: str) -> str:
    """Where a file of a run is, on this server."""
    return f"/files/{record.id}/{quote(name, safe='')}"


def command(url: str, name: str, tool: Tool, *, token: bool) -> str:
    """Fetch one file.

    Parameters
    ----------
    url : str
    name : str
        What it is to be called, below the folder of the terminal.
    tool : {"curl", "wget"}
    token : bool
        The server asks for a token, which the command takes from the environment.
    """
    # Signs that are not seen do things in a terminal, quoted or not.
    plain = "".join(sign if sign.isprintable() else "_" for sign in name)
    where, what = shlex.quote(url), shlex.quote(plain)
    header = f'"Authorization: Bearer ${VARIABLE}"'
    if tool == "curl":
        asked = f" -H {header}" if token else ""
        return f"curl -fL --retry 5 --create-dirs -C -{asked} -o {what} {where}"
    asked = f" --header={header}" if token else ""
    folder = shlex.quote(plain.rpartition("/")[0] or ".")
    return f"wget -c -P {folder}{asked} {where}"


def hits_of(record: Record) -> str | None:
    """Name of the file with all hits, if there is one."""
    return next((file.name for file in record.files if file.kind == "hits" and "/" not in file.name), None)


def script(records: Sequence[Record], n_found: int, tool: Tool, request: Request) -> str:
    """Commands for the hits of all datasets, each into a folder of its own."""
    token = bool(request.app.state.token)
    lines = [
        "#!/bin/sh",
        f"# Hits of {len(records):,} of {n_found:,} datasets, as hitsieve serve lists them at {origin_of(request)}.",
        "# Run it again to go on where it stopped.",
    ]
    if len(records) < n_found:
        lines.append("# The others are left out: ask for fewer at a time.")
    if token:
        lines.append(f'export {VARIABLE}="${{{VARIABLE}:?set {VARIABLE} to the token of the server}}"')
    for record in records:
        name = hits_of(record)
        if name is not None:
            url = origin_of(request) + file_path(record, name)
            lines.append(command(url, f"{_folder(record)}/{name}", tool, token=token))
    return "\n".join(lines) + "\n"


def _folder(record: Record) -> str:
    """Runs of one name are told apart; no name leads out of the folder."""
    return f"{record.stem.replace('/', '_').lstrip('.')}-{record.id[:8]}"
