"""How a server is talked to: patience, and what answers mean."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from hitsieve.catalogue.scicat import (
    Credentials,
    NotPermitted,
    Refused,
    SciCat,
    Unavailable,
    checked_url,
    hide,
    lookup,
    quoted,
)
from hitsieve.errors import SettingsError
from hitsieve.testing.scicat import FakeSciCat, Fault
from scicat.conftest import USER

Connect = Callable[..., SciCat]


@contextmanager
def answering(*answers: tuple[int, dict[str, str], Any]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives some answers in order, the last for ever; its URL, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, value = answers[min(len(asked), len(answers) - 1)]
            asked.append(f"{self.command} {self.path}")
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Give connections, closed at the end."""
    with ExitStack() as stack:
        yield lambda *given, **words: stack.enter_context(SciCat(*given, **words))


def test_a_busy_server_is_asked_again_when_it_says(connect: Connect) -> None:
    with answering((503, {"Retry-After": "1"}, {}), (429, {"Retry-After": "0"}, {}), (200, {}, [])) as (url, asked):
        started = time.monotonic()
        assert connect(url).get("/api/v3/datasets") == []
        assert time.monotonic() - started >= 1.0
        assert len(asked) == 3
    with answering((503, {"Retry-After": "3600"}, {"message": "closed"})) as (url, asked):
        with pytest.raises(Unavailable, match=r"answers 503: closed .*tried once"):
            connect(url).get("/api/v3/datasets")
        assert len(asked) == 1
    date = {"Retry-After": formatdate(time.time() + 3600, usegmt=True)}
    with answering((503, date, {})) as (url, asked):
        with pytest.raises(Unavailable):
            connect(url).get("/api/v3/datasets")
        assert len(asked) == 1


def test_faults_of_the_server_are_not_tried_for_ever(connect: Connect) -> None:
    with answering((500, {}, {"message": ["a", "b"]})) as (url, asked):
        with pytest.raises(Unavailable, match=r"answers 500: a; b .*tried 3 times"):
            connect(url).get("/api/v3/datasets")
        assert len(asked) == 3


def test_what_may_have_been_carried_out_is_not_sent_again(connect: Connect) -> None:
    with answering((502, {}, {})) as (url, asked):
        client = connect(url, landing=0.0)
        with pytest.raises(Unavailable) as blind:
            client.post("/api/v4/datasets", {})
        assert (len(asked), blind.value.sent) == (1, True)
        assert client.post("/api/v4/datasets", {}, landed=lambda: {"pid": "there"}) == {"pid": "there"}
        assert len(asked) == 2
    # While another server between may only have lost its patience, it is too early to look.
    with answering((504, {}, {})) as (url, asked):
        with pytest.raises(Unavailable):
            connect(url, landing=0.0).post("/api/v4/datasets", {}, landed=lambda: None)
        assert len(asked) == 1


@pytest.mark.parametrize("version", ["v5", "v4"])
def test_an_expired_token_is_had_anew_once(connect: Connect, version: Any) -> None:
    with FakeSciCat(version) as fake:
        client = connect(fake.url, USER)
        client.login()
        fake.expire_tokens()
        assert client.get("/api/v4/datasets") == []
        assert [seen.status for seen in fake.requests] == [201, 401 if version == "v5" else 403, 201, 200]
        fake.fail_next(2, Fault("status", 403, only="GET"))
        with pytest.raises(NotPermitted):
            client.get("/api/v4/datasets")


def test_a_token_is_had_anew_before_it_expires(connect: Connect) -> None:
    with FakeSciCat(token_seconds=1.0) as fake:
        client = connect(fake.url, USER)
        client.login()
        # The server goes on taking it: what is done is done by the time that it has told.
        ((token, session),) = fake.store.sessions.items()
        fake.store.sessions[token] = replace(session, until=float("inf"))
        time.sleep(1.0)
        client.get("/api/v4/datasets")
        assert [seen.status for seen in fake.requests] == [201, 201, 200]


def test_a_token_that_says_when_it_ends(connect: Connect) -> None:
    """By the server's clock: a list of public data only must not be taken for all that there is."""

    def token(exp: int) -> Credentials:
        claims = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
        return Credentials(token=SecretStr(f"e30.{claims}.c2ln"))

    with answering((200, {}, [])) as (url, _):
        with pytest.raises(NotPermitted, match="the token has expired"):
            connect(url, token(1_000_000_000)).get("/api/v4/datasets")
        assert connect(url, token(99_000_000_000)).get("/api/v4/datasets") == []
        assert connect(url, Credentials(token=SecretStr("opaque"))).get("/api/v4/datasets") == []


def test_answers_that_are_none(connect: Connect) -> None:
    with answering((404, {}, {"message": "no such thing"})) as (url, _), pytest.raises(Refused) as lost:
        connect(url).get("/api/v4/datasets/x")
    assert (lost.value.status, str(lost.value)) == (404, f"{url}: GET /api/v4/datasets/x: 404: no such thing")
    for body in (b"<html>", b"[" * 100_000 + b"]" * 100_000, b"\xff\xfe"):
        with answering((200, {}, body)) as (url, _), pytest.raises(Refused, match="not as SciCat does"):
            connect(url).get("/api/v4/datasets")


def test_identifiers_and_addresses() -> None:
    assert quoted("20.500.11935/a b") == "20.500.11935%2Fa%20b"
    for given in ("https://a.org/scicat/api/v3/", "https://a.org/scicat", " https://a.org/scicat/api/v4 "):
        assert checked_url(given) == "https://a.org/scicat"
    assert checked_url("http://[::1]:3000/") == "http://[::1]:3000"
    assert checked_url("http://a.org", insecure=True) == "http://a.org"
    assert checked_url("https://A.org:443/") == "https://a.org"
    for given in (
        *("a.org", "ftp://a.org", "https://", "http://a.org", "https://u:p@a.org", "https://a.org:x", "https://[::1"),
        *("https://a.org\\.b.org", "https://a b.org", "https://a..org", "https://xn--zz.org", "https://a\x01.org"),
        f"https://{'a' * 300}.org",
    ):
        with pytest.raises(SettingsError):
            checked_url(given)


def test_no_proxy_is_told_what_is_for_this_computer(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with answering((200, {}, [])) as (url, asked):
        assert connect(url).get("/api/v4/datasets") == []
        assert len(asked) == 1


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "\u00e9", 3])
def test_a_token_that_no_header_can_carry(connect: Connect, token: Any) -> None:
    with answering((200, {}, {"access_token": token})) as (url, _), pytest.raises(Refused, match="not as SciCat does"):
        connect(url, USER).login()


def test_a_secret_is_hidden_in_every_spelling() -> None:
    word = 'p"a  \\w\u00f6rd'
    for text in (word, json.dumps({"password": word}), json.dumps(word, ensure_ascii=False), quoted(word)):
        assert hide(text, (word,)).strip('"').removeprefix('{"password": "').removesuffix('"}') == "***"


def test_a_server_that_tells_what_it_was_told(connect: Connect) -> None:
    word = "a  b"
    with answering((400, {}, {"message": f"no {word}"})) as (url, _), pytest.raises(Refused, match=r"no \*\*\*$"):
        connect(url, Credentials(user="u", password=SecretStr(word))).get("/api/v4/datasets")


def test_a_body_that_is_too_large_is_told_and_not_sent(connect: Connect) -> None:
    with answering((500, {}, {})) as (url, asked):
        with pytest.raises(Refused, match=r"would have 17,\d+,\d+ bytes, and SciCat takes 16,777,216"):
            connect(url).post("/api/v4/datasets", {"description": "x" * 17_000_000})
        assert asked == []


DATASET = {"pid": "a", "type": "raw", "sourceFolder": "/x"}
FILE = {"path": "a", "size": 1}


@pytest.mark.parametrize(
    ("look", "answer"),
    [
        (lookup.dataset, DATASET | {"pid": "b"}),
        (lookup.dataset, [DATASET]),
        (lookup.dataset, DATASET | {"updatedAt": "yesterday"}),
        (lookup.raw_datasets, [DATASET | {"scientificMetadata": []}]),
        (lookup.derived_datasets, [3]),
        (lookup.files_of, [{"dataFileList": [{"path": "a"}]}]),
        (lookup.files_of, [{"dataFileList": ["x"]}]),
        (lookup.files_of, {"dataFileList": []}),
        (lookup.captions_of, 3),
        (lookup.archive_job, "none"),
    ],
)
def test_answers_of_another_form_are_refused(connect: Connect, look: Callable[..., Any], answer: Any) -> None:
    with answering((200, {}, answer)) as (url, _), pytest.raises(Refused, match="but not as SciCat does"):
        look(connect(url), "a")


def test_what_was_not_asked_for_is_passed_over(connect: Connect) -> None:
    """A server that knows no filters must not have a dataset of somebody else changed."""
    run = {"scientificMetadata": {"hitsieve_id": {"value": "r"}}}
    for look, good in (
        (lookup.raw_datasets, DATASET),
        (lookup.raw_datasets_of, DATASET | run),
        (lookup.derived_datasets, {**DATASET, "type": "derived", **run}),
    ):
        what = "/x" if look is lookup.raw_datasets else "r"
        others = [{"pid": "b", "type": "raw", "sourceFolder": "/y"}, {"pid": "c", "type": "derived"}]
        with answering((200, {}, [others[0], good, others[1]])) as (url, _):
            assert look(connect(url), what) == [good]
