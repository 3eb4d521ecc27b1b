"""Hits that a visitor chooses."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h5py
import pytest
from starlette.testclient import TestClient

from hitsieve.pipeline.verify import verify
from hitsieve.pipeline.view.subset import Choice, SubsetRequest, write_subset
from serve.conftest import Site, served

SAID = {"accept": "application/json"}


def wanted(site: Site, path: Path, **choice: Any) -> bytes:
    """What the command writes."""
    write_subset(SubsetRequest(site.file(site.pumped), path, Choice(**choice)))
    return path.read_bytes()


def test_download_is_what_the_command_writes(site: Site, client: TestClient, tmp_path: Path) -> None:
    asked = f"/runs/{site.pumped.id}/subset?first=5&pump=light&d_max=&min_lattices="
    answer = client.get(asked)
    whole = wanted(site, tmp_path / "few.h5", first=5, pump="light")
    assert (answer.status_code, answer.content) == (200, whole)
    assert answer.headers["content-length"] == str(len(whole))
    assert answer.headers["content-disposition"] == 'attachment; filename="pumped_first-5_pump-light_chosen.h5"'
    assert verify(tmp_path / "few.h5", site.folder / "raw/pumped/pumped_master.h5").ok
    head = client.head(asked)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "content-disposition", "accept-ranges", "content-type"):
        assert head.headers[name] == answer.headers[name]


def test_broken_download_goes_on(site: Site, client: TestClient, tmp_path: Path) -> None:
    asked = f"/runs/{site.pumped.id}/subset?random=4&seed=2"
    whole, tag = wanted(site, tmp_path / "few.h5", random=4, seed=2), client.head(asked).headers["etag"]
    middle = len(whole) // 2
    rest = client.get(asked, headers={"range": f"bytes={middle}-", "if-range": tag})
    assert (rest.status_code, rest.content) == (206, whole[middle:])
    assert rest.headers["content-range"] == f"bytes {middle}-{len(whole) - 1}/{len(whole)}"
    assert client.get(asked, headers={"range": "bytes=-7"}).content == whole[-7:]
    other = client.get(asked, headers={"range": f"bytes={middle}-", "if-range": '"other"'})
    assert (other.status_code, other.content) == (200, whole)
    assert client.get(asked, headers={"range": f"bytes={len(whole)}-"}).status_code == 416
    assert client.get(asked, headers={"if-none-match": tag}).status_code == 304
    assert client.head(asked.replace("seed=2", "seed=3")).headers["etag"] != tag


def test_count_before_the_download(site: Site, client: TestClient) -> None:
    told = client.get(f"/api/runs/{site.pumped.id}/chosen?pump=dark&first=3").json()
    assert told["n_hits"] == 3 and told["n_of"] == site.pumped.n_hits and told["query"] == "first=3&pump=dark"
    nothing = client.get(f"/api/runs/{site.pumped.id}/chosen?d_max=0.1").json()
    assert (nothing["n_hits"], nothing["n_bytes"]) == (0, 0)


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("d_max=0.1", 400, "none of its"),
        ("pump=nonsense", 400, "its pump states are dark, light"),
        ("pump=%00%0a", 400, "has no pump state"),
        ("first=many", 400, "is not a whole number"),
        ("first=0", 400, "give 1 or more"),
        ("first=99999999999999999999999", 400, "too large"),
        ("first=" + "9" * 5000, 400, "first"),
        ("random=-1", 400, "give 1 or more"),
        ("first=1&random=1", 400, "exclude each other"),
        ("d_max=nan", 400, "above 0"),
        ("d_max=1e999", 400, "above 0"),
        ("colour=red", 400, "not chosen by"),
        ("file=../../secret", 400, "not chosen by"),
    ],
)
def test_nonsense_is_told(site: Site, client: TestClient, query: str, status: int, says: str) -> None:
    answer = client.get(f"/runs/{site.pumped.id}/subset?{query}", headers=SAID)
    assert answer.status_code == status
    assert says in answer.text
    assert str(site.folder) not in answer.text
    page = client.get(f"/runs/{site.pumped.id}/subset?{query}")
    assert page.status_code == status and "Traceback" not in page.text


def test_runs_and_files_that_are_not_there(copied: Site, client: TestClient) -> None:
    for path in ("subset", "choose"):
        assert client.get(f"/runs/{'0' * 32}/{path}").status_code == 404
    copied.file(copied.plain).unlink()
    with served(copied.settings) as server:
        place = urlsplit(server.url)
        for path in (f"/runs/{copied.plain.id}/subset", f"/runs/{copied.plain.id}/choose"):
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=240)
            connection.request("GET", path)
            assert connection.getresponse().status == 410
            connection.close()


def test_damage_breaks_the_connection(copied: Site) -> None:
    hits = copied.file(copied.pumped)
    with h5py.File(hits) as file:
        info = file["entry/data/data"].id.get_chunk_info(len(file["entry/data/data"]) - 1)
    content = bytearray(hits.read_bytes())
    content[info.byte_offset + info.size // 2] ^= 1
    hits.write_bytes(content)
    with served(copied.settings) as server:
        place = urlsplit(server.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=240)
        connection.request("GET", f"/runs/{copied.pumped.id}/subset?min_lattices=0")
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as broken:
            answer.read()
        assert 0 < len(broken.value.partial) < int(answer.headers["content-length"])
        connection.close()


@pytest.mark.browser
def test_form_says_what_a_choice_gives(
    page: Any, site: Site, screenshot: Callable[[str], None], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    page.goto(f"/runs/{site.pumped.id}/choose?first=4")
    expect(page.locator("#count")).to_contain_text(f"4 of {site.pumped.n_hits} hits")
    page.get_by_label("Pump state").select_option("light")
    page.get_by_label("The first").fill("2")
    expect(page.locator("#count")).to_contain_text(f"2 of {site.pumped.n_hits} hits")
    expect(page.locator("#command")).to_have_text("hitsieve subset pumped_hits.h5 -o few.h5 --pump light --first 2")
    screenshot("choose")
    page.get_by_label("Resolution estimate").fill("0.2")
    expect(page.locator("#count")).to_contain_text("None of the")
    expect(page.get_by_role("button", name="Download")).to_be_disabled()
    page.get_by_label("Resolution estimate").fill("")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    downloading.value.save_as(tmp_path / "few.h5")
    assert downloading.value.suggested_filename == "pumped_first-2_pump-light_chosen.h5"
    with h5py.File(tmp_path / "few.h5") as file:
        said = json.loads(file["entry/hit_finding/subset/data"].asstr()[()])
    assert said["choice"] == {"first": 2, "pump": "light"}
