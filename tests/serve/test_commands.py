"""Commands that fetch hits, run as a user pastes them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hitsieve.serve.commands import command
from serve.conftest import TOKEN, Site, served


def programs() -> list[str]:
    return [tool for tool in ("curl", "wget") if shutil.which(tool)]


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_the_script_fetches_all_hits_and_goes_on(tool: str, address: str, site: Site, tmp_path: Path) -> None:
    if tool not in programs():
        pytest.skip(f"{tool} is not installed")
    import httpx

    text = httpx.get(f"{address}commands", params={"tool": tool}).text
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}

    def fetch() -> None:
        subprocess.run(
            ["sh", "-e"], input=text, text=True, cwd=tmp_path, check=True, capture_output=True, env=environment
        )

    fetch()
    for record in site.runs.values():
        fetched = tmp_path / f"{record.stem}-{record.id[:8]}" / f"{record.stem}_hits.h5"
        wanted = site.file(record).read_bytes()
        assert fetched.read_bytes() == wanted
        fetched.write_bytes(wanted[:1000])
    fetch()
    for record in site.runs.values():
        fetched = tmp_path / f"{record.stem}-{record.id[:8]}" / f"{record.stem}_hits.h5"
        assert fetched.read_bytes() == site.file(record).read_bytes()


def test_with_a_token(site: Site, tmp_path: Path) -> None:
    if "curl" not in programs():
        pytest.skip("curl is not installed")
    with served(site.settings, TOKEN) as server:
        url = f"{server.url}files/{site.plain.id}/plain_hits.h5"
        line = command(url, "hits.h5", "curl", token=True)
        told = {"HITSIEVE_TOKEN": TOKEN, "PATH": os.environ["PATH"]}
        subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, capture_output=True, env=told)
        assert (tmp_path / "hits.h5").read_bytes() == site.file(site.plain).read_bytes()
        refused = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, check=False, capture_output=True, env=told | {"HITSIEVE_TOKEN": "x"}
        )
        assert refused.returncode != 0


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_names_are_not_run(tool: str) -> None:
    nasty = "$(touch bad)`touch bad`'; touch bad; '\n.h5"
    line = command("http://localhost/files/x/" + nasty, nasty, tool, token=False)  # type: ignore[arg-type]
    words = subprocess.run(
        ["sh", "-c", f'{tool}() {{ for word; do printf "%s\\0" "$word"; done; }}; {line}'],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    assert "http://localhost/files/x/" + nasty in words


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_signs_that_are_not_seen_do_not_reach_a_terminal(tool: str) -> None:
    line = command("http://localhost/files/x/y", "run\x03\nrm -rf here\n\x1b[201~/y_hits.h5", tool, token=False)  # type: ignore[arg-type]
    assert line.isprintable()


def test_what_is_left_out_is_said(client: TestClient, site: Site) -> None:
    text = client.get("/commands", params={"q": "pump is known"}).text
    assert "Hits of 1 of 1 datasets" in text
    assert f"/files/{site.pumped.id}/pumped_hits.h5" in text and site.plain.id not in text
    assert client.get("/commands", params={"q": "nonsense"}).status_code == 400
    assert client.get("/commands", params={"tool": "rm"}).status_code == 400
