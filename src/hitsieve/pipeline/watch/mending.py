"""What becomes of a step that has failed: some failures mend themselves, others wait for somebody."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hitsieve.errors import (
    HitsieveError,
    MetadataError,
    OutputError,
    ServerError,
    SettingsError,
    SourceError,
    VerificationError,
)
from hitsieve.pipeline.apart import Died, Hung
from hitsieve.pipeline.watch.rows import RunRow, State, Step
from hitsieve.pipeline.watch.settings import WatchSettings

MOST_DEATHS = 5
"""Processes that may die at one step, one after the other."""
MOST_INTERNAL = 3
"""Times that a fault of hitsieve's own is tried again."""
_PASSING = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH")
)
"""What a share says that is away for a while."""
NEED_SOURCE = ("run", "verify")
"""Steps that read the source."""
_HOUR = 3600.0


class Held(HitsieveError):
    """Something that no waiting mends."""


class Later(HitsieveError):
    """Something that mends itself: a share that is away, a server that does not answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of it."""

    state: State
    said: str
    mend: str
    next_try: float = 0.0


def judge(error: Exception, row: RunRow, step: Step, settings: WatchSettings) -> Outcome:
    """What becomes of a step that ended with an error.

    Parameters
    ----------
    error : Exception
    row : RunRow
        The run.
    step : Step
        As it is since it began: with this attempt counted.
    settings : WatchSettings
    """
    if isinstance(error, OSError):
        said, mend, passes = (
            f"{error.filename or row.path}: {error.strerror or error}",
            "see that its disk is there",
            True,
        )
    elif not isinstance(error, HitsieveError):
        said, mend = f"internal error: {type(error).__name__}: {error}", "please report it; then hitsieve retry"
        passes = step.attempts < MOST_INTERNAL
    elif isinstance(error, Died):
        hung = isinstance(error, Hung)
        times = f"{step.deaths} times one after the other" if step.deaths != 1 else "once"
        said = f"{error.what}, {times}"
        mend = f"see {'whether its share answers' if hung else 'the system log'}; then hitsieve retry"
        # A share may not answer for as long as files may be away.
        passes = step.deaths < MOST_DEATHS or (hung and not _is_old(row, settings))
    else:
        said, mend = " ".join(error.what.split()), error.mend
        passes = _passes(error, row, confirmed=step.said == said)
    if passes and step.name in NEED_SOURCE and _is_lost(row, settings):
        said, mend = f"stuck: {said}", "bring its files back and call hitsieve retry, or hitsieve retry --forget"
        passes = False
    if not passes:
        return Outcome("held", said, mend)
    doublings = min(max(step.attempts - 1, 0), 30)
    delay = min(settings.retry_first * 2.0**doublings, settings.retry_longest)
    if isinstance(error, Hung):
        # Others wait while it hangs: they have at least as much time.
        delay = max(delay, settings.hung)
    return Outcome("failed", said, mend, time.time() + delay)


def _passes(error: HitsieveError, row: RunRow, *, confirmed: bool) -> bool:
    """Whether it may mend itself.

    A share may be away while a step runs, and back when it is judged: what is wrong with a source is believed when it
    is found a second time.
    """
    if isinstance(error, (Held, SettingsError, MetadataError, ServerError)):
        return False
    if isinstance(error, (SourceError, VerificationError)):
        # The files of the source are not what they were, or their share said so on the way.
        away = any(isinstance(one, OSError) and one.errno in _PASSING for one in _causes(error))
        return away or not confirmed or not row.is_as_found
    return isinstance(error, (Later, OutputError))


def _is_lost(row: RunRow, settings: WatchSettings) -> bool:
    """Whether files of the source have been away, or other ones, for too long."""
    return _is_old(row, settings) and not row.is_as_found


def _is_old(row: RunRow, settings: WatchSettings) -> bool:
    return time.time() - row.found > settings.give_up * _HOUR


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
