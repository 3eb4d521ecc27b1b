"""The imitated SciCat answers as real backends were seen to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from hitsieve.testing.scicat import Account, FakeSciCat, Fault

DATASET: dict[str, Any] = {
    "type": "raw",
    "owner": "A. Person",
    "ownerGroup": "p12345",
    "contactEmail": "a.person@example.org",
    "sourceFolder": "/data/p12345/raw/",
    "creationTime": "2026-11-26T13:00:00+01:00",
    "datasetName": "run 1",
}
FILE = {"path": "run_master.h5", "size": 10, "time": "2026-11-26T12:00:00Z"}
PID = "20.500.1/run-1"


OPENED: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what a test opened."""
    yield
    while OPENED:
        OPENED.pop().close()


class Client:
    """Requests under one account."""

    def __init__(self, fake: FakeSciCat, username: str | None = "user") -> None:
        # Without https there are no certificates to load, which takes longer than the test.
        self.http = httpx.Client(base_url=fake.url, verify=False)  # noqa: S501
        OPENED.append(self.http)
        if username is not None:
            answer = self.http.post("/api/v3/auth/login", json={"username": username, "password": "secret"})
            assert answer.status_code == 201
            self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def create(self, **other: Any) -> httpx.Response:
        return self.http.post("/api/v4/datasets", json=DATASET | other)

    def patch(self, pid: str, body: dict[str, Any], kind: str = "application/merge-patch+json", **headers: str) -> Any:
        named = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.http.patch(f"/api/v4/datasets/{quote(pid, safe='')}", content=json.dumps(body), headers=named)

    def dataset(self, pid: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/v4/datasets/{quote(pid, safe='')}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def block(self, pid: str, files: list[dict[str, Any]], api: int = 3) -> httpx.Response:
        body = {"datasetId": pid, "size": sum(file["size"] for file in files), "dataFileList": files}
        return self.http.post(f"/api/v{api}/origdatablocks", json=body)

    def found(self, *conditions: dict[str, Any], **fields: Any) -> set[str]:
        asked = json.dumps({"scientific": list(conditions), **fields})
        answer = self.http.get("/api/v3/datasets/fullquery", params={"fields": asked})
        assert answer.status_code == 200, answer.text
        return {one["pid"] for one in answer.json()}

    def where(self, where: dict[str, Any], path: str = "", **limits: Any) -> list[str]:
        asked = json.dumps({"where": where, "limits": {"limit": 100, **limits}})
        answer = self.http.get(f"/api/v4/datasets{path}", params={"filter": asked})
        assert answer.status_code == 200, answer.text
        return [one["pid"] for one in answer.json()]


@pytest.fixture(scope="module", params=["v5", "v4"])
def server(request: pytest.FixtureRequest) -> Iterator[FakeSciCat]:
    with FakeSciCat(request.param) as fake:
        yield fake


@pytest.fixture
def fake(server: FakeSciCat) -> FakeSciCat:
    for held in (server.store.datasets, server.store.blocks, server.store.attachments, server.store.jobs):
        held.clear()
    server.requests.clear()
    return server


@pytest.fixture
def client(fake: FakeSciCat) -> Client:
    return Client(fake)


def test_login_and_expired_token(fake: FakeSciCat, client: Client) -> None:
    wrong = client.http.post("/api/v3/auth/login", json={"username": "user", "password": "guess"})
    assert wrong.status_code == 401
    fake.expire_tokens()
    assert client.create().status_code == (401 if fake.store.version == "v5" else 403)
    expired = client.http.get("/api/v3/datasets/fullquery")
    # Version 4 shows what is public, without a word.
    assert (expired.status_code, expired.text) == ((401, expired.text) if fake.store.version == "v5" else (200, "[]"))
    assert client.http.get("/api/v4/datasets").status_code == (401 if fake.store.version == "v5" else 403)
    client.http.headers["Authorization"] = "Bearer none"
    assert client.create().status_code == 403
    assert Client(fake).create().status_code == 201
    assert Client(fake, None).create().status_code == 403


def test_a_data_set_is_kept_with_what_the_server_adds(client: Client) -> None:
    assert client.create(pid=PID, scientificMetadata={"e": {"value": 12.0, "unit": "keV"}}).status_code == 201
    kept = client.dataset(PID)
    assert kept["sourceFolder"] == "/data/p12345/raw"
    assert kept["creationTime"] == "2026-11-26T12:00:00.000Z"
    assert kept["datasetlifecycle"]["archiveStatusMessage"] == "datasetCreated"
    assert kept["datasetlifecycle"]["archivable"] is True
    assert kept["scientificMetadata"]["e"]["valueSI"] == pytest.approx(12e3 * 1.602176634e-19)
    # A pid has a slash; it is one part of the path only where it is encoded.
    assert client.http.get(f"/api/v4/datasets/{PID}").status_code == 404
    assert client.create().json()["pid"].startswith("20.500.12269/")


def test_what_is_taken_for_a_quantity(client: Client) -> None:
    table = {
        "rate": {"value": 5, "unit": "%"},
        "software": {"version": "1.0", "uuid": "abc"},
        "plain": {"value": 5, "unit": ""},
    }
    client.create(pid=PID, scientificMetadata=table)
    kept = client.dataset(PID)["scientificMetadata"]
    assert kept["rate"]["valueSI"] == 5
    assert kept["software"]["valueSI"] == "1.0"
    assert "valueSI" not in kept["plain"]


def test_bad_data_sets_are_refused(fake: FakeSciCat, client: Client) -> None:
    unknown = client.create(hitRate=0.5)
    assert unknown.status_code == 400
    assert unknown.json()["message"] == ["property hitRate should not exist"]
    for name in ("type", "ownerGroup", "contactEmail", "sourceFolder", "creationTime", "datasetName"):
        lacking = {key: value for key, value in DATASET.items() if key != name}
        assert client.http.post("/api/v4/datasets", json=lacking).status_code == 400, name
    # The documents call it optional.
    nobody = {key: value for key, value in DATASET.items() if key != "owner"}
    assert client.http.post("/api/v4/datasets", json=nobody).status_code == 500
    assert client.create(pid=PID).status_code == 201
    assert client.create(pid=PID).status_code == 409
    assert client.create(ownerGroup="p99999").status_code == 403
    assert len(fake.store.datasets) == 1


def test_relationships_have_the_form_of_the_version(fake: FakeSciCat, client: Client) -> None:
    old, other = {"pid": "a", "relationship": "b"}, {"identifier": "a"}
    right, wrong = (old, other) if fake.store.version == "v4" else (other, old)
    assert client.create(relationships=[right]).status_code == 201
    assert client.create(relationships=[wrong]).status_code == 400


def test_a_merge_patch_merges_and_plain_json_replaces(client: Client) -> None:
    client.create(pid=PID, scientificMetadata={"a": {"value": 1, "unit": ""}, "b": {"value": 2, "unit": ""}})
    assert client.patch(PID, {"scientificMetadata": {"a": {"value": 3, "unit": ""}}}).status_code == 200
    kept = client.dataset(PID)["scientificMetadata"]
    assert {name: one["value"] for name, one in kept.items()} == {"a": 3, "b": 2}
    assert client.patch(PID, {"scientificMetadata": {"b": None}, "comment": "x"}).status_code == 200
    assert set(client.dataset(PID)["scientificMetadata"]) == {"a"}
    assert client.patch(PID, {"scientificMetadata": {"a": {"value": 4}}}).status_code == 400
    assert client.patch(PID, {"comment": None, "runNumber": "7"}, "application/json").status_code == 200
    assert client.dataset(PID)["comment"] == "x"
    replacing = {"scientificMetadata": {"c": {"value": 3, "unit": ""}}}
    # With a charset behind it, it is no merge patch to the server.
    for kind in ("application/json", "application/merge-patch+json; charset=utf-8"):
        client.patch(PID, {"scientificMetadata": {"d": {"value": 3, "unit": ""}}})
        assert client.patch(PID, replacing, kind).status_code == 200
        assert set(client.dataset(PID)["scientificMetadata"]) == {"c"}
    assert client.patch(PID, {"pid": "other"}).status_code == 400
    assert client.patch("20.500.1/lost", {"comment": "x"}).status_code == 404


def test_a_race_is_refused(client: Client) -> None:
    client.create(pid=PID)
    updated = datetime.fromisoformat(client.dataset(PID)["updatedAt"].replace("Z", "+00:00"))
    before, later = updated - timedelta(seconds=1), updated + timedelta(seconds=1)
    for moment, status in ((before, 412), (later.astimezone(timezone.utc), 200)):
        header = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
        assert client.patch(PID, {"comment": "x"}, If_Unmodified_Since=header).status_code == status
    assert client.patch(PID, {"comment": "x"}, If_Unmodified_Since="yesterday").status_code == 200


def test_a_block_sent_twice_doubles_size_and_count(client: Client) -> None:
    client.create(pid=PID)
    for n in (1, 2):
        assert client.block(PID, [FILE, {**FILE, "path": "b"}]).status_code == 201
        kept = client.dataset(PID)
        assert (kept["size"], kept["numberOfFiles"]) == (20 * n, 2 * n)
    blocks = client.http.get(f"/api/v3/datasets/{quote(PID, safe='')}/origdatablocks").json()
    assert [len(block["dataFileList"]) for block in blocks] == [2, 2]
    assert blocks[0]["ownerGroup"] == "p12345"
    assert client.block("20.500.1/lost", [FILE]).status_code == 404
    assert client.block(PID, [{**FILE, "time": "yesterday"}]).status_code == 400
    assert client.block(PID, []).status_code == 400


def test_a_body_over_16_mb_is_an_internal_error(client: Client) -> None:
    client.create(pid=PID)
    assert client.block(PID, [{**FILE, "path": "x" * 17_000_000}]).status_code == 500
    assert client.dataset(PID)["numberOfFiles"] == 0


def test_attachments(client: Client) -> None:
    client.create(pid=PID)
    path = f"/api/v3/datasets/{quote(PID, safe='')}/attachments"
    picture = {"thumbnail": "data:image/png;base64,AAAA", "caption": "hits", "ownerGroup": "p12345"}
    assert client.http.post(path, json=picture).status_code == 201
    assert client.http.post(path, json={**picture, "caption": None}).status_code == 400
    (kept,) = client.http.get(path).json()
    assert (kept["datasetId"], kept["caption"]) == (PID, "hits")


def test_a_privileged_account_creates_for_all_but_changes_and_reads_little(fake: FakeSciCat) -> None:
    ingestor, user = Client(fake, "ingestor"), Client(fake)
    assert ingestor.create(pid=PID).status_code == 201
    assert ingestor.block(PID, [FILE]).status_code == 201
    assert ingestor.block(PID, [FILE], api=4).status_code == 403
    assert ingestor.patch(PID, {"comment": "x"}).status_code == 403
    assert ingestor.http.get(f"/api/v4/datasets/{quote(PID, safe='')}").status_code == 403
    assert ingestor.found() == set()
    assert user.dataset(PID)["numberOfFiles"] == 1
    assert ingestor.create(pid="20.500.1/seen", accessGroups=["ingestor"]).status_code == 201
    assert ingestor.dataset("20.500.1/seen")["ownerGroup"] == "p12345"
    assert ingestor.found() == {"20.500.1/seen"}


def test_an_account_that_may_not_choose_pids() -> None:
    with FakeSciCat(accounts=[Account("user", "secret", ("p12345",), chooses_pids=False)]) as fake:
        client = Client(fake)
        assert client.create(pid=PID).status_code == 403
        assert client.create().status_code == 201


def test_archive_jobs(fake: FakeSciCat, client: Client) -> None:
    client.create(pid=PID)
    client.create(pid="20.500.1/kept", datasetlifecycle={"archivable": False})

    def job(*pids: str, **other: Any) -> int:
        listed = [{"pid": pid, "files": []} for pid in pids]
        body = {"type": "archive", "jobParams": {"datasetList": listed}, "ownerGroup": "p12345", **other}
        return client.http.post("/api/v4/jobs", json=body).status_code

    assert job("20.500.1/kept") == 400
    assert job("20.500.1/lost") == 422
    assert job(PID, type="burn") == 400
    assert job(PID, ownerGroup="p99999") == 403
    assert job(PID) == 201
    assert client.dataset(PID)["datasetlifecycle"]["archivable"] is False
    # It is on its way already.
    assert job(PID) == 400
    assert len(fake.store.jobs) == 1
    change = {"archivable": True, "archiveStatusMessage": "datasetCreated"}
    path = f"/api/v4/datasets/{quote(PID, safe='')}/datasetlifecycle"
    assert client.http.patch(path, json=change).json()["archivable"] is True
    assert len(client.http.get("/api/v4/jobs").json()) == 1


@pytest.fixture
def searched(client: Client) -> Client:
    for number, rate, energy in (("1", 0.1, 12.0), ("2", 0.2, 9.0), ("3", 0.3, 12.0)):
        table = {"hit_rate": {"value": rate, "unit": ""}, "energy": {"value": energy, "unit": "keV"}}
        client.create(pid=number, scientificMetadata=table)
    client.create(pid="bare", scientificMetadata={"hit_rate": 0.2})
    return client


def condition(lhs: str, relation: str, rhs: Any, unit: str = "") -> dict[str, Any]:
    return {"lhs": lhs, "relation": relation, "rhs": rhs, "unit": unit}


def test_full_query_with_its_faults(searched: Client) -> None:
    assert searched.found(condition("hit_rate", "GREATER_THAN", 0.15)) == {"2", "3", "bare"}
    # Bare numbers are missed by these two.
    assert searched.found(condition("hit_rate", "EQUAL_TO_NUMERIC", 0.2)) == {"2"}
    assert searched.found(condition("hit_rate", "RANGE", [0.05, 0.25])) == {"1", "2"}
    between = (condition("hit_rate", "GREATER_THAN", 0.15), condition("hit_rate", "LESS_THAN", 0.25))
    assert searched.found(*between) == {"2", "bare"}
    # With a unit the first of two on a key is dropped.
    assert searched.found(condition("energy", "GREATER_THAN", 10_000, "eV")) == {"1", "3"}
    both = (condition("energy", "GREATER_THAN", 10, "keV"), condition("energy", "LESS_THAN", 20, "keV"))
    assert searched.found(*both) == {"1", "2", "3"}
    assert searched.found(text="run", type="raw") == {"1", "2", "3", "bare"}
    for fields, status in (("{", 400), (json.dumps({"scientific": [condition("a", "CONTAINS_STRING", "x")]}), 500)):
        assert searched.http.get("/api/v3/datasets/fullquery", params={"fields": fields}).status_code == status


def test_keys_that_the_full_query_does_not_find(searched: Client) -> None:
    """A dot, or a table in a table: the web page's search finds flat keys only."""
    rate = {"value": 0.2, "unit": ""}
    searched.create(pid="odd", scientificMetadata={"scan": {"rate": rate}, "my.rate": rate})
    for key in ("scan.rate", "my.rate"):
        assert searched.found(condition(key, "GREATER_THAN", 0.1)) == set()
        assert searched.found(condition(key, "EQUAL_TO_NUMERIC", 0.2)) == set()
    assert searched.where({"scientificMetadata.scan.rate.value": {"$gt": 0.1}}) == ["odd"]


def test_where_and_pages(searched: Client) -> None:
    value = "scientificMetadata.hit_rate.value"
    assert searched.where({value: {"$gt": 0.15}}, sort={"pid": "asc"}) == ["2", "3"]
    assert searched.where({"$or": [{value: {"$lt": 0.15}}, {"pid": "bare"}]}, sort={"pid": "asc"}) == ["1", "bare"]
    assert searched.where({value: {"$exists": False}}) == ["bare"]
    pages = [searched.where({}, limit=2, skip=skip, sort={"pid": "asc"}) for skip in (0, 2, 4)]
    assert pages == [["1", "2"], ["3", "bare"], []]
    wrong = json.dumps({"where": {"hitRate": 1}})
    assert searched.http.get("/api/v4/datasets", params={"filter": wrong}).status_code == 400
    assert searched.http.get("/api/v4/datasets/count", params={"filter": "{}"}).json() == {"count": 4}


def test_what_nobody_sees(fake: FakeSciCat, searched: Client) -> None:
    nobody = Client(fake, None)
    searched.create(pid="open", isPublished=True)
    assert nobody.found() == {"open"}
    assert nobody.where({}, "/public") == ["open"]
    assert nobody.http.get("/api/v4/datasets").status_code == 403
    assert nobody.http.get("/api/v3/datasets/open").status_code == 200
    assert nobody.http.get("/api/v3/datasets/1").status_code == 403


def test_faults_strike_the_next_requests(fake: FakeSciCat, client: Client) -> None:
    fake.fail_next(2, Fault("status", status=503))
    assert [client.create().status_code for _ in range(3)] == [503, 503, 201]
    fake.fail_next(1, Fault("drop"))
    with pytest.raises(httpx.TransportError):
        client.create()
    assert len(fake.store.datasets) == 1
    # Carried out, and the answer lost.
    fake.fail_next(1, Fault("drop", after=True))
    with pytest.raises(httpx.TransportError):
        client.create()
    fake.fail_next(1, Fault("status", status=504, after=True))
    assert client.create().status_code == 504
    assert len(fake.store.datasets) == 3
    fake.fail_next(1, Fault("slow", seconds=5))
    with pytest.raises(httpx.ReadTimeout):
        client.http.get("/api/v3/health", timeout=0.1)
    fake.fail_next(1, Fault("status", only="POST /api/v3/orig"))
    assert client.create(pid=PID).status_code == 201
    assert client.block(PID, [FILE]).status_code == 503
    fake.fail_next(1, Fault("expire"))
    assert client.create().status_code in (401, 403)
    assert fake.faults.n_waiting == 0


def test_requests_are_remembered_and_states_compared(fake: FakeSciCat, client: Client) -> None:
    client.create()
    assert fake.requests[-1].line == "POST /api/v4/datasets"
    assert fake.requests[-1].json == DATASET
    first = fake.state()
    fake.store.datasets.clear()
    client.create()
    assert fake.state() == first
    client.create()
    assert fake.state() != first


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "hitsieve.testing.scicat", "--port", "0", "--backend", "v4", "--group", "p99999"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "SciCat v4, imitated, at http://127.0.0.1:" in first
            assert "groups p12345, p99999" in process.stdout.readline()
            url = first.split(" at ")[1].split(";")[0]
            assert httpx.get(f"{url}/api/v3/health").status_code == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(240) == 0


def test_a_port_that_is_taken_is_one_line() -> None:
    with FakeSciCat() as fake:
        port = fake.url.rpartition(":")[2]
        command = [sys.executable, "-m", "hitsieve.testing.scicat", "--port", port]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert f"port {port} cannot be used" in told.stderr


def test_what_it_needs_is_named() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; import hitsieve.testing.scicat"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs uvicorn: pip install fastapi uvicorn" in told.stderr.splitlines()[-1]
