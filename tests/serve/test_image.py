"""The page of an image, and what its script asks for."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from starlette.testclient import TestClient

from hitsieve.catalogue import Catalogue
from hitsieve.errors import SourceError
from hitsieve.model import State
from hitsieve.pipeline import run
from hitsieve.pipeline.explain import explain
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.pipeline.words import headline
from hitsieve.serve import create_app
from hitsieve.serve.opened import OpenedRuns
from hitsieve.serve.runs import Runs
from hitsieve.settings import CatalogueSettings, RunSettings, ServeSettings, VerdictSettings
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.write import open_results
from serve.conftest import WAIT, Site

BROKEN = 7
N = 24
DATA = "entry/data/data"


def spoil(path: Path, row: int) -> None:
    """Make the chunk of an image one that cannot be decoded."""
    with h5py.File(path, "r+") as file:
        images = file[DATA].id
        images.write_direct_chunk((row, 0, 0), images.read_direct_chunk((row, 0, 0))[1][:100] + b"\xff" * 900)


def sited(folder: Path) -> Site:
    """The runs below a folder, with a catalogue of them."""
    with Catalogue(folder / "catalogue.sqlite") as opened:
        records = {record.stem: record for record, _ in opened.part("").records}
    return Site(folder, ServeSettings(catalogue=folder / "catalogue.sqlite"), records)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A run of 24 images, one of which cannot be decoded; never changed."""
    folder = tmp_path_factory.mktemp("few")
    settings = SimulateSettings(name="few", detector="test-256k", images=N, hit_fraction=0.5, seed=11)
    made = simulate(folder / "raw", settings)
    spoil(made.data_files[0], BROKEN)
    rooms: dict[str, Any] = {
        "write": {"output": folder / "out", "audit_min": 2},
        "verdict": {"min_spots": 9},
        "catalogue": {"catalogue": folder / "catalogue.sqlite"},
    }
    run([made.master], RunSettings.model_validate(rooms))
    return sited(folder)


@pytest.fixture
def mine(few: Site, tmp_path: Path) -> Iterator[tuple[Site, TestClient]]:
    """A copy of that run and its source, to do damage to, and its pages."""
    shutil.copytree(few.folder / "raw", tmp_path / "raw")
    rooms: dict[str, Any] = {
        "write": {"output": tmp_path / "out", "audit_min": 2},
        "verdict": {"min_spots": 9},
        "catalogue": {"catalogue": tmp_path / "catalogue.sqlite"},
    }
    run([next((tmp_path / "raw").glob("*_master.h5"))], RunSettings.model_validate(rooms))
    site = sited(tmp_path)
    with asking(site.settings) as client:
        yield site, client


def asking(settings: ServeSettings) -> TestClient:
    client = TestClient(create_app(settings), base_url="http://localhost", follow_redirects=False)
    client.headers["accept"] = "text/html"
    return client


@pytest.fixture(scope="module")
def ask(few: Site) -> Iterator[TestClient]:
    with asking(few.settings) as client:
        yield client


def place(site: Site, image: int | str = "", *, api: bool = False) -> str:
    return f"{'/api' if api else ''}/runs/{site.runs['few'].id}/images/{image}"


def states(site: Site) -> npt.NDArray[np.uint8]:
    with open_results(site.folder / "out") as stored:
        return np.asarray(stored.column("state"))


def original(site: Site, image: int) -> npt.NDArray[Any]:
    with h5py.File(next((site.folder / "raw").glob("*_data_000001.h5"))) as file:
        return np.asarray(file[DATA][image])


def counts(answer: Any) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Counts of an answer, -1 where there are no data, and what is told of them."""
    assert answer.status_code == 200, answer.text
    told = json.loads(answer.headers["x-picture"])
    cells = np.frombuffer(answer.content, dtype=told["dtype"]).reshape(told["shape"]).astype(np.int64)
    return np.where(cells == told["no_data"], -1, cells - told["offset"]), told


def test_the_page_says_what_explain_says(few: Site, ask: TestClient) -> None:
    for image in (0, BROKEN, N - 1):
        said = headline(explain(few.folder / "out", image, picture=False))
        answer = ask.get(place(few, image))
        assert answer.status_code == 200
        assert said[1:] in answer.text.replace("&#39;", "'")
        assert f'Image <span id="number">{image}</span>' in answer.text


def test_facts_are_those_of_the_results(few: Site, ask: TestClient) -> None:
    state = states(few)
    hits = np.flatnonzero(state == State.HIT)
    image = int(hits[1])
    told = ask.get(place(few, image, api=True)).json()
    with open_results(few.folder / "out") as stored:
        results = stored.read([image])
    np.testing.assert_allclose(told["spots"]["x"], results.spots.x, atol=0.006)
    assert told["spots"]["lattice"] == results.spots.lattice.tolist()
    assert told["around"]["hit"] == [int(hits[0]), int(hits[2])]
    assert told["around"]["unreadable"] == ([BROKEN, None] if image > BROKEN else [None, BROKEN])
    assert len(told["lattices"]) == len(results.lattices)
    assert [ring["d"] for ring in told["sheet"]["rings"]] == sorted({r["d"] for r in told["sheet"]["rings"]})[::-1]
    assert "NaN" not in ask.get(place(few, image, api=True)).text


def test_pixels_are_those_of_the_image(few: Site, ask: TestClient) -> None:
    wanted = original(few, 3)
    found, told = counts(ask.get(place(few, "3/pixels", api=True)))
    assert told["original"] and told["level"] == 0
    seen = found >= 0
    assert seen.mean() > 0.9
    np.testing.assert_array_equal(found[seen], wanted[seen])
    tile, _ = counts(ask.get(place(few, "3/pixels?level=0&column=0&row=1", api=True)))
    np.testing.assert_array_equal(tile, found[512:1024, :512])


def test_the_profile_is_that_of_the_finder(few: Site, ask: TestClient) -> None:
    image = int(np.flatnonzero(states(few) == State.HIT)[0])
    told = ask.get(place(few, f"{image}/profile", api=True)).json()
    assert told["axis"] == "q" and not told["local"]
    assert len(told["at"]) == len(told["mean"]) == len(told["threshold"])
    above = dict(zip(told["at"], told["threshold"], strict=True))
    assert all(peak > above[at] for at, peak in zip(told["spots"]["at"], told["spots"]["peak"], strict=True))
    assert "differs" not in dict(told["why"])


def test_going_on(few: Site, ask: TestClient) -> None:
    state = states(few)
    hits, misses = (np.flatnonzero(state == kind).tolist() for kind in (State.HIT, State.MISS))

    def to(question: str) -> str:
        answer = ask.get(place(few, question))
        assert answer.status_code == 303
        return str(answer.headers["location"]).rsplit("/", 1)[1]

    assert to(f"{hits[0]}?next=hit") == str(hits[1])
    assert to(f"{hits[1]}?previous=hit") == str(hits[0])
    assert to("-1?next=miss") == str(misses[0])
    assert to("0?next=unreadable") == str(BROKEN)
    assert to(f"{10**30}?previous=image") == str(N - 1)
    assert ask.get(place(few).rstrip("/")).headers["location"] == place(few, hits[0])
    nowhere = ask.get(place(few, "0?next=missing"))
    assert nowhere.status_code == 404 and "go the other way" in nowhere.text.lower()


@pytest.mark.parametrize("image", ["-1", str(N), str(10**18), "9" * 60])
def test_no_such_image(few: Site, ask: TestClient, image: str) -> None:
    for what in ("", "/pixels", "/profile"):
        answer = ask.get(place(few, image + what, api=True))
        assert answer.status_code == 404, what
        assert answer.json()["mend"] == f"its images are 0 to {N - 1}"
    page = ask.get(place(few, image))
    assert page.status_code == 404
    assert "Traceback" not in page.text and "has no image" in page.text


@pytest.mark.parametrize("image", ["abc", "1.5", "1e3", "0x10", "%00", "3?next=everything", "3?previous="])
def test_nonsense(few: Site, ask: TestClient, image: str) -> None:
    answer = ask.get(place(few, image))
    assert answer.status_code in (400, 404)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("level=0&column=9&row=0", 404),
        ("level=7", 404),
        ("level=0&column=100000&row=100000", 404),
        ("level=-1", 400),
        ("level=99", 400),
        ("level=x", 400),
        (f"level=0&column={10**30}", 400),
    ],
)
def test_no_such_tile(few: Site, ask: TestClient, query: str, status: int) -> None:
    assert ask.get(place(few, f"3/pixels?{query}", api=True)).status_code == status


def test_an_unreadable_image_says_why(few: Site, ask: TestClient) -> None:
    for what in ("pixels", "profile", "pixels?level=0"):
        answer = ask.get(place(few, f"{BROKEN}/{what}", api=True))
        assert answer.status_code == 404
        assert f"image {BROKEN} is unreadable" in answer.json()["what"]
    assert ask.get(place(few, BROKEN, api=True)).json()["state"] == "unreadable"


def test_files_that_go_between_two_requests(mine: tuple[Site, TestClient]) -> None:
    site, client = mine
    state = states(site)
    hit, miss = (np.flatnonzero(state == kind).tolist() for kind in (State.HIT, State.MISS))
    assert counts(client.get(place(site, f"{hit[0]}/pixels", api=True)))[1]["original"]
    wanted = {image: original(site, image) for image in hit}

    shutil.rmtree(site.folder / "raw")
    found, told = counts(client.get(place(site, f"{hit[1]}/pixels", api=True)))
    assert not told["original"]
    assert told["place"].endswith("few_hits.h5, /entry/data/data, row 1")
    assert told["why_not_original"] == "few_data_000001.h5 is not there any more"
    np.testing.assert_array_equal(found[found >= 0], wanted[hit[1]][found >= 0])

    with h5py.File(site.file(site.runs["few"])) as file:
        sample = file["entry/hit_finding/audit/source_image"][()].tolist()
    lost = next(image for image in miss if image not in sample)
    answer = client.get(place(site, f"{lost}/pixels", api=True))
    assert answer.status_code == 404
    assert "no output holds it" in answer.json()["what"] and "recall" in answer.json()["mend"]
    assert client.get(place(site, lost)).status_code == 200

    spoil(site.file(site.runs["few"]), 2)
    answer = client.get(place(site, f"{hit[2]}/pixels", api=True))
    assert answer.status_code == 404 and "cannot be decoded" in answer.json()["what"]

    site.file(site.runs["few"]).unlink()
    assert client.get(place(site, f"{hit[3]}/pixels", api=True)).status_code == 404
    assert client.get(place(site, hit[3], api=True)).status_code == 200
    site.file(site.runs["few"], "_annotated.h5").unlink()
    answer = client.get(place(site, hit[3]))
    assert answer.status_code == 410 and "is not there any more" in answer.text
    assert client.get(place(site, f"{hit[3]}/pixels", api=True)).status_code == 410


def test_results_that_change_are_read_anew(mine: tuple[Site, TestClient]) -> None:
    site, client = mine
    master = site.file(site.runs["few"], "_annotated.h5")
    assert client.get(place(site, 0)).status_code == 200
    for wrong in (10**15, -3):
        other = Path(shutil.copyfile(master, master.with_name("other")))
        with h5py.File(other, "r+") as file:
            file["entry/hit_finding/spots/offsets"][5] = wrong
        other.replace(master)
        for what in (place(site, 4), place(site, 4, api=True), place(site, "5/pixels", api=True)):
            assert client.get(what).status_code in (200, 422), what
        answer = client.get(place(site, 4))
        assert answer.status_code == 422 and "Traceback" not in answer.text
    master.write_bytes(master.read_bytes()[:5000])
    answer = client.get(place(site, 0))
    assert answer.status_code == 422
    assert "Traceback" not in answer.text


def test_a_run_that_was_only_judged_anew(few: Site, tmp_path: Path) -> None:
    entered = CatalogueSettings(catalogue=tmp_path / "catalogue.sqlite")
    rethink(few.folder / "out", RethinkRequest(VerdictSettings(min_spots=20), tmp_path, catalogue=entered))
    site = sited(tmp_path)
    (record,) = site.runs.values()
    with asking(site.settings) as client:
        answer = client.get(f"/runs/{record.id}/images/0")
    assert answer.status_code == 404 and "rethink" in answer.text


def test_only_what_lies_in_the_folders_shown(few: Site) -> None:
    settings = few.settings.model_copy(update={"root": (few.folder / "out",)})
    image = int(np.flatnonzero(states(few) == State.HIT)[0])
    with asking(settings) as client:
        _, told = counts(client.get(place(few, f"{image}/pixels", api=True)))
        assert not told["original"]
        assert "outside the folders" in told["why_not_original"]


def test_many_at_once(few: Site, ask: TestClient) -> None:
    """Each gets its own image, whatever the others ask for."""
    readable = [image for image in range(N) if image != BROKEN]
    asked = [readable[i % len(readable)] for i in range(60)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda image: ask.get(place(few, f"{image}/pixels", api=True)), asked))
    wanted = {image: original(few, image) for image in readable}
    for image, answer in zip(asked, answers, strict=True):
        found, _ = counts(answer)
        np.testing.assert_array_equal(found[found >= 0], wanted[image][found >= 0])


def test_few_runs_stay_open(few: Site) -> None:
    """Results that are not asked for any more are closed, but not under the hands of who reads them."""
    opened = OpenedRuns(Runs(few.settings))
    identity = few.runs["few"].id
    with opened.images(identity) as (_, first), opened.images(identity) as (_, second):
        assert first is second
        (few.folder / "out" / "few_summary.json").touch()
        with opened.images(identity) as (_, third):
            assert third is not first
            assert first.account(0).image == 0
    with pytest.raises((SourceError, ValueError)):
        first.account(0)
    with opened.images(identity) as (_, again):
        assert again is third


def drawn(page: Any, canvas: str) -> list[int]:
    """How many dots of a canvas have each of its sixteen commonest colours."""
    return list(
        page.evaluate(
            """id => {
              const canvas = document.getElementById(id);
              const shown = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              const dots = new Uint32Array(shown.data.buffer);
              const found = new Map();
              for (const dot of dots) found.set(dot, (found.get(dot) ?? 0) + 1);
              return [...found.values()].sort((a, b) => b - a).slice(0, 16);
            }""",
            canvas,
        )
    )


def until(holds: Callable[[], bool]) -> None:
    """Wait, as long as a busy machine may need, until something holds."""
    end = time.monotonic() + WAIT / 1000
    while not holds():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.05)


@pytest.fixture
def expect(page: Any) -> Any:
    """What playwright waits for."""
    from playwright.sync_api import expect

    expect.set_options(timeout=WAIT)
    return expect


def look_at(page: Any, site: Site, image: int, rest: str = "") -> None:
    page.goto(place(site, f"{image}{rest}"))
    page.wait_for_selector(f'#stage[data-shown="{image}"]')


@pytest.fixture(scope="module")
def address(few: Site) -> Iterator[str]:
    """The pages of the run of this module."""
    from serve.conftest import served

    with served(few.settings.model_copy(update={"base_path": "/below"})) as server:
        yield server.url


@pytest.mark.browser
def test_a_picture_is_drawn_zoomed_and_marked(few: Site, page: Any, expect: Any, screenshot: Any) -> None:
    with open_results(few.folder / "out") as stored:
        image = int(np.flatnonzero(stored.column("n_lattices") > 0)[0])
        spots = stored.read([image]).spots
        spot = spots.take(np.flatnonzero(spots.lattice == 0)[:1])
    look_at(page, few, image)
    page.wait_for_selector(f'#profile[data-shown="{image}"] .main-svg')
    screenshot("image-hit")
    whole = drawn(page, "counts")
    assert len(whole) > 5, "the picture is blank"
    with_spots = drawn(page, "marks")
    page.keyboard.press("s")
    expect(page.locator("#layer-spots")).not_to_be_checked()
    until(lambda: drawn(page, "marks")[0] > with_spots[0])
    page.keyboard.press("s")
    page.keyboard.press("l")

    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -400)
    until(lambda: float(page.locator("#stage").get_attribute("data-zoom")) > 1.2)
    page.keyboard.press("0")
    expect(page.locator("#stage")).to_have_attribute("data-zoom", "1.000")
    page.keyboard.press("g")
    until(lambda: drawn(page, "counts") != whole)

    # Zoom in about a spot until its pixels show their counts; it says its Miller indices.
    x, y = (float(value[0]) for value in (spot.x, spot.y))
    # From elsewhere: a page that is open already writes what it shows into its address, some time later.
    page.goto("about:blank")
    page.goto(f"{place(few, image)}#x={x:.1f}&y={y:.1f}&zoom=40&by=miss")
    page.wait_for_selector(f'#stage[data-shown="{image}"]')
    until(lambda: float(page.locator("#stage").get_attribute("data-zoom")) > 20)
    assert drawn(page, "counts") != whole
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#readout")).to_have_text(re.compile(r"^x .* counts .* Å$"))
    expect(page.locator("#hover")).to_contain_text(f"({spot.h[0]} {spot.k[0]} {spot.l[0]})")
    screenshot("image-zoomed")
    assert page.input_value("#by") == "miss"
    page.keyboard.press("0")
    expect(page.locator("#stage")).to_have_attribute("data-zoom", "1.000")
    for before, after, zoom in ((40, 100, 2.5), (100, 50, 1.25)):
        pinch(page, before, after)
        until(lambda zoom=zoom: abs(float(page.locator("#stage").get_attribute("data-zoom")) - zoom) < 0.1)


def pinch(page: Any, before: int, after: int) -> None:
    """Two fingers on the picture, so many pixels from its middle, move until they are so many from it."""
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    hand = page.context.new_cdp_session(page)

    def send(kind: str, apart: float | None) -> None:
        fingers = [] if apart is None else [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    send("touchStart", before)
    for step in range(1, 5):
        send("touchMove", before + (after - before) * step / 4)
    send("touchEnd", None)
    hand.detach()


@pytest.mark.browser
def test_from_hit_to_hit_by_keyboard(few: Site, page: Any, expect: Any, screenshot: Any) -> None:
    state = states(few)
    hits, misses = (np.flatnonzero(state == kind).tolist() for kind in (State.HIT, State.MISS))
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 400, "height": 800})
    look_at(page, few, hits[0])
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'#stage[data-shown="{hits[1]}"]')
    page.wait_for_url(re.compile(rf"/images/{hits[1]}(#.*)?$"))
    expect(page).to_have_title(f"few, image {hits[1]} · hitsieve")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    after = next(image for image in misses if image > hits[1])
    page.wait_for_selector(f'#stage[data-shown="{after}"]')
    expect(page.locator("#headline")).to_have_text(re.compile("^Miss"))
    page.go_back()
    page.wait_for_selector(f'#stage[data-shown="{hits[1]}"]')
    page.wait_for_selector(f'#profile[data-shown="{hits[1]}"] .main-svg')
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    # What is hidden for want of room has a name for who listens all the same.
    expect(page.get_by_role("spinbutton", name="Image")).to_be_visible()
    expect(page.get_by_role("slider", name="Counts to")).to_have_attribute("aria-valuetext", re.compile(r"\d counts$"))
    screenshot("image-narrow-dark")

    page.keyboard.press("u")
    page.keyboard.press("ArrowRight" if hits[1] < BROKEN else "ArrowLeft")
    expect(page.locator("#headline")).to_have_text(re.compile("^Unreadable"))
    expect(page.locator("#nothing")).to_contain_text(f"image {BROKEN} is unreadable")
    screenshot("image-unreadable")
