"""A token that lies in a file, which nobody but its owner may read."""

from __future__ import annotations

import stat
from pathlib import Path

from hitsieve.errors import SettingsError


def token_in(path: Path) -> str:
    """The text of such a file, whatever it is; without space around it.

    Raises
    ------
    SettingsError
        The file cannot be read, others may read it, or it is no text. The message does not repeat what it holds.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            what = f"{path}: others than its owner may use this token (mode {mode:03o})"
            raise SettingsError(what, mend=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not text", mend="give a file that holds a token and nothing else") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SettingsError(f"{path}: cannot be read: {why}", mend="give a file that holds a token") from error
