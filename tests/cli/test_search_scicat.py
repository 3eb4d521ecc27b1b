"""`hitsieve search --scicat`, as a user calls it."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from catalogue.making import record, with_cell
from cli.conftest import Hitsieve
from hitsieve.catalogue.scicat import Credentials, SciCat
from hitsieve.catalogue.scicat.bodies import derived_body
from hitsieve.catalogue.scicat.facts import Facts
from hitsieve.testing.scicat import FakeSciCat

FACTS = Facts(owner="A. Person", owner_group="p12345", contact_email="a.person@example.org")
RUNS = [
    with_cell(1, (79.0, 79.0, 38.0, 90.0, 90.0, 90.0), hit_rate=0.1, title="lysozyme"),
    with_cell(2, (79.5, 79.5, 38.0, 90.0, 90.0, 90.0), hit_rate=0.2),
    record(3, hit_rate=0.3),
]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeSciCat]:
    with FakeSciCat() as fake:
        with SciCat(fake.url, Credentials(user="user", password=SecretStr("secret"))) as client:
            for one in RUNS:
                body = derived_body(one, FACTS, "/data/out", "20.500.1/raw") | {"pid": f"20.500.1/{one.stem}"}
                client.post("/api/v4/datasets", body | {"isPublished": one is RUNS[0]})
        yield fake


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITSIEVE_SCICAT_USER", "user")
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", "secret")


@pytest.mark.usefixtures("known")
def test_the_same_question_there(hitsieve: Hitsieve, server: FakeSciCat) -> None:
    asked = ("search", "--scicat", f"{server.url}/api/v3", "cell ~ 38,79,79,90,90,90")
    table = hitsieve(*asked)
    assert (table.returncode, table.stderr) == (0, "")
    lines = table.stdout.splitlines()
    assert lines[0].endswith("data set")
    assert [line.split()[-1] for line in lines[1:3]] == ["20.500.1/run_1", "20.500.1/run_2"]
    assert lines[-1] == f"2 runs in {server.url}"
    found = hitsieve(*asked, "--json", "--limit", "1")
    (told,) = json.loads(found.stdout)
    assert (told["pid"], told["hit_rate"], told["inputDatasets"]) == ("20.500.1/run_1", 0.1, ["20.500.1/raw"])
    assert told["strain"] == pytest.approx(0, abs=1e-9)
    assert found.stderr == f"2 runs in {server.url}, the first 1 shown\n"
    rows = list(csv.DictReader(io.StringIO(hitsieve(*asked, "--csv").stdout)))
    assert [row["place"] for row in rows] == ["20.500.1/run_1", "20.500.1/run_2"]
    assert hitsieve("search", "--scicat", server.url, "hits > 1e6").stdout == f"no run found in {server.url}\n"


def test_without_a_token_and_with_one(hitsieve: Hitsieve, server: FakeSciCat, tmp_path: Path) -> None:
    public = hitsieve("search", "--scicat", server.url, "")
    assert public.stdout.endswith(f"1 run in {server.url} (public data sets only: no token was given)\n")
    token = server.store.login("user", "secret")["access_token"]
    path = tmp_path / "token"
    path.write_text(token)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    whole = hitsieve("search", "--scicat", server.url, "", "--token-file", path, "--debug")
    assert whole.stdout.endswith(f"3 runs in {server.url}\n")
    assert token not in whole.stdout + whole.stderr
    assert token not in " ".join(f"{seen.path}{seen.query}" for seen in server.requests)


@pytest.mark.usefixtures("known")
def test_what_goes_wrong_is_one_line(
    hitsieve: Hitsieve, server: FakeSciCat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def says(code: int, *arguments: str) -> str:
        done = hitsieve("search", *arguments)
        assert done.returncode == code, done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
        return done.stderr

    assert "there is no field hit_ratee" in says(2, "hit_ratee > 5", "--scicat", server.url)
    assert "--catalogue and --scicat exclude" in says(2, "", "--scicat", server.url, "--catalogue", "c.sqlite")
    assert "give --scicat URL as well" in says(2, "", "--insecure")
    assert "without https anybody" in says(2, "", "--scicat", "http://scicat.example.org")
    assert "is no URL" in says(2, "", "--scicat", "scicat")
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", "guess")
    assert "not accepted" in says(6, "", "--scicat", server.url)
