"""The page of a run: what it says, what its charts are drawn from, and how one moves in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from starlette.testclient import TestClient

from hitsieve.catalogue import Record
from hitsieve.serve import create_app
from hitsieve.write import open_results

from .conftest import STOP, Site

STATES = ("hits", "misses", "unreadable", "missing")


@pytest.fixture(scope="module")
def asked(long_run: Site) -> Iterator[TestClient]:
    with TestClient(create_app(long_run.settings), base_url="http://localhost:8080") as client:
        yield client


def address(record: Record, what: str = "overview", **query: object) -> str:
    return f"/api/runs/{record.id}/{what}?" + "&".join(f"{name}={value}" for name, value in query.items())


def strict(text: str) -> Any:
    """JSON as browsers read it: NaN is none."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", ["pumped", "plain"])
def test_answer_adds_up_to_the_run(client: TestClient, site: Site, name: str) -> None:
    record = site.runs[name]
    told = strict(client.get(address(record)).text)
    counted = {state: sum(told[state]) for state in STATES}
    stated = {state: getattr(record, f"n_{state}") for state in STATES}
    assert counted == stated
    assert sum(told["histograms"]["spots"]["hits"]) == record.n_hits
    assert [state["name"] for state in told["pump"]["states"]] == (["dark", "light"] if name == "pumped" else [])
    with open_results(record.place) as stored:
        assert told["n_lattices"] == len(stored.read(range(len(stored))).lattices)
        assert [image for image in told["first_hit"] if image >= 0] == stored.hits.tolist()


def test_the_page_leads_to_some_of_the_hits(copied: Site) -> None:
    with TestClient(create_app(copied.settings), base_url="http://localhost:8080") as asked:
        link = f'href="/runs/{copied.plain.id}/choose"'
        assert link in asked.get(f"/runs/{copied.plain.id}").text
        assert link not in asked.get(f"/runs/{copied.plain.id}/report").text
        copied.file(copied.plain).unlink()
        assert link not in asked.get(f"/runs/{copied.plain.id}").text


def test_zooming_counts_anew_and_stays_short(asked: TestClient, long_run: Site) -> None:
    record = long_run.pumped
    whole = asked.get(address(record, bins=2000))
    assert len(whole.content) < 200_000
    told = strict(whole.text)
    assert (len(told["hits"]), sum(told["hits"])) == (2000, record.n_hits)
    assert [(part["kind"], part["first"], part["last"]) for part in told["segments"]] == [("jet stopped", *STOP)]
    part = strict(asked.get(address(record, first=1999, last=2098, bins=100)).text)
    assert part["edges"] == [*range(1999, 2100)]
    assert (part["hits"][1:], sum(part["misses"])) == ([0] * 99, 100 - sum(part["hits"]))
    assert len(part["pump"]["of_image"]) == 100


@pytest.mark.parametrize(
    ("what", "query", "says"),
    [
        ("overview", "first=9&last=3", "the run has images 0 to"),
        ("overview", "first=-1", "first"),
        ("overview", "bins=0", "bins"),
        ("overview", "bins=1e9", "bins"),
        ("overview", "last=many", "last"),
        ("overview", "first=99999999999999999999999999", "first"),
        ("grid", "grid=banana", "COLUMNSxROWS"),
        ("grid", f"grid={'9' * 50}x1", "grid"),
        ("grid", "grid=6x10&first_column=7", "lie outside"),
    ],
)
def test_nonsense_is_told_so(client: TestClient, site: Site, what: str, query: str, says: str) -> None:
    answer = client.get(f"/api/runs/{site.pumped.id}/{what}?{query}")
    assert answer.status_code == 400
    assert says in json.dumps(answer.json())
    assert "Traceback" not in answer.text


def test_grid_is_known_or_stated(client: TestClient, site: Site) -> None:
    unknown = client.get(address(site.pumped, "grid"))
    assert (unknown.status_code, "state the grid" in unknown.json()["mend"]) == (404, True)
    told = strict(client.get(address(site.pumped, "grid", grid="6x10,snake")).text)
    assert (told["columns"], told["rows"], told["outside"]) == (6, 10, 0)
    assert sum(map(sum, told["hits"])) == site.pumped.n_hits
    assert told["image"][1] == [11, 10, 9, 8, 7, 6]
    page = client.get(f"/runs/{site.pumped.id}?grid=6x10,snake")
    assert "6 columns and 10 rows" in page.text
    assert client.get(f"/runs/{site.pumped.id}?grid=nonsense").status_code == 400


def test_page_says_in_words_what_the_charts_show(client: TestClient, site: Site) -> None:
    page = client.get(f"/runs/{site.plain.id}").text
    assert f"hits of {site.plain.n_images}" in page
    assert "plain_data_000001.h5" in page
    assert "kept as a random sample" in page
    assert "<b>thaumatin</b>" not in page
    assert "Pump states</h2>" not in page
    assert "Pump states</h2>" in client.get(f"/runs/{site.pumped.id}").text


def test_a_run_that_is_gone_or_damaged_is_told_in_words(copied: Site) -> None:
    """Each by a page: no such run; its annotated master gone, of an older layout, cut; its summary gone."""
    with TestClient(create_app(copied.settings), base_url="http://localhost:8080") as client:
        client.headers["accept"] = "text/html"
        page, api = f"/runs/{copied.pumped.id}", address(copied.pumped)
        annotated = copied.file(copied.pumped, "_annotated.h5")

        def refused(status: int, words: str) -> None:
            for place in (page, api, f"{page}/report"):
                answer = client.get(place)
                assert (answer.status_code, words in answer.text) == (status, True), (place, answer.text)

        assert client.get(api).status_code == 200
        whole = annotated.read_bytes()
        with h5py.File(annotated, "a") as file:
            del file["entry/hit_finding/lattices"]
        refused(422, "older version of hitsieve")
        annotated.write_bytes(whole)
        with h5py.File(annotated, "a") as file:
            file["entry/hit_finding/source_file"][3] = 99
        refused(422, "source_file has values beyond")
        annotated.write_bytes(whole[: len(whole) // 2])
        refused(422, "truncated")
        annotated.unlink()
        refused(410, "is not there any more")
        annotated.write_bytes(whole)
        assert client.get(api).status_code == 200
        summary = Path(copied.pumped.place).read_text()
        Path(copied.pumped.place).unlink()
        refused(410, "is not there any more")
        told = json.loads(summary)
        Path(copied.pumped.place).write_text(json.dumps(told | {"verdict_on": "/data/other_summary.json"}))
        annotated.unlink()
        refused(404, "another verdict on /data/other_summary.json")
        assert client.get(f"/runs/{'0' * 32}").status_code == 404
        assert client.get("/runs/..%2f..%2fetc").status_code in (400, 404)


def test_any_image_of_a_long_run_shows_the_spots_of_the_short_one(
    asked: TestClient, long_run: Site, site: Site
) -> None:
    with open_results(site.pumped.place) as short, open_results(long_run.pumped.place) as stored:
        for image in (0, 59, 60, 1234, len(stored) - 1):
            wanted, told = short.read([image % len(short)]), stored.read([image])
            assert told.spots.x.tolist() == wanted.spots.x.tolist(), image
    hit = next(image for image in asked.get(address(long_run.pumped)).json()["first_hit"] if image > 3000)
    told = strict(asked.get(f"/api/runs/{long_run.pumped.id}/images/{hit}").text)
    assert told["state"] == "hit"
    assert told["n_spots"] > 0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("state", [9] * 60),
        ("pump", [-7] * 60),
        ("source_file", [3] * 60),
        ("n_spots_counted", [1.5] * 60),
        ("background", 2.0),
        ("source_datasets", []),
        ("lattices/unit_cell_abc", [[79.0, 79.0, 38.0]]),
        ("spots/h", [float("nan")] * 5),
        ("pump_names", [1.0, 2.0]),
    ],
)
def test_damaged_columns_are_told_as_such(copied: Site, name: str, values: object) -> None:
    record = copied.pumped
    with h5py.File(copied.file(record, "_annotated.h5"), "r+") as file:
        process = file["entry/hit_finding"]
        del process[name]
        process[name] = values
    with TestClient(create_app(copied.settings), base_url="http://localhost:8080") as client:
        for what in ("overview", "images/0", "images/0/pixels", "images/0/profile"):
            answer = client.get(f"/api/runs/{record.id}/{what}")
            # Some need not what is damaged.
            assert answer.status_code in (200, 422), (what, answer.text)
            strict(answer.text if "pixels" not in what or answer.status_code == 422 else "0")
        seen = {client.get(f"/api/runs/{record.id}/{what}").status_code for what in ("overview", "images/0")}
    assert 422 in seen
