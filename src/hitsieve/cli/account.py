"""Who talks to a server: from a file or the environment, or asked for on the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve.errors import SettingsError

if TYPE_CHECKING:
    from hitsieve.catalogue.scicat import Credentials


def account(token_file: Path | None) -> Credentials:
    """Credentials for SciCat.

    Raises
    ------
    SettingsError
        None are known, and there is no terminal to ask on; or those that are given are wrong.
    """
    from hitsieve.catalogue.scicat import known_credentials

    return known_credentials(token_file) or _ask()


def _ask() -> Credentials:
    import getpass

    from pydantic import SecretStr

    from hitsieve.catalogue.scicat import PASSWORD, TOKEN, USER, Credentials

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        mend = f"set {TOKEN}, or {USER} and {PASSWORD}, or give --token-file"
        raise SettingsError("neither a token nor a user and a password for SciCat are known", mend=mend)
    user = os.environ.get(USER, "")
    while not user:
        print("user at SciCat: ", end="", file=sys.stderr, flush=True)
        user = sys.stdin.readline().strip()
    password = getpass.getpass(f"password of {user}: ")
    if not password:
        raise SettingsError("no password was given", mend="call it again")
    return Credentials(user=user, password=SecretStr(password))
