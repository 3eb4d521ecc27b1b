"""The secret that a visitor must show, where anything but this computer may ask."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from hitsieve.catalogue import token_in
from hitsieve.errors import SettingsError

VARIABLE = "HITSIEVE_TOKEN"
SHORTEST = 16
"""Characters of a token, at least: it is not to be guessed."""
MONTH = 30 * 24 * 3600
_GOOD = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"


def read_token(path: Path | None, env: Mapping[str, str] = os.environ) -> str | None:
    """The token in a file, or in the environment; None where neither has one.

    Raises
    ------
    SettingsError
        The file cannot be read, or others may read it; or the token is too short, or no header can carry it.
    """
    if path is not None:
        return _checked(token_in(path), str(path))
    text = env.get(VARIABLE, "").strip()
    return _checked(text, f"the variable {VARIABLE}") if text else None


def _checked(token: str, where: str) -> str:
    """Refuse a token that is easily guessed, or cannot be sent; a message must not repeat it."""
    if len(token) < SHORTEST:
        raise SettingsError(f"{where}: a token has at least {SHORTEST} characters", mend=_GOOD)
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingsError(f"{where}: a token has letters, digits and signs only", mend=_GOOD)
    return token


class Token:
    """The secret that a visitor must show: in a header, once in the address, and from then on by a cookie.

    Parameters
    ----------
    text : str
    base : str
        Path below which this server is, without a slash at its end.
    """

    def __init__(self, text: str, base: str = "") -> None:
        self._text = text.encode()
        self._base = base
        # A cookie that leaks does not tell the token; nor do servers on one host take each other's.
        self._mark = hmac.digest(self._text, b"hitsieve serve, cookie", "sha256").hex()
        self.cookie = f"hitsieve_{self._mark[:8]}"
        """Name of the cookie."""

    def admits(self, request: Request) -> bool:
        """Whether a request shows it, in a header or by the cookie."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.fits(given.strip()):
            return True
        return hmac.compare_digest(request.cookies.get(self.cookie, "").encode(), self._mark.encode())

    def fits(self, given: str) -> bool:
        """Whether a text is the token; takes as long whatever differs."""
        return hmac.compare_digest(given.encode(errors="replace"), self._text)

    def remember(self, request: Request, answer: Response) -> None:
        """Give the visitor the cookie."""
        secure = request.scope["scheme"] == "https"
        # A link in a letter leads here from another site: strict would not send the cookie after it.
        answer.set_cookie(
            self.cookie,
            self._mark,
            max_age=MONTH,
            # Other servers of the host, beside this path, do not get it.
            path=f"{self._base}/",
            httponly=True,
            samesite="lax",
            secure=secure,
        )
