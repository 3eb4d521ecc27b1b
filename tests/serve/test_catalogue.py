"""The page of all datasets, and that of the facts of one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from catalogue.making import many
from hitsieve.catalogue import Catalogue
from hitsieve.serve import Server, create_app
from hitsieve.serve.marks import line_of
from hitsieve.settings import ServeSettings
from serve.conftest import SAMPLES, TOKEN, Site

N = 230


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    """A catalogue of 230 runs that never were."""
    place = tmp_path_factory.mktemp("crowd") / "catalogue.sqlite"
    with Catalogue(place, create=True) as catalogue:
        catalogue.add_all(many(N))
    return ServeSettings(catalogue=place)


@pytest.fixture(scope="module")
def asked(crowd: ServeSettings) -> Iterator[TestClient]:
    with TestClient(create_app(crowd), base_url="http://localhost", headers={"accept": "text/html"}) as client:
        yield client


def names(text: str) -> list[str]:
    return re.findall(r'<a href="/runs/[0-9a-f]{32}">([^<]*)</a>', text)


def test_all_datasets(client: TestClient, site: Site) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert sorted(names(page.text)) == ["plain", "pumped"]
    assert f"{100 * (site.pumped.hit_rate or 0):.1f} %" in page.text
    assert "95 % interval" in page.text and "Hit rate along the run: from" in page.text
    assert "light <b>" in page.text


def test_text_of_others_is_text(client: TestClient, site: Site) -> None:
    for path in ("/", f"/runs/{site.plain.id}/facts", "/?q=%3Cscript%3E"):
        page = client.get(path).text
        assert SAMPLES["plain"] not in page
        assert "<script>" not in page
    assert "&lt;b&gt;thaumatin&lt;/b&gt;" in client.get("/").text


def test_parts_hold_every_dataset_once(asked: TestClient) -> None:
    seen = [name for page in range(1, 11) for name in names(asked.get("/", params={"page": page, "size": 25}).text)]
    assert sorted(seen) == sorted({f"run_{number}" for number in range(N)})
    assert asked.get("/", params={"page": 11, "size": 25}).status_code == 200


@pytest.mark.parametrize(
    ("sort", "key", "down"),
    [
        ("hit_rate", "hit_rate", False),
        ("-resolution", "resolution", True),
        ("stem", "stem", False),
        ("-date", "date", True),
    ],
)
def test_sorted(asked: TestClient, sort: str, key: str, down: bool) -> None:
    found = [
        one[key]
        for page in (1, 2)
        for one in asked.get("/api/datasets", params={"sort": sort, "size": 200, "page": page}).json()["datasets"]
    ]
    known = [value for value in found if value is not None]
    assert len(found) == N
    assert known == sorted(known, reverse=down)
    assert found[: len(known)] == known, "what is not known comes last"


def test_found_as_the_catalogue_finds(asked: TestClient, crowd: ServeSettings) -> None:
    query = "hit_rate > 20 % and cell ~ 79,79,38,90,90,90 and pump is known"
    with Catalogue(crowd.catalogue or Path()) as catalogue:
        wanted = [(one.facts["id"], one.strain) for one in catalogue.search(query)]
    told = asked.get("/api/datasets", params={"q": query, "size": 200}).json()
    assert wanted and [(one["id"], one["strain"]) for one in told["datasets"]] == wanted
    assert told["n_found"] == len(wanted)


def test_what_is_asked_is_in_the_page(asked: TestClient) -> None:
    page = asked.get("/", params={"q": 'pump = light and "serial"', "sort": "-n_hits"}).text
    assert 'value="pump = light and &#34;serial&#34;"' in page
    assert 'aria-sort="descending"' in page
    assert "None of 230 datasets" in asked.get("/", params={"q": "n_images > 1e9"}).text


def test_facts(client: TestClient, site: Site) -> None:
    page = client.get(f"/runs/{site.pumped.id}/facts").text
    for told in (
        site.pumped.source_path,
        site.pumped.hits_digest,
        "pumped_light_hits.h5",
        "false_hit_rate",
        "curl -fL",
    ):
        assert told and told in page
    assert "sample_name" in page and "Overrides" in page
    for shown in (page, client.get(f"/runs/{site.pumped.id}").text):
        # A room within a room.
        assert "<dt>jobs.walltime</dt>" in shown and "walltime&#39;" not in shown


def test_the_rate_along_the_run_adds_up(site: Site) -> None:
    line = site.pumped.hit_rate_line
    assert len(line) == 32
    assert all(value is not None and 0 <= value <= 1 for value in line)
    # 60 images, in bins of one or two.
    assert sum(value or 0 for value in line) / 32 == pytest.approx(site.pumped.hit_rate, abs=0.1)


@pytest.mark.browser
def test_filter_sort_and_go_back(
    page: Any,
    expect: Any,
    crowd: ServeSettings,
    serving: Callable[..., Server],
    screenshot: Callable[[str], None],
) -> None:
    server = serving(crowd.model_copy(update={"base_path": "/below/a-path"}))
    page.goto(server.url)
    rows = page.locator(".datasets tbody tr")
    rows.first.wait_for()
    assert rows.count() == 50
    assert page.locator(".scroll").evaluate("(table) => table.scrollWidth <= table.clientWidth"), "files are cut off"
    screenshot("datasets")

    slider, query = page.locator("#s-rate"), page.locator("#q")
    slider.focus()
    for _ in range(5):
        slider.press("PageUp")
    expect(query).to_have_value(re.compile("hit_rate >= "))
    expect(page).to_have_url(re.compile("hit_rate"))
    value = float(re.findall(r"[\d.]+", query.input_value())[0])
    expect(page.locator("#s-rate-said")).to_have_text(f"{value:g} %")
    expect(page).to_have_url(re.compile(rf"%3D\+{value:g}\+%25$"))
    filtered = page.url

    page.get_by_role("link", name="Hit rate").click()
    expect(page.locator("th[aria-sort=descending]")).to_be_visible()
    expect(page.get_by_role("link", name="Hit rate")).to_be_focused()
    rates = [float(text.split()[0]) for text in page.locator(".rate .value").all_inner_texts()]
    assert rates == sorted(rates, reverse=True) and min(rates) >= value

    page.go_back()
    expect(page.locator("th[aria-sort]")).to_have_count(0)
    expect(page).to_have_url(filtered)
    page.reload()
    expect(page.locator("#s-rate-said")).to_have_text(f"{value:g} %")

    page.locator("#clear").click()
    expect(page).to_have_url(server.url)
    expect(page.locator(".head strong")).to_have_text(str(N))
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 5")).to_be_visible()


@pytest.mark.browser
def test_a_wrong_query_says_where(page: Any, expect: Any, wrong: list[str]) -> None:
    page.goto("/")
    query = page.locator("#q")
    query.fill("hitrate > 1")
    query.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("did you mean hit_rate")
    expect(query).to_have_attribute("aria-invalid", "true")
    query.fill("hit_rate > 1 %")
    query.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(query).not_to_have_attribute("aria-invalid", "true")
    # The browser itself writes a line for each answer that is no success.
    assert all("400" in line for line in wrong)
    wrong.clear()


@pytest.mark.browser
def test_a_field_is_put_into_the_query(page: Any, expect: Any) -> None:
    page.goto("/?q=n_hits+%3E+1")
    page.get_by_text("What can be searched by").click()
    page.locator("[data-insert=resolution_best]").click()
    expect(page.locator("#q")).to_have_value("n_hits > 1 and resolution_best ")
    expect(page.locator(".fields")).to_be_hidden()
    expect(page.locator("#q")).to_be_focused()
    page.get_by_text("What can be searched by").click()
    page.keyboard.press("Escape")
    expect(page.locator(".fields")).to_be_hidden()


@pytest.mark.browser
def test_a_checksum_on_demand(page: Any, expect: Any, site: Site) -> None:
    page.goto(f"/runs/{site.plain.id}/facts")
    page.get_by_role("button", name="compute the checksum of plain_hits.h5").click()
    digest = hashlib.sha256(site.file(site.plain).read_bytes()).hexdigest()
    expect(page.get_by_role("cell", name=digest)).to_be_visible()


@pytest.mark.browser
def test_the_token_is_asked_for(
    page: Any, expect: Any, site: Site, serving: Callable[..., Server], wrong: list[str]
) -> None:
    server = serving(site.settings, TOKEN)
    page.goto(f"{server.url}?q=pump+is+known")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("the token in the address is another", exact=False)).to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("link", name="pumped", exact=True)).to_be_visible()
    expect(page).to_have_url(server.url)
    page.goto(f"{server.url}runs/{site.pumped.id}/facts")
    expect(page.locator(".commands")).to_contain_text("$HITSIEVE_TOKEN")
    assert all("401" in line for line in wrong)
    wrong.clear()


@pytest.mark.browser
def test_commands_are_copied(page: Any, expect: Any, address: str, site: Site) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/?q=pump+is+known")
    page.locator("[data-copy-file]").first.click()
    expect(page.locator("#said")).to_have_text("copied")
    text = page.evaluate("() => navigator.clipboard.readText()")
    assert text == f"curl -fL --retry 5 -C - -o pumped_hits.h5 {address}files/{site.pumped.id}/pumped_hits.h5"
    page.reload()
    page.locator("[data-copy-from]").first.click()
    expect(page.locator("#said")).to_have_text("copied")
    assert page.evaluate("() => navigator.clipboard.readText()").startswith("#!/bin/sh")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages(page: Any, site: Site, scheme: str, screenshot: Callable[[str], None]) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for name, path in (("datasets", "/"), ("facts", f"/runs/{site.pumped.id}/facts")):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        screenshot(f"{name}-400-{scheme}")
    page.goto("/")
    # What is clipped away would be out of the pointer's reach.
    page.locator(".sort", has_text="Hits").first.click()
    page.wait_for_url("**/?sort=-n_hits")


@pytest.mark.browser
def test_by_keyboard(page: Any, site: Site) -> None:
    page.goto("/?q=pump+is+known")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    link = page.get_by_role("link", name="pumped", exact=True)
    for _ in range(40):
        page.keyboard.press("Tab")
        if link.evaluate("(node) => node === document.activeElement"):
            break
    assert link.evaluate("(node) => node === document.activeElement")
    for control in page.locator("input:not([type=hidden]), button, select").all():
        named = control.evaluate("(node) => node.labels?.length || node.textContent.trim() || node.ariaLabel")
        assert named


@pytest.mark.browser
def test_charts_are_drawn_under_the_policy(page: Any) -> None:
    page.goto("/")
    page.add_script_tag(url="/static/plotly.min.js")
    page.evaluate(
        """() => {
          const place = document.body.appendChild(document.createElement("div"));
          place.id = "chart";
          return Plotly.newPlot(place, [{y: [1, 3]}, {y: [1, 3], type: "scattergl"}, {z: [[1, 2]], type: "heatmap"}]);
        }"""
    )
    page.wait_for_selector("#chart .main-svg")


def test_a_line_of_one_value_goes_from_end_to_end() -> None:
    assert line_of([0.5]) == "M0.0 1.0L92.0 1.0"
    assert line_of([0.5, None, 1.0]) == "M0.0 11.0h.1M92.0 1.0h.1"
    assert line_of([None]) == line_of([]) == ""
