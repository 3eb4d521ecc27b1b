"""What the answers of a server mean, and what it means that there is none."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from hitsieve.errors import ServerError


class Unavailable(ServerError):
    """The server does not answer, or cannot for now: the same request may do later."""

    def __init__(self, what: str, *, sent: bool = False) -> None:
        super().__init__(what, mend="try again later")
        self.sent = sent
        """The request may have been carried out."""


class Refused(ServerError):
    """The server refuses: the same request will be refused again."""

    def __init__(self, what: str, *, status: int, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.status = status
        self.tries = 1
        """How often the request was sent; all but the last may have been carried out."""


class NotPermitted(Refused):
    """The account may not do this, or is not known."""


def json_of(answer: httpx.Response) -> tuple[Any, bool]:
    """What an answer holds, and whether that is JSON; an empty one is."""
    if not answer.content:
        return None, True
    try:
        return answer.json(), True
    except (ValueError, RecursionError):
        return None, False


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds, from Retry-After, which is a number or a date by the clock of the server."""
    text = answer.headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(answer.headers.get("Date", ""))
        return max((then - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def just_after(updated: str) -> str:
    """The time after a change for If-Unmodified-Since: v4 refuses the very time of it.

    Whole seconds, as HTTP has them, would let pass what somebody else changes within the same second; both versions
    read ISO 8601, which their times are in, and count milliseconds.
    """
    at = datetime.fromisoformat(updated.replace("Z", "+00:00")) + timedelta(milliseconds=1)
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
