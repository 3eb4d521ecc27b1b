"""The page of a run in a browser: it is drawn, zooms, and is moved in by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from .conftest import LONG, Site, served
from .watching import keep, look, watched

pytestmark = pytest.mark.browser

IMAGE = '<link rel="icon" href="data:,"><title>image</title>'
"""Stands for the page of an image; without an icon the browser would ask for one, which is not there."""


@pytest.fixture(scope="module")
def tab(chromium: Any, long_run: Site) -> Iterator[Any]:
    with (
        served(long_run.settings) as server,
        watched(chromium, server.url, told="410", base_url=server.url) as opened,
    ):
        yield opened


def shown(tab: Any) -> tuple[int, int]:
    first, last = tab.locator("#along").get_attribute("data-shown").split("-")
    return int(first), int(last)


def wait_for(tab: Any, first: int, last: int) -> None:
    tab.wait_for_selector(f'#along[data-shown="{first}-{last}"]')


def test_page_opens_and_shows_where_the_jet_stopped(tab: Any, long_run: Site) -> None:
    tab.goto(f"/runs/{long_run.pumped.id}")
    wait_for(tab, 0, LONG - 1)
    assert f"{long_run.pumped.n_hits:,} hits of {LONG:,} searched" in tab.locator("#span-words").inner_text()
    assert "off in 1 stretch" in tab.locator("#span-words").inner_text()
    assert tab.locator("#along .shapelayer path").count() == 1
    assert "jet stopped" in tab.locator("#legend").inner_text()
    for chart in ("#spots", "#resolution", "#cell-0", "#cell-5"):
        tab.wait_for_selector(f"{chart} .bars path")
    look(tab, "run")


def test_zooming_by_mouse_asks_for_finer_bins(tab: Any, long_run: Site) -> None:
    tab.goto(f"/runs/{long_run.pumped.id}")
    wait_for(tab, 0, LONG - 1)
    tab.locator("#along").scroll_into_view_if_needed()
    box = tab.locator("#along .xy .drag, #along rect.nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    with tab.expect_request("**/overview?*") as sent:
        tab.mouse.move(box["x"] + 0.30 * box["width"], middle)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.40 * box["width"], middle, steps=4)
        tab.mouse.move(box["x"] + 0.45 * box["width"], middle, steps=4)
        tab.mouse.up()
    asked = parse_qs(urlparse(sent.value.url).query)
    first, last = int(asked["first"][0]), int(asked["last"][0])
    assert abs(first - 0.30 * LONG) < 0.02 * LONG
    assert abs(last - 0.45 * LONG) < 0.02 * LONG
    wait_for(tab, first, last)
    tab.wait_for_url(f"**#{first}-{last}")
    assert f"Images {first:,} to {last:,}:" in tab.locator("#span-words").inner_text()
    keep(tab, "run-zoomed")


def test_moving_by_keyboard(tab: Any, long_run: Site) -> None:
    """To images one by one, on, back to the whole run; the table says what the chart shows. A bin leads to its hit."""
    tab.goto(f"/runs/{long_run.pumped.id}")
    wait_for(tab, 0, LONG - 1)
    tab.locator("#span-first").fill("2450")
    tab.locator("#span-last").fill("2549")
    tab.keyboard.press("Enter")
    wait_for(tab, 2450, 2549)
    tab.locator("summary", has_text="The same as a table").press("Enter")
    first_row = tab.locator("#bins tbody tr").first.inner_text().split("\t")
    assert first_row[:4] == ["2,450 to 2,454", "0", "5", "0 %"]
    assert tab.locator("#bins tbody tr").count() == 20
    assert "dark" in tab.locator("#along .y2tick").all_text_contents()
    tab.locator('[data-move="on"]').press("Enter")
    wait_for(tab, 2500, 2599)
    tab.locator('[data-move="whole"]').press("Enter")
    wait_for(tab, 0, LONG - 1)
    assert tab.locator('[data-move="whole"]').is_disabled()
    tab.route("**/images/*", lambda route: route.fulfill(body=IMAGE, content_type="text/html"))
    hit = tab.locator("#bins tbody a").first.get_attribute("href")
    tab.evaluate(
        """() => {
          const chart = document.getElementById("along");
          const bins = chart.data.find((trace) => trace.customdata).customdata;
          chart.emit("plotly_click", { points: [{ customdata: bins[0] }] });
        }"""
    )
    tab.wait_for_url(f"**{hit}")


def test_grid_files_and_faults(tab: Any, long_run: Site) -> None:
    tab.goto(f"/runs/{long_run.pumped.id}?grid=100x60,snake")
    tab.wait_for_selector('#grid[data-shown="0-99"] .heatmaplayer image')
    assert "100 columns and 60 rows" in tab.locator("#grid-words").inner_text()
    tab.locator("#grid-shows").select_option("spots")
    by_keyboard(tab)
    tab.locator("#spots-title ~ details summary").press("Enter")
    # The browser tells the page of it a moment later.
    tab.wait_for_selector("#spots-table tbody tr")
    rows = tab.locator("#spots-table tbody tr td:nth-child(2)").all_inner_texts()
    assert sum(int(text.replace(",", "")) for text in rows) == long_run.pumped.n_hits
    files = tab.locator(".files table")
    assert files.locator("tbody tr").count() == LONG // 1000
    files.get_by_role("button", name="Hits").click()
    counts = [int(text.replace(",", "")) for text in files.locator("tbody td:nth-child(4)").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    tab.route("**/overview?*", lambda route: route.fulfill(status=410, json={"what": "it is gone", "mend": "bring it"}))
    tab.locator('[data-move="in"]').click()
    assert "it is gone (bring it)" in tab.locator("#trouble:visible").inner_text()
    tab.unroute("**/overview?*")


def by_keyboard(tab: Any) -> None:
    """From square to square, each marked and said; in, out, and to the image of one."""
    grid, said = tab.locator("#grid"), tab.locator("#grid-at")
    grid.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown"):
        tab.keyboard.press(key)
    assert re.fullmatch(
        r"column 2 to 3, row 1; \d+ hits? of 2 searched, 2 images; \d+ spots at most\.", said.inner_text()
    )
    tab.locator("#grid .shapelayer path").nth(1).wait_for(state="attached")
    keep(tab, "run-grid")
    tab.keyboard.press("+")
    tab.wait_for_selector('#grid[data-shown="0-49"]')
    tab.wait_for_selector("#grid-at:has-text('column 2, row 1; ')")
    tab.keyboard.press("0")
    tab.wait_for_selector('#grid[data-shown="0-99"]')
    tab.locator("#grid-shows").focus()
    tab.wait_for_selector("#grid .shapelayer path", state="detached")
    tab.route("**/images/*", lambda route: route.fulfill(body=IMAGE, content_type="text/html"))
    grid.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_url(re.compile(r"/images/\d+$"))
    tab.unroute("**/images/*")
    tab.go_back()
    tab.wait_for_selector("#grid[data-shown]")
