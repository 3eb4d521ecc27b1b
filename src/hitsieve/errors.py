"""The exceptions of hitsieve, and the exit code each one gives the command line.

Every message says what was wrong, where (file, image), and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class HitsieveError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    what : str
        What is wrong, naming the file and, where there is one, the image.
    mend : str
        What the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, mend: str = "") -> None:
        self.what = what
        self.mend = mend
        super().__init__(f"{what} ({mend})" if mend else what)


class SettingsError(HitsieveError):
    """A setting, a flag or a settings file is wrong."""

    exit_code: ClassVar[int] = 2


class SourceError(HitsieveError):
    """The input cannot be read, or holds no images."""

    exit_code: ClassVar[int] = 3


class MetadataError(SourceError):
    """The input lacks, or contradicts itself in, metadata that the job needs."""


class OutputError(HitsieveError):
    """An output cannot be written: it exists, or there is no space or permission."""

    exit_code: ClassVar[int] = 4


class VerificationError(HitsieveError):
    """A stored file does not agree with its hashes or with its source."""

    exit_code: ClassVar[int] = 5


class ServerError(HitsieveError):
    """A server does not answer, or refuses what it is asked for."""

    exit_code: ClassVar[int] = 6


class NoClusterError(ServerError):
    """A cluster is not there, or not any more: its scheduler does not answer, or has no workers."""
