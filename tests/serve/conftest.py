"""Finished runs in a catalogue of their own, the application over it, a server in a thread, and a browser."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from hitsieve.catalogue import Catalogue, Record
from hitsieve.pipeline import run
from hitsieve.serve import Server, create_app
from hitsieve.settings import RunSettings, ServeSettings
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.lengthen import lengthen
from hitsieve.write import Outputs

CHROMIUM = Path(os.environ.get("HITSIEVE_CHROMIUM", "/usr/bin/chromium"))
SAMPLES = {"pumped": "lysozyme", "plain": "<b>thaumatin</b>"}
"""The second is not to become a part of a page."""
LONG = 6000
"""Images of the long run."""
STOP = (2000, 2499)
"""First and last image without a jet in it."""
TOKEN = "a-token-of-many-letters"  # noqa: S105
WAIT = 60_000
"""Longest time (ms) that a page is waited for: the machine may be busy."""


@dataclass(frozen=True)
class Site:
    """What is served."""

    folder: Path
    """Holds raw/ and out/."""
    settings: ServeSettings
    runs: dict[str, Record]
    """By their names: pumped (60 images, dark and light), plain (40 images)."""

    @property
    def pumped(self) -> Record:
        return self.runs["pumped"]

    @property
    def plain(self) -> Record:
        return self.runs["plain"]

    def file(self, record: Record, suffix: str = "_hits.h5") -> Path:
        return Path(record.place).with_name(record.stem + suffix)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two finished runs; never changed by a test."""
    folder = tmp_path_factory.mktemp("site")
    catalogue = folder / "catalogue.sqlite"
    for name, images, pump in (("pumped", 60, "dark:1,light:1"), ("plain", 40, "")):
        made = simulate(
            folder / "raw" / name,
            SimulateSettings(name=name, detector="test-256k", images=images, hit_fraction=0.4, pump=pump),
        )
        rooms: dict[str, Any] = {
            "source": {"pump": pump or None, "set": [f"sample_name={SAMPLES[name]}"]},
            "write": {"output": folder / "out" / name, "split_pump": bool(pump)},
            "catalogue": {"catalogue": catalogue},
        }
        run([made.master], RunSettings.model_validate(rooms))
    with Catalogue(catalogue) as opened:
        records = {record.stem: record for record, _ in opened.part("").records}
    return Site(folder, ServeSettings(catalogue=catalogue), records)


@pytest.fixture(scope="session")
def client(site: Site) -> Iterator[TestClient]:
    """Asks the application, as a browser at this computer would."""
    with TestClient(create_app(site.settings), base_url="http://localhost:8080", follow_redirects=False) as asked:
        asked.headers["accept"] = "text/html"
        yield asked


@contextmanager
def served(settings: ServeSettings, token: str | None = None) -> Iterator[Server]:
    """A real server, on a free port, in a thread."""
    settings = settings.model_copy(update={"port": 0})
    with Server(create_app(settings, token=token), settings) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(60)


@pytest.fixture(scope="session")
def address(site: Site) -> Iterator[str]:
    """Where the site is served, with a slash at its end."""
    with served(site.settings) as server:
        yield server.url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; see `page`."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium, or name it with HITSIEVE_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def wrong() -> list[str]:
    """What went wrong in the page so far; a test that asks for what is refused clears it."""
    return []


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """`served` until `page` is closed: a tab may ask for a picture or an icon to its last moment."""
    with ExitStack() as open_ones:
        yield lambda *settings: open_ones.enter_context(served(*settings))


@pytest.fixture
def page(chromium: Any, address: str, serving: object, wrong: list[str]) -> Iterator[Any]:
    """A fresh tab at 1280 x 800; errors of scripts, what the policy refuses, and requests elsewhere fail the test.

    So do requests that a page makes by itself of this server, but not below its path. Servers for it alone come from
    `serving`, which outlives it.
    """
    origin = urljoin(address, "/")

    def elsewhere(asked: Any) -> bool:
        if asked.url.startswith(origin) and not asked.is_navigation_request():
            return not asked.url.startswith(address)
        return not asked.url.startswith(("http://127.0.0.1:", "data:", "blob:"))

    context = chromium.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
    context.set_default_timeout(WAIT)
    tab = context.new_page()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("request", lambda asked: wrong.append(asked.url) if elsewhere(asked) else None)
    yield tab
    context.close()
    assert wrong == []


@pytest.fixture
def expect(chromium: Any) -> Any:
    """What playwright waits for, with patience; wait_for_function is refused by the policy of our pages."""
    from playwright.sync_api import expect as patient

    patient.set_options(timeout=WAIT)
    return patient


@pytest.fixture
def screenshot(page: Any) -> Callable[[str], None]:
    """Keep a picture of the page, where HITSIEVE_SCREENSHOTS names a folder for them."""

    def keep(name: str) -> None:
        folder = os.environ.get("HITSIEVE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return keep


@pytest.fixture
def copied(site: Site, tmp_path: Path) -> Site:
    """The outputs of the site in another folder, to be damaged, with a catalogue of them."""
    from hitsieve.pipeline.register import enter

    shutil.copytree(site.folder / "out", tmp_path / "out")
    enter([tmp_path / "out"], tmp_path / "catalogue.sqlite")
    with Catalogue(tmp_path / "catalogue.sqlite") as opened:
        records = {record.stem: record for record, _ in opened.part("").records}
    return Site(tmp_path, ServeSettings(catalogue=tmp_path / "catalogue.sqlite"), records)


@pytest.fixture(scope="session")
def long_run(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The results of the pumped run over and over, 6000 images, in which the jet stops; in a catalogue of its own."""
    from hitsieve.pipeline.register import enter

    folder = tmp_path_factory.mktemp("long")
    short = Outputs.of(Path(site.pumped.place).parent, "pumped")
    outputs = lengthen(short, folder / "out", LONG, stops=[STOP])
    enter([outputs.summary], folder / "catalogue.sqlite")
    with Catalogue(folder / "catalogue.sqlite") as opened:
        records = {record.stem: record for record, _ in opened.part("").records}
    return Site(folder, ServeSettings(catalogue=folder / "catalogue.sqlite"), records)
