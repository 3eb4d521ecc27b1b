"""Who may ask for what, how much, and how many at once; and what every answer says to the browser."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote, urlencode

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hitsieve.serve.refusals import refuse
from hitsieve.serve.tokens import Token

LONGEST_PATH = 2048
"""Characters of a path."""
LONGEST_QUERY = 8192
"""Characters behind the question mark."""
LONGEST_HEADERS = 16384
"""Characters of all headers."""
MOST_ANSWERS = 256
"""Answers that are being made, or wait for it, at once."""
MOST_STREAMS = 64
"""Downloads and live pages at once: they take long, and are not to keep others waiting."""
STALLED = 120.0
"""Longest time (s) that a visitor takes nothing of an answer; then its place is given to others."""
RETRY = {"Retry-After": "2"}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""plotly.js styles what it draws by itself: styles may be inline, scripts may not."""
_NAME = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?")
_log = logging.getLogger(__name__)


class Doors:
    """Around the application: whatever comes in, comes through here.

    Parameters
    ----------
    app : ASGIApp
        What is inside.
    token : Token, optional
        What a visitor must show.
    hosts : frozenset of str, optional
        Names of this server, in small letters, without port; None: any. A page of another site that has its own name
        lead here (DNS rebinding) is refused by them.
    base : str
        Path below which a proxy shows this server, without a slash at its end; what comes is answered with and without
        it, for some proxies take it away.
    """

    def __init__(
        self, app: ASGIApp, *, token: Token | None = None, hosts: frozenset[str] | None = None, base: str = ""
    ) -> None:
        self._app = app
        self._base = base
        self._token = token
        self._hosts = hosts
        self._now = {True: 0, False: 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _below(scope, self._base)
        begun = False
        head = scope["method"] == "HEAD" and not _is_stream(scope["path"])

        async def tell(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _add_headers(scope, message)
            elif head:
                message = {**message, "body": b""}
            with anyio.fail_after(STALLED):
                await send(message)

        request = Request(scope)
        try:
            answer = self._refusal(request)
            if answer is not None:
                await answer(scope, receive, tell)
                return
            with self._counted(_is_stream(scope["path"])) as admitted:
                if admitted:
                    # FastAPI's pages know nothing of HEAD.
                    await self._app({**scope, "method": "GET"} if head else scope, receive, tell)
                else:
                    what = "more is asked of this server at the moment than it can answer"
                    await refuse(request, 503, what, mend="try again in some seconds", headers=RETRY)(
                        scope, receive, tell
                    )
        except TimeoutError:
            _log.info("%s %r: the visitor took nothing for %g s", scope["method"], scope["path"], STALLED)
        except Exception as error:  # noqa: BLE001 - the last resort: one line in the log, and no trace for the visitor
            what = f"{scope['method']} {scope['path']!r}: {type(error).__name__}: {error}"
            _log.error("internal error at %s", " ".join(what.split()), exc_info=_log.isEnabledFor(logging.DEBUG))
            if not begun:
                await _broken(request)(scope, receive, tell)

    def _refusal(self, request: Request) -> Response | None:
        """What is said to a request that comes no further."""
        if request.method not in ("GET", "HEAD"):
            what = "nothing here can be changed"
            return refuse(request, 405, what, mend="ask with GET or HEAD", headers={"Allow": "GET, HEAD"})
        if (unfit := _too_much(request)) is not None:
            return unfit
        if _is_crooked(request.scope["path"]):
            return self._corrected(request)
        host = _host(request.headers)
        if host is None:
            return refuse(request, 400, "the request does not say which server it is for", mend="send a header Host")
        if self._hosts is not None and host not in self._hosts:
            what = f"{host[:80]!r} is not a name of this server"
            return refuse(request, 421, what, mend="name it with --allow-host, if it is yours")
        return None if self._token is None else self._asked(request, self._token)

    def _corrected(self, request: Request) -> Response:
        """What is said to a path that is none; all that one may lack is the slash after the path of the server."""
        if not request.scope["path"]:
            # The cookie is sent with what begins with that path and the slash only.
            query = request.scope["query_string"].decode("latin-1")
            return RedirectResponse(f"{self._base}/?{query}" if query else f"{self._base}/", 303)
        return refuse(request, 400, "the path is not one of this server's", mend="start from the first page")

    def _asked(self, request: Request, token: Token) -> Response | None:
        """Ask for the token; one that comes in the address leaves it at once."""
        pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if given and token.fits(given[-1]):
            rest = urlencode([(name, value) for name, value in pairs if name != "token"])
            # Two slashes at its start would lead to another host.
            path = self._base + "/" + request.scope["raw_path"].decode("ascii", "replace").lstrip("/")
            answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            token.remember(request, answer)
            return answer
        if token.admits(request) or request.scope["path"].startswith("/static/"):
            return None
        what = (
            "the token in the address is another"
            if given
            else "this server shows its pages to those who know its token"
        )
        mend = "open the address that was printed when the server was started, or give its token here"
        return refuse(request, 401, what, mend, headers={"WWW-Authenticate": "Bearer"})

    @contextmanager
    def _counted(self, stream: bool) -> Iterator[bool]:
        """Whether there is room for one more; it is taken meanwhile."""
        admitted = self._now[stream] < (MOST_STREAMS if stream else MOST_ANSWERS)
        self._now[stream] += admitted
        try:
            yield admitted
        finally:
            self._now[stream] -= admitted


def _below(scope: Scope, base: str) -> Scope:
    """A request without the path below which the server is; nothing is left of a request for just this path."""
    path: str = scope["path"]
    if not base or not (path == base or path.startswith(f"{base}/")):
        return scope
    inner = path.removeprefix(base)
    return {**scope, "path": inner, "raw_path": quote(inner).encode()}


def _broken(request: Request) -> Response:
    """What is said when the fault is ours."""
    mend = "what happened is in the log of the server (hitsieve serve --debug tells more)"
    return refuse(request, 500, "this page could not be made", mend=mend)


def _add_headers(scope: Scope, message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    # Pages are asked for again when one comes back to them; what did not change is not sent twice.
    headers.setdefault("cache-control", "no-cache" if scope["path"].startswith("/static/") else "private, no-cache")


def _too_much(request: Request) -> Response | None:
    """Refuse what is longer than any request of these pages."""
    if len(request.scope["path"]) > LONGEST_PATH or len(request.scope["query_string"]) > LONGEST_QUERY:
        what = f"paths have at most {LONGEST_PATH} characters, queries {LONGEST_QUERY}"
        return refuse(request, 414, what, mend="ask for less")
    if sum(len(name) + len(value) for name, value in request.scope["headers"]) > LONGEST_HEADERS:
        return refuse(request, 431, f"headers have at most {LONGEST_HEADERS} characters", mend="send fewer cookies")
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        return refuse(request, 400, "a request brings nothing along", mend="ask without a body")
    return None


def _is_stream(path: str) -> bool:
    return path.startswith(("/files/", "/api/live/")) or path.endswith("/subset")


def _is_crooked(path: str) -> bool:
    """Whether a path, decoded, could lead elsewhere than it says."""
    plain = posixpath.normpath(path) in (path, path.rstrip("/")) and "//" not in path
    return not plain or not path.isprintable() or "\\" in path


def _host(headers: Headers) -> str | None:
    """Name in the Host header, in small letters, without port and brackets; None where it is none.

    Whatever else it could hold (a slash, a space, a quote) would become a part of addresses that are made with it.
    """
    named = _NAME.fullmatch(headers.get("host", ""))
    return None if named is None else (named[1] or named[2]).lower()
