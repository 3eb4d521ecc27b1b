"""The report of a run: one file, which opens from disk and asks for nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from starlette.testclient import TestClient

from hitsieve.cli.commands import call
from hitsieve.model import State
from hitsieve.pipeline import run
from hitsieve.settings import RunSettings
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.lengthen import lengthen
from hitsieve.write import Outputs

from .conftest import LONG, Site
from .watching import look, watched

HOSTILE = "</script><script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>{{ 7*7 }}<!--<script>"


@pytest.mark.browser
def test_report_opens_from_disk_offline_and_zooms(chromium: Any, long_run: Site, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert call(["report", long_run.pumped.place, "-o", str(path), "--grid", "100x60"]) == 0
    with watched(chromium, path.as_uri(), offline=True) as tab:
        tab.goto(path.as_uri())
        tab.wait_for_selector(f'#along[data-shown="0-{LONG - 1}"]')
        assert f"{long_run.pumped.n_hits:,} hits of {LONG:,} searched" in tab.locator("#span-words").inner_text()
        assert tab.locator("#along .shapelayer path").count() == 1
        tab.wait_for_selector('#grid[data-shown="0-99"] .heatmaplayer image')
        look(tab, "report")
        tab.locator("#span-first").fill("1900")
        tab.locator("#span-last").fill("2599")
        tab.keyboard.press("Enter")
        tab.wait_for_selector('#along[data-shown="1899-2600"], #along[data-shown="1899-2599"]')
        assert "Histograms are of the whole run" in tab.locator("#span-words").inner_text()
        assert tab.locator("a[href^='/']").count() == 0


@pytest.mark.browser
def test_words_in_metadata_stay_words(chromium: Any, site: Site, tmp_path: Path) -> None:
    """Names of samples, files, pump states and problems are written by anybody."""
    outputs = lengthen(Outputs.of(Path(site.pumped.place).parent, "pumped"), tmp_path / "out", 500)
    summary = json.loads(outputs.summary.read_text())
    summary["source"] |= {"path": f"/data/{HOSTILE}.h5", "stem": HOSTILE}
    summary["problems"] = [HOSTILE]
    summary["overrides"] = {HOSTILE: HOSTILE}
    summary["pump"]["states"][0]["name"] = HOSTILE
    outputs.summary.write_text(json.dumps(summary))
    with h5py.File(outputs.annotated, "a") as file:
        file["entry/hit_finding/pump_names"][0] = HOSTILE
        file["entry/hit_finding/source_files"][0] = f"/data/{HOSTILE.replace('/', '')}"
    assert call(["report", str(outputs.summary)]) == 0
    path = tmp_path / "out" / "pumped_report.html"
    with watched(chromium, path.as_uri(), offline=True) as tab:
        tab.goto(path.as_uri())
        tab.wait_for_selector('#along[data-shown="0-499"]')
        assert HOSTILE in tab.locator("h1").inner_text()
        assert HOSTILE in tab.locator("#legend").inner_text()
        assert tab.locator("img, script[src], link[rel=stylesheet]").count() == 0
        assert tab.locator("script").count() == 3


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Summaries of runs that lack most of what a page shows."""
    found = {}
    for name, images, changes, rooms in (
        ("one", 1, {"hit_fraction": 1.0}, {}),
        ("nothing", 20, {"hit_fraction": 0.0}, {"index": {"indexing": "off"}}),
    ):
        folder = tmp_path_factory.mktemp(name)
        made = simulate(folder, SimulateSettings(name=name, detector="test-256k", images=images, **changes))
        write = {"output": folder / "out"}
        settings = RunSettings.model_validate({"write": write, "catalogue": {"no_catalogue": True}, **rooms})
        found[name] = run([made.master], settings).outputs.summary
    found["missing"] = all_missing(found["nothing"], tmp_path_factory.mktemp("missing"))
    return found


def all_missing(summary: Path, folder: Path) -> Path:
    """The outputs of a run as they would be if none of its images had come."""
    before, after = Outputs.of(summary.parent, "nothing"), Outputs.of(folder, "missing")
    shutil.copy(before.annotated, after.annotated)
    with h5py.File(after.annotated, "a") as file:
        process = file["entry/hit_finding"]
        n = len(process["state"])
        process["state"][...] = State.MISSING
        process["n_spots_counted"][...] = -1
        for name in ("background", "resolution"):
            process[name][...] = np.nan
    told = json.loads(summary.read_text())
    numbers = {"n_hits": 0, "n_misses": 0, "n_unreadable": 0, "n_missing": n, "hit_rate": None}
    nothing = dict.fromkeys(("hit_rate_interval", "blanks", "segments", "missed", "background_median", "ice_fraction"))
    after.summary.write_text(json.dumps(told | numbers | nothing | {"saturated_fraction": None}))
    return after.summary


@pytest.mark.browser
@pytest.mark.parametrize("name", ["one", "missing"])
def test_report_of_a_run_that_lacks_most(chromium: Any, odd: dict[str, Path], tmp_path: Path, name: str) -> None:
    assert call(["report", str(odd[name]), "-o", str(tmp_path)]) == 0
    path = tmp_path / f"{name}_report.html"
    summary = json.loads(odd[name].read_text())
    with watched(chromium, path.as_uri(), offline=True) as tab:
        tab.goto(path.as_uri())
        tab.wait_for_selector(f'#along[data-shown="0-{summary["n_images"] - 1}"]')
        words = tab.locator("#span-words").inner_text()
        searched = summary["n_hits"] + summary["n_misses"]
        hits = "1 hit" if summary["n_hits"] == 1 else f"{summary['n_hits']} hits"
        assert f"{hits} of {searched} searched" in words
        assert ("missing" in words) == (summary["n_missing"] > 0)
        assert tab.locator("#trouble").is_hidden()


def test_report_by_the_server_is_the_one_of_the_command(client: TestClient, site: Site, tmp_path: Path) -> None:
    answer = client.get(f"/runs/{site.plain.id}/report")
    assert answer.status_code == 200
    assert "plain_report.html" in answer.headers["content-disposition"]
    assert call(["report", site.plain.place, "-o", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").read_bytes() == answer.content
    head = answer.text[:2000]
    assert "default-src 'none'" in head
    assert len(re.findall("'sha256-[A-Za-z0-9+/]{43}='", head)) == 2


def test_command_says_where_it_is_and_how_large(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.html"
    assert call(["report", site.plain.place, "-o", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"report": str(path), "bytes": path.stat().st_size}
    assert call(["report", site.plain.place, "-o", str(path)]) == 0
    assert f"{path}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing"], 3, "there is no such file or folder"),
        (["{run}", "-o", "{here}/notes.txt"], 2, "is an HTML file"),
        (["{run}", "-o", "{here}/mine.html"], 4, "no report that hitsieve wrote"),
        (["{run}", "-o", "{here}/new.html", "--grid", "many"], 2, "write COLUMNSxROWS"),
        (["{run}", "-o", "/dev/null/no/r.html"], 4, "/dev/null/no"),
    ],
)
def test_wrong_use_is_refused_and_leaves_nothing(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "mine.html").write_text("mine")
    given = [word.format(run=site.plain.place, here=tmp_path) for word in arguments]
    assert call(["report", *given]) == code
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_run_without_hits_and_lattices_has_its_report(odd: dict[str, Path], tmp_path: Path) -> None:
    assert call(["report", str(odd["nothing"]), "-o", str(tmp_path)]) == 0
    text = (tmp_path / "nothing_report.html").read_text()
    body = text[text.index("<main") : text.index("</main>")]
    assert "hits of 20 images" in body
    assert "Unit cell" not in body
    assert "No hit has a resolution estimate" in body
    assert ">None<" not in body
