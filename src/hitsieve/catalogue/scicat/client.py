"""A small client of SciCat's API (backend v5 and v4): it waits, tries again, and says clearly what went wrong.

A request that may have been carried out although no answer came is never simply sent again: a dataset or a block of
files would be there twice.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import httpx
import tenacity

from hitsieve.catalogue.scicat.address import NO_SCICAT, checked_url, is_local
from hitsieve.catalogue.scicat.answers import NotPermitted, Refused, Unavailable, json_of, just_after, retry_after
from hitsieve.catalogue.scicat.credentials import Credentials, fits_a_header, has_expired, hide
from hitsieve.model import Closing

_log = logging.getLogger(__name__)
MERGE = "application/merge-patch+json"
"""Content of a PATCH that leaves alone what it does not name."""
MOST_BYTES = 16 * 1024 * 1024
"""Of a body; the server answers a larger one with a fault that does not say so."""
PATIENCE = 60.0
"""Longest time (s) that is spent waiting for a server that does not answer, unless said otherwise."""
LANDING = 2.0
"""A server that was cut off may still be at a request for so long (s)."""
SILENCE = 300.0
"""Longest time (s) to wait for the answer to what is made: large blocks of files take a server a while."""
_QUICK = httpx.Timeout(30.0)
_SLOW = httpx.Timeout(30.0, read=SILENCE)
_BUSY = (429, 502, 503, 504)
_MOST_FAULTS = 3
"""A server that answers 500 is asked no more often: some of its faults are our fault, and last."""
_TELLING = 4
"""Try after which the user is told."""
_RENEWED = 0.8
"""Share of its life after which a token is had anew."""
_TOLD = 300
"""Most letters of a server's own words in a message."""
Landed = Callable[[], Any]


class _Again(Exception):
    """A request that may be tried again."""

    def __init__(
        self, told: str, *, sent: bool, busy: bool = False, after: float | None = None, most: int | None = None
    ) -> None:
        super().__init__(told)
        self.told = told
        self.sent = sent
        """It may have been carried out."""
        self.busy = busy
        """It may be carried out at this moment: it is too early to look."""
        self.after = after
        """Seconds to wait, as the server asks for."""
        self.most = most
        """Most tries."""


class SciCat(Closing):
    """A connection to one server, under one account; close it, or use it in a `with` statement.

    Parameters
    ----------
    url : str
        Where the backend is, with or without /api/v3.
    credentials : Credentials, optional
        None: public data only.
    patience : float
        Longest time (s) that is spent on one request that the server does not answer.
    landing : float
        Time (s) after which it is looked whether a request without an answer was carried out.
    insecure : bool
        Allow http to another computer, where anybody on the way can read the password.

    Raises
    ------
    SettingsError
        The URL is none, holds a password, or is not https.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        patience: float = PATIENCE,
        landing: float = LANDING,
        insecure: bool = False,
    ) -> None:
        self.url = checked_url(url, insecure=insecure)
        self._credentials = credentials or Credentials()
        self._patience, self._landing = patience, landing
        given = self._credentials.token
        self._token = given.get_secret_value() if given is not None else None
        self._renew_at = float("inf")
        self.has_worked = False
        """The server took a request of this account, so that it is known to it."""
        # Certificates take longer to load than a request to this computer; http has none.
        certified = self.url.startswith("https:")
        headers = {"Accept": "application/json"}
        # A proxy would get the password of a server on this computer in plain text, and look for it on its own.
        trusted = certified or not is_local(self.url)
        self._http = httpx.Client(
            timeout=_QUICK, follow_redirects=False, headers=headers, verify=certified, trust_env=trusted
        )

    def login(self) -> None:
        """Get a token, where there is none yet.

        Raises
        ------
        NotPermitted
            User or password is wrong.
        Unavailable
            The server does not answer.
        """
        if self._credentials.can_renew and (self._token is None or time.monotonic() > self._renew_at):
            self._renew()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """What is at a path.

        Parameters
        ----------
        path : str
            From /api on; identifiers in it quoted by `quoted`.
        params : mapping, optional
            What is no text is sent as JSON.

        Returns
        -------
        JSON
            None for an empty answer.

        Raises
        ------
        Refused
            With the HTTP status.
        Unavailable
            The server does not answer.
        """
        words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in (params or {}).items()}
        return self._ask("GET", path, params=words)

    def post(self, path: str, body: Mapping[str, Any], *, landed: Landed | None = None) -> Any:
        """Create what the body says.

        Parameters
        ----------
        path, body
        landed : callable, optional
            Looks whether a request without an answer was carried out: what it made, or None. Without it such a request
            is an error.

        Raises
        ------
        Refused, Unavailable
            As for `get`.
        """
        return self._ask("POST", path, body=body, landed=landed, once=True)

    def patch(self, path: str, body: Mapping[str, Any], *, unmodified_since: str | None = None) -> Any:
        """Change what the body names, and nothing else.

        Parameters
        ----------
        path, body
        unmodified_since : str, optional
            `updatedAt` of what was read: if somebody changed it after that, Refused is raised with status 412.

        Raises
        ------
        Refused, Unavailable
            As for `get`.
        """
        headers = {"Content-Type": MERGE}
        if unmodified_since is not None:
            headers["If-Unmodified-Since"] = just_after(unmodified_since)
        return self._ask("PATCH", path, body=body, headers=headers)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        once: bool = False,
        landed: Landed | None = None,
        **content: Any,
    ) -> Any:
        self.login()
        renewed = False
        started, tries = time.monotonic(), 0

        def ask() -> Any:
            nonlocal renewed, tries
            tries += 1
            if tries > 1 and landed is not None:
                time.sleep(self._landing)
                if (made := landed()) is not None:
                    return made
            try:
                return self._once(method, path, slow=once, **content)
            except NotPermitted:
                # v5 answers 401 to a token that has expired, v4 answers 403 as to an account that may not.
                if renewed or not self._credentials.can_renew:
                    raise
                renewed = True
                self._renew()
                # What was looked for without being known may be there for all that.
                made = landed() if landed is not None else None
                return self._once(method, path, slow=once, **content) if made is None else made

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda e: isinstance(e, _Again) and not (once and e.sent and (landed is None or e.busy))
            ),
            wait=_pause,
            stop=lambda state: self._give_up(state, started),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return retrying(ask)
        except Refused as error:
            error.tries = tries
            raise
        except Unavailable as error:
            # While it was looked for; the request itself was sent before.
            error.sent = error.sent or tries > 1
            raise
        except _Again as error:
            spent = f"tried {tries} times in {time.monotonic() - started:.0f} s" if tries > 1 else "tried once"
            raise Unavailable(f"{self.url}: {error.told} ({method} {path}, {spent})", sent=error.sent) from None

    def _once(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> Any:
        sent: dict[str, str] = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        if content is not None and len(content) > MOST_BYTES:
            what = f"{self.url}: {method} {path} would have {len(content):,} bytes, and SciCat takes {MOST_BYTES:,}"
            raise Refused(what, status=0)
        if content is not None:
            sent["Content-Type"] = "application/json"
        try:
            answer = self._http.request(
                method,
                f"{self.url}{path}",
                params=params,
                content=content,
                headers=sent | dict(headers or {}),
                timeout=_SLOW if slow else _QUICK,
            )
        except httpx.TransportError as error:
            raise self._lost(error) from None
        return self._read(answer, f"{method} {path}")

    def _lost(self, error: httpx.TransportError) -> Exception:
        """What it means that there was no answer."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                mend = "name the certificates of your facility with SSL_CERT_FILE, or mend the URL"
                what = f"{self.url}: its certificate is not trusted: {cause.verify_message}"
                return Refused(what, status=0, mend=mend)
            cause = cause.__cause__ or cause.__context__
        never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return Refused(f"{self.url}: cannot be asked: {self._hide(str(error))}", status=0, mend=NO_SCICAT)
        kind = "cannot be reached" if never else "does not answer"
        why = " ".join(self._hide(str(error)).split()) or type(error).__name__
        return _Again(f"{kind}: {why}", sent=not never, busy=isinstance(error, httpx.ReadTimeout))

    def _read(self, answer: httpx.Response, asked: str) -> Any:
        status = answer.status_code
        value, is_json = json_of(answer)
        if status in _BUSY or status == HTTPStatus.INTERNAL_SERVER_ERROR:
            most = _MOST_FAULTS if status == HTTPStatus.INTERNAL_SERVER_ERROR else None
            told = f"answers {status}{self._told(value)}"
            sent, busy = status != HTTPStatus.TOO_MANY_REQUESTS, status == HTTPStatus.GATEWAY_TIMEOUT
            raise _Again(told, sent=sent, busy=busy, after=retry_after(answer), most=most)
        if self._token is not None and has_expired(self._token, answer.headers.get("Date", "")):
            what = f"{self.url}: the token has expired"
            raise NotPermitted(what, status=HTTPStatus.UNAUTHORIZED, mend="get another one from SciCat")
        if answer.is_redirect:
            what = f"{self.url}: leads elsewhere, to {self._hide(answer.headers.get('Location', ''))}"
            raise Refused(what, status=status, mend="give that URL, if you trust it")
        if not is_json:
            what = f"{self.url}: answers {status} to {asked}, but not as SciCat does"
            raise Refused(what, status=status, mend=NO_SCICAT)
        if answer.is_success:
            self.has_worked = self.has_worked or self._token is not None
            return value
        what = f"{self.url}: {asked}: {status}{self._told(value)}"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            mend = "the token may have expired, or the account lacks the right"
            raise NotPermitted(what, status=status, mend=mend)
        raise Refused(what, status=status)

    def _renew(self) -> None:
        user, password = self._credentials.user, self._credentials.password
        if user is None or password is None:
            return
        self._token = None
        body = {"username": user, "password": password.get_secret_value()}
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=_pause,
            stop=lambda state: self._give_up(state, started),
            before_sleep=self._tell,
            reraise=True,
        )
        started = time.monotonic()
        try:
            told = retrying(self._once, "POST", "/api/v3/auth/login", body=body)
        except _Again as error:
            raise Unavailable(f"{self.url}: {error.told} (login)") from None
        except NotPermitted as error:
            what = f"{self.url}: user {user} and this password are not accepted"
            raise NotPermitted(what, status=error.status, mend="mend user or password") from None
        token = (told.get("access_token") or told.get("id")) if isinstance(told, dict) else None
        if not isinstance(token, str) or not fits_a_header(token):
            raise Refused(f"{self.url}: answers the login, but not as SciCat does", status=200, mend=NO_SCICAT)
        self._token = token
        lives = told.get("expires_in")
        # v4 takes a token that has expired for nobody's, and then shows public data only, without a word.
        self._renew_at = time.monotonic() + _RENEWED * lives if isinstance(lives, int | float) else float("inf")

    def _give_up(self, state: tenacity.RetryCallState, started: float) -> bool:
        error = None if state.outcome is None else state.outcome.exception()
        most = error.most if isinstance(error, _Again) else None
        if most is not None and state.attempt_number >= most:
            return True
        return time.monotonic() - started + state.upcoming_sleep > self._patience

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if isinstance(error, _Again):
            # Whoever waits for some time wants to know for what.
            level = logging.WARNING if state.attempt_number == _TELLING else logging.INFO
            _log.log(level, "%s: %s; trying again in %.1f s", self.url, error.told, state.upcoming_sleep)

    def _told(self, value: Any) -> str:
        """The server's own words."""
        text = value.get("message") if isinstance(value, dict) else None
        if isinstance(text, list):
            text = "; ".join(map(str, text))
        return f": {' '.join(self._hide(text).split())[:_TOLD]}" if isinstance(text, str) and text else ""

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return (*self._credentials.secrets(), *([self._token] if self._token else []))

    def _hide(self, text: str) -> str:
        return hide(text, self.secrets())

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


_backoff = tenacity.wait_exponential(multiplier=0.1, max=10.0) + tenacity.wait_random(0.0, 0.1)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: as the server asks for, else longer each time, and never in step with others."""
    error = None if state.outcome is None else state.outcome.exception()
    asked = error.after if isinstance(error, _Again) else None
    return _backoff(state) if asked is None else asked
