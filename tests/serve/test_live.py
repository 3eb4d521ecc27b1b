"""The page of running series, fed by `hitsieve live` and a detector that is imitated."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq
from starlette.testclient import TestClient

from cli.conftest import HITSIEVE
from hitsieve.errors import SettingsError
from hitsieve.serve import Server, create_app
from hitsieve.serve import live as serve_live
from hitsieve.source import open_run
from hitsieve.testing.stream import StreamedSeries, StreamSender
from ports import free_port
from serve.conftest import Site, served

WAIT = 240.0
"""Longest time (s) that is waited for what must come: whoever sieves gives way to all others on this computer."""


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


@contextmanager
def living(detector: str, publish: int, output: Path) -> Iterator[subprocess.Popen[str]]:
    """`hitsieve live`, once it waits for series."""
    flags = ["--publish", f"tcp://127.0.0.1:{publish}", "-o", str(output), "--indexing", "off", "--min-spots", "8"]
    command = [HITSIEVE, "live", detector, *flags, "--second-look", "0", "--no-catalogue", "--end-wait", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None and "waiting for series" in process.stderr.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are looked for ten times as often."""
    monkeypatch.setattr(serve_live, "PAUSE", 0.1)


@pytest.fixture(scope="module")
def publish() -> int:
    """Port that results are published at."""
    return free_port()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where series are received, and their outputs written."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def live_site(site: Site, publish: int, output: Path) -> Iterator[Server]:
    """The site, with a live page."""
    live = {"live": f"tcp://127.0.0.1:{publish}", "live_spool": output / "received", "base_path": "/below"}
    with served(site.settings.model_copy(update=live)) as server:
        yield server


@pytest.fixture
def crowded(site: Site) -> Iterator[Server]:
    """As that, for a crowd alone: that its visitors have gone is noticed some time later."""
    with served(site.settings.model_copy(update={"live": f"tcp://127.0.0.1:{free_port()}"})) as server:
        yield server


@pytest.fixture(scope="module")
def address(live_site: Server) -> str:
    """Where `page` looks."""
    return live_site.url


@pytest.fixture
def series(site: Site) -> Callable[[int], StreamedSeries]:
    def make(number: int) -> StreamedSeries:
        with open_run(site.folder / "raw/plain/plain_master.h5") as opened:
            return StreamedSeries.of(opened, number)

    return make


def test_without_an_address_there_is_no_page(client: TestClient) -> None:
    for path in ("/live", "/api/live/events"):
        answer = client.get(path)
        assert answer.status_code == 404 and "--live" in answer.text
    assert 'href="/live"' not in client.get("/").text


def test_an_address_that_cannot_be_is_told(site: Site) -> None:
    with pytest.raises(SettingsError, match="no port"):
        create_app(site.settings.model_copy(update={"live": "tcp://127.0.0.1:99999"}))


def events(server: Server, headers: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    import httpx

    with httpx.stream("GET", f"{server.url}api/live/events", headers=headers, timeout=WAIT) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        said: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                said[name] = value
            elif "event" in said:
                yield said["event"], said["id"], json.loads(said["data"])
                said = {}


def test_events_go_on_where_they_were(live_site: Server) -> None:
    told = events(live_site, {})
    kind, identity, _ = next(told)
    assert kind == "snapshot"
    assert next(told)[0] == "change"
    again = events(live_site, {"Last-Event-ID": identity})
    assert next(again)[0] == "change"
    for strange in ("00000000-1", "nonsense", identity + "1" * 30):
        other = events(live_site, {"Last-Event-ID": strange})
        assert next(other)[0] == "snapshot"
        other.close()
    told.close()
    again.close()


def test_there_are_pictures_of_series_only(live_site: Server) -> None:
    import httpx

    # The numbers of series that other tests send begin at 0.
    for number, image, status in ((10**6, 0, 404), (-1, 0, 400), (10**30, 0, 400), ("..%2f", "x", 400)):
        answer = httpx.get(f"{live_site.url}api/live/series/{number}/images/{image}.png")
        assert answer.status_code in (status, 404) and "Traceback" not in answer.text


def test_of_many_that_come_at_once_no_listener_slips_in(crowded: Server) -> None:
    import socket

    visitors = [socket.create_connection(("127.0.0.1", crowded.port), timeout=WAIT) for _ in range(60)]
    try:
        for one in visitors:
            one.sendall(b"GET /api/live/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers = [one.recv(12).decode() for one in visitors]
    finally:
        for one in visitors:
            one.close()
    assert set(answers) == {"HTTP/1.1 200", "HTTP/1.1 503"} and answers.count("HTTP/1.1 200") <= 32


@pytest.mark.browser
def test_a_series_that_ended_leads_to_its_run(site: Site, chromium: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    end: dict[str, Any] = {"counts": {"hit": 1}, "min_spots": 5, "received": 1, "doubled": 0, "later": 0, "dropped": 0}
    end |= {"problems": [], "why": "its end came", "failed": ""}
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        port = publisher.bind_to_random_port("tcp://127.0.0.1")

        def publish(name: str, outputs: list[str]) -> None:
            about = {"type": "end", "name": name, "series_id": 1, "series_unique_id": name}
            publisher.send(json.dumps({**about, **end, "outputs": outputs}).encode())

        with served(site.settings.model_copy(update={"live": f"tcp://127.0.0.1:{port}"})) as server:
            told: dict[str, Any] = {}

            def all_told() -> bool:
                publish("odd", [])
                publish("unknown", [str(tmp_path / "x_summary.json")])
                publish("known", [site.pumped.place])
                _, _, last = next(events(server, {}))
                told.update({one["name"]: one["run"] for one in last["series"]})
                return len(told) == 3

            until(all_told)
            assert told == {"known": site.pumped.id, "unknown": None, "odd": None}
            tab = chromium.new_page(base_url=server.url)
            tab.set_default_timeout(1000 * WAIT)
            tab.goto("/live")
            link = tab.get_by_role("link", name="known", exact=True).first
            link.focus()
            # What comes meanwhile does not take the focus away.
            before = tab.locator("#troubles")
            publisher.send(b"nonsense")
            expect(before).to_contain_text("none of hitsieve live", timeout=1000 * WAIT)
            assert link.evaluate("(node) => node === document.activeElement")
            tab.keyboard.press("Enter")
            tab.wait_for_url(f"**/runs/{site.pumped.id}")
            tab.close()


def test_too_many_listeners_are_told_to_wait(crowded: Server) -> None:
    import httpx

    with httpx.Client(limits=httpx.Limits(max_connections=100), timeout=WAIT) as visitor:
        open_ones = []
        answer = None
        try:
            for _ in range(33):
                answer = visitor.send(visitor.build_request("GET", f"{crowded.url}api/live/events"), stream=True)
                open_ones.append(answer)
            assert answer is not None and answer.status_code == 503 and answer.headers["retry-after"] == "10"
        finally:
            for one in open_ones:
                one.close()

        def free() -> bool:
            with visitor.stream("GET", f"{crowded.url}api/live/events") as answer:
                return bool(answer.status_code == 200)

        until(free)


@pytest.mark.browser
def test_page_follows_series_that_come_and_go(
    page: Any,
    publish: int,
    series: Callable[[int], StreamedSeries],
    screenshot: Callable[[str], None],
    output: Path,
) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=1000 * WAIT)
    page.goto("/live")
    state = page.locator("#state-text")
    expect(state).to_contain_text("No connection to hitsieve live")
    page.evaluate("window.sameForAllThatTime = true")
    with StreamSender(["tcp://127.0.0.1:*"]) as sender, living(sender.addresses[0], publish, output):
        expect(state).to_have_text("Connected, no series runs")

        def heard() -> bool:
            # What is published before a subscriber is known goes nowhere: this is sent until it arrives.
            sender.raw(b"nonsense")
            page.wait_for_timeout(100)
            return "could not be read" in (page.locator("#troubles").text_content() or "")

        until(heard)
        for number in (1, 2):
            one = series(number)
            sender.raw(cbor2.dumps(one.start))
            card = page.locator(".series").filter(has_text=f"series_00000{number}")
            for first, judged in ((0, 10), (10, 30)):
                for image in range(first, judged):
                    sender.raw(one.image(image))
                expect(card.locator('[data-is="judged"]')).to_have_text(str(judged))
            expect(card.locator('[data-is="announced"]')).to_have_text("of 40")
            assert card.locator('[data-is="verdicts"] rect').count() == 30
            expect(card.locator('[data-is="last-hit"]')).to_contain_text("counts a pixel")
            expect(state).to_have_text("1 series runs")
            expect(card.get_by_role("img", name="the more counts, the darker")).to_be_visible()
            screenshot(f"live-{number}")
            if number == 1:
                for image in range(30, 40):
                    sender.raw(one.image(image))
                sender.raw(one.end)
                row = page.locator("#done tr").filter(has_text="series_000001")
                expect(row.locator("td").nth(2)).to_have_text("40")
                expect(row.locator("td").nth(7)).to_have_text("its end came")
                # Its receiver enters no catalogue.
                expect(row.get_by_role("link")).to_have_count(0)
                expect(page.locator("#none")).to_be_visible()
    expect(state).to_contain_text("No connection to hitsieve live")
    expect(page.locator("#heard")).to_contain_text("nothing heard for")
    assert page.evaluate("window.sameForAllThatTime") is True
