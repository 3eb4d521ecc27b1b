"""Who talks to a server: a token, or a user and a password. What is secret is never printed."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from hitsieve.catalogue.tokenfile import token_in
from hitsieve.errors import SettingsError

TOKEN = "HITSIEVE_SCICAT_TOKEN"  # noqa: S105 - the name of a variable
USER = "HITSIEVE_SCICAT_USER"
PASSWORD = "HITSIEVE_SCICAT_PASSWORD"  # noqa: S105
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, or a user and a password, from which tokens are had."""

    token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None

    @property
    def can_renew(self) -> bool:
        """Whether a token that has expired can be had again."""
        return self.user is not None and self.password is not None

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(secret.get_secret_value() for secret in (self.token, self.password) if secret is not None)


def known_credentials(token_file: Path | None = None, env: Mapping[str, str] = os.environ) -> Credentials | None:
    """Credentials from a file, or from the environment; None where neither says any.

    Parameters
    ----------
    token_file : Path, optional
        File that holds a token and nothing else; nobody but its owner may read it.
    env : mapping of str to str
        HITSIEVE_SCICAT_TOKEN, or HITSIEVE_SCICAT_USER and HITSIEVE_SCICAT_PASSWORD.

    Raises
    ------
    SettingsError
        The file cannot be read, holds no token, or others may read it; or a user is named without a password.
    """
    if token_file is not None:
        return Credentials(token=_checked(token_in(token_file), str(token_file)))
    if token := env.get(TOKEN, "").strip():
        return Credentials(token=_checked(token, f"the variable {TOKEN}"))
    user, password = env.get(USER), env.get(PASSWORD)
    if user and password:
        return Credentials(user=user, password=SecretStr(password))
    if password:
        raise SettingsError(f"{PASSWORD} is set without {USER}", mend=f"set both, or {TOKEN}")
    return None


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """The text without any of the secrets, whoever wrote it, in whichever spelling."""
    spelled = {
        form
        for secret in secrets
        for form in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, ""))
        if form
    }
    # A shorter form may be a part of a longer one.
    for form in sorted(spelled, key=len, reverse=True):
        text = text.replace(form, _HIDDEN)
    return text


def fits_a_header(token: str) -> bool:
    """Whether a token can be sent."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def has_expired(token: str, date: str) -> bool:
    """Whether a token (JWT) says that it was over by a date of the server; False where it says nothing."""
    try:
        told = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)))
        return float(claims["exp"]) <= parsedate_to_datetime(date).timestamp()
    except (IndexError, KeyError, TypeError, ValueError):
        return False


def _checked(token: str, where: str) -> SecretStr:
    """Refuse what no header can carry; a message must not repeat it."""
    token = token.removeprefix("Bearer ").strip()
    if not fits_a_header(token):
        raise SettingsError(f"{where}: holds no token", mend="give a token as SciCat shows it, and nothing else")
    return SecretStr(token)
