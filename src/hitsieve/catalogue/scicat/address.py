"""Where a server is, and what is asked of it, as parts of a URL."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from hitsieve.errors import SettingsError

LOCAL = ("localhost", "127.0.0.1", "::1")
NO_SCICAT = "give the URL of SciCat's backend, such as https://scicat.example.org"


def quoted(identifier: str) -> str:
    """An identifier as a part of a path; those of datasets hold slashes."""
    return quote(identifier, safe="")


def checked_url(url: str, *, insecure: bool = False) -> str:
    """The URL of a server without /api/v3 and the like.

    Raises
    ------
    SettingsError
        It is none, holds a password, or is not https.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("the URL of SciCat holds a user or a password", mend="give them apart from the URL")
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"{url!r} is no URL of a server", mend=NO_SCICAT)
    if parts.scheme == "http" and host not in LOCAL and not insecure:
        what = f"{url}: without https anybody on the way can read the password"
        raise SettingsError(what, mend="give an https URL, or --insecure in a network that you trust")
    path = parts.path.rstrip("/")
    for end in ("/api/v3", "/api/v4", "/api"):
        path = path.removesuffix(end)
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{path}"
