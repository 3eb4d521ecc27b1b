"""Where a server is, and what is asked of it, as parts of a URL."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import httpx

from hitsieve.errors import SettingsError

LOCAL = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
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
    standard = {"http": 80, "https": 443}[parts.scheme]
    checked = f"{parts.scheme}://{name}{f':{port}' if port not in (None, standard) else ''}{path}"
    if not _can_be_asked(checked, host):
        raise SettingsError(f"{url!r} is no URL of a server", mend=NO_SCICAT)
    return checked


def is_local(url: str) -> bool:
    """Whether a URL is of this computer."""
    return urlsplit(url).hostname in LOCAL


def _can_be_asked(url: str, host: str) -> bool:
    """Whether a URL can be made into a request; what cannot would wait in an outbox for ever."""
    try:
        return (":" in host or _NAME.fullmatch(host) is not None) and httpx.URL(url).host != ""
    except (httpx.InvalidURL, UnicodeError):
        return False
