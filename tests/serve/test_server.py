"""`hitsieve serve` as a user starts and ends it, and the server among impolite visitors."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from hitsieve.cli.commands import call
from hitsieve.errors import SettingsError
from hitsieve.serve import create_app, doors
from hitsieve.serve import server as serving
from serve.conftest import TOKEN, Site, served

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))
PATIENT = 60.0
"""Seconds; the machine may be busy."""


@contextmanager
def started(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, running; the address that it printed."""
    command = [HITSIEVE, "serve", "--port", "0", *arguments]
    told = os.environ | (env or {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=told) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, (line, process.stderr.read() if process.stderr else "")
            yield process, found[0]
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENT)
    return process.returncode, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_it_prints_its_address_and_ends_cleanly(site: Site, number: int, code: int) -> None:
    with started("--catalogue", str(site.settings.catalogue)) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        # A visitor who stays does not hold it back.
        with httpx.Client() as visitor:
            assert visitor.get(url, timeout=PATIENT).status_code == 200
            returned, said = ended(process, number)
    assert returned == code
    assert "Traceback" not in said
    assert (said == "") == (code == 0)


def test_the_address_holds_the_token(site: Site) -> None:
    with started("--catalogue", str(site.settings.catalogue), env={"HITSIEVE_TOKEN": TOKEN}) as (process, url):
        assert url.endswith(f"/?token={TOKEN}")
        with httpx.Client(follow_redirects=True, timeout=PATIENT) as visitor:
            answer = visitor.get(url)
            assert answer.status_code == 200 and "token" not in str(answer.url)
            assert visitor.get(url.partition("?")[0]).status_code == 200
        assert httpx.get(url.partition("?")[0], timeout=PATIENT).status_code == 401
        assert ended(process, signal.SIGINT) == (0, "")


def test_the_browser_is_not_told_the_token(site: Site, tmp_path: Path) -> None:
    """Every user of a computer can read the arguments of its programs."""
    browser, told = tmp_path / "browser", tmp_path / "told"
    browser.write_text(f'#!/bin/sh\necho "$@" > {told}.part && mv {told}.part {told}\n')
    browser.chmod(0o700)
    env = {"HITSIEVE_TOKEN": TOKEN, "BROWSER": f"{browser} %s"}
    with started("--catalogue", str(site.settings.catalogue), "--open", env=env) as (process, url):
        end = time.monotonic() + PATIENT
        while not told.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert told.read_text().strip() == url.partition("?")[0]
        ended(process, signal.SIGINT)


def test_without_what_draws_it_does_not_start(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(SettingsError, match="plotly"):
        create_app(site.settings)


def test_where_it_does_not_start(tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> tuple[int, str]:
        code = call(["serve", *arguments])
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1
        return code, shown.err

    catalogue = ["--catalogue", str(site.settings.catalogue)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = refused("--port", port, *catalogue)
        assert code == 2 and f"127.0.0.1:{port} is taken" in said and "--port" in said
    code, said = refused("--host", "0.0.0.0", *catalogue)  # noqa: S104
    assert code == 2 and "a token with --token-file" in said
    code, said = refused("--host", "192.0.2.7", "--behind-proxy", *catalogue)
    assert code == 2 and "cannot be listened at" in said and "--host" in said
    code, said = refused("--catalogue", str(tmp_path / "none.sqlite"))
    assert code == 3 and "there is no catalogue yet" in said
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_at_once(site: Site) -> None:
    """Each gets an answer, or is told when to come again; and afterwards all is as before."""
    # The browser of other tests has a loop running in this thread.
    with served(site.settings) as server, ThreadPoolExecutor(1) as thread:
        answers = thread.submit(asyncio.run, _crowd(server.port, 1000)).result(300)
        statuses = Counter(answer[:12] for answer in answers)
        assert set(statuses) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}, statuses
        assert statuses[b"HTTP/1.1 200"] >= 1
        for answer in answers:
            assert b"Traceback" not in answer
            assert answer.startswith(b"HTTP/1.1 200") or b"retry-after: 2" in answer.lower()
        assert httpx.get(server.url, timeout=PATIENT).status_code == 200


async def _crowd(port: int, n: int) -> list[bytes]:
    """Answers to so many requests, all of them sent before the first answer is read."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(n)]
    for _, writer in streams:
        writer.write(b"GET /api/datasets?size=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answers = await asyncio.gather(*(reader.read() for reader, _ in streams))
    for _, writer in streams:
        writer.close()
    return answers


def test_who_takes_nothing_keeps_no_place(copied: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "STALLED", 0.2)
    monkeypatch.setattr(doors, "MOST_STREAMS", 1)
    place = copied.file(copied.plain)
    os.truncate(place, 1 << 28)
    path = f"files/{copied.plain.id}/{place.name}"
    with served(copied.settings) as server, socket.create_connection(("127.0.0.1", server.port), PATIENT) as idle:
        idle.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        part = {"range": "bytes=0-9"}
        deadline = time.monotonic() + PATIENT
        while (status := httpx.get(server.url + path, headers=part, timeout=PATIENT).status_code) == 503:
            assert time.monotonic() < deadline
        assert status == 206


def test_one_connection_more_than_there_may_be(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 1)
    with served(site.settings) as server, httpx.Client(timeout=PATIENT) as first:
        assert first.get(server.url).status_code == 200
        answer = httpx.get(server.url, timeout=PATIENT)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
        assert first.get(server.url).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: local"])
def test_who_sends_no_request_is_not_waited_for(site: Site, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    with served(site.settings) as server, socket.create_connection(("127.0.0.1", server.port), PATIENT) as slow:
        # It may be too late already.
        with suppress(ConnectionError):
            slow.sendall(sent)
            assert slow.recv(100) == b""
        # One who asks in time is answered, however often; how fast this machine is plays no part.
        monkeypatch.setattr(serving, "PATIENCE", PATIENT)
        with httpx.Client(timeout=PATIENT) as visitor:
            assert [visitor.get(server.url).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00" * 100,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"GET /files/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_nonsense_on_the_wire(address: str, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(address).port), PATIENT) as visitor:
        visitor.sendall(sent)
        answer = visitor.recv(65536)
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:80]
    assert b"root:" not in answer and b"Traceback" not in answer
