"""What cannot be answered, and the status and words that say so: a page, JSON, or plain text."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hitsieve.errors import HitsieveError, SettingsError, SourceError
from hitsieve.serve.pages import page


class Refusal(HitsieveError):
    """A request that gets no answer but this."""

    status: ClassVar[int] = 400


class NotFound(Refusal):
    """There is no such thing."""

    status = 404


class Gone(Refusal):
    """The catalogue knows it, but its files are not there any more."""

    status = 410


class Forbidden(Refusal):
    """It is there, and is not shown."""

    status = 403


TITLES = {
    400: "That cannot be asked for",
    401: "A token is needed",
    403: "That is not shown here",
    404: "There is no such page",
    405: "Pages can only be read",
    410: "That is gone",
    414: "The address is too long",
    416: "The file has no such bytes",
    421: "This server is not called so",
    422: "That cannot be read",
    431: "The headers are too long",
    500: "Something went wrong here",
    503: "Too many at once",
}


def status_of(error: HitsieveError) -> int:
    """Status of the answer to a request that failed so."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, SettingsError):
        return 400
    # What was asked for is right; a file behind it cannot be read.
    return 422 if isinstance(error, SourceError) else 500


def refuse(
    request: Request, status: int, what: str, mend: str = "", *, headers: Mapping[str, str] | None = None
) -> Response:
    """Say what is wrong, in the form that was asked for."""
    title = TITLES.get(status) or HTTPStatus(status).phrase
    told = {"status": status, "title": title, "what": what, "mend": mend}
    if request.scope["path"].startswith("/api/"):
        answer: Response = JSONResponse(told, status)
    elif "text/html" in request.headers.get("accept", ""):
        answer = page(request, "refusal.html", told, status=status)
    else:
        answer = PlainTextResponse(f"{status} {title}: {what}" + (f" ({mend})" if mend else "") + "\n", status)
    answer.headers.update(headers or {})
    return answer
