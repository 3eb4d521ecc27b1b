"""Files of a run over HTTP, whole and in parts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import httpx
import pytest
from starlette.testclient import TestClient

from hitsieve.serve import create_app
from serve.conftest import Site


@pytest.fixture(scope="module")
def path(site: Site) -> str:
    return f"/files/{site.pumped.id}/pumped_hits.h5"


@pytest.fixture(scope="module")
def whole(site: Site) -> bytes:
    return site.file(site.pumped).read_bytes()


def test_every_output_of_a_run(client: TestClient, site: Site) -> None:
    folder = Path(site.pumped.place).parent
    names = sorted(file.name for file in folder.iterdir())
    assert "pumped_light_hits.h5" in names
    for name in names:
        answer = client.get(f"/files/{site.pumped.id}/{name}")
        assert answer.status_code == 200, name
        assert answer.content == (folder / name).read_bytes()
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "first", "after"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999999", 5, None),
        ("bytes=-99999999999", 0, None),
        ("bytes= 10-19 ", 10, 20),
    ],
)
def test_a_part(client: TestClient, path: str, whole: bytes, asked: str, first: int, after: int | None) -> None:
    answer = client.get(path, headers={"range": asked})
    part = whole[first:after]
    assert answer.content == part
    whole_file = len(part) == len(whole)
    assert answer.status_code == (200 if whole_file else 206)
    if not whole_file:
        begin = first % len(whole)
        assert answer.headers["content-range"] == f"bytes {begin}-{begin + len(part) - 1}/{len(whole)}"


@pytest.mark.parametrize("asked", ["bytes=99999999999-", "bytes=-0"])
def test_a_part_that_is_not_there(client: TestClient, path: str, whole: bytes, asked: str) -> None:
    answer = client.get(path, headers={"range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,3-4", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=" + "0-1," * 500, "bytes=" + "9" * 400],
)
def test_what_is_no_single_range_gets_the_whole(client: TestClient, path: str, whole: bytes, asked: str) -> None:
    answer = client.get(path, headers={"range": asked})
    assert answer.status_code == 200 and answer.content == whole


def test_head_tells_the_size(client: TestClient, path: str, whole: bytes) -> None:
    answer = client.head(path)
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["content-length"] == str(len(whole))


def test_what_did_not_change_is_not_sent_again(client: TestClient, path: str) -> None:
    tag = client.head(path).headers["etag"]
    assert client.get(path, headers={"if-none-match": tag}).status_code == 304
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_file_that_changed_is_sent_from_its_start(copied: Site) -> None:
    path, place = f"/files/{copied.plain.id}/plain_hits.h5", copied.file(copied.plain)
    with TestClient(create_app(copied.settings), base_url="http://localhost") as client:
        first = client.get(path, headers={"range": "bytes=0-99"})
        tag = first.headers["etag"]
        assert client.get(path, headers={"range": "bytes=100-199", "if-range": tag}).status_code == 206
        other = place.read_bytes()[::-1]
        written = place.with_name("written")
        written.write_bytes(other)
        written.replace(place)
        answer = client.get(path, headers={"range": "bytes=100-199", "if-range": tag})
        assert answer.status_code == 200 and answer.content == other


def test_a_download_goes_on_where_it_was_cut(address: str, path: str, whole: bytes, tmp_path: Path) -> None:
    kept = tmp_path / "hits.h5"
    with httpx.stream("GET", address + path[1:]) as answer:
        block = next(answer.iter_raw(chunk_size=1000))
        kept.write_bytes(block)
    tag = answer.headers["etag"]
    rest = httpx.get(address + path[1:], headers={"range": f"bytes={len(block)}-", "if-range": tag})
    assert rest.status_code == 206
    with kept.open("ab") as file:
        file.write(rest.content)
    assert kept.read_bytes() == whole
    with h5py.File(kept) as hits:
        assert len(hits["entry/data/data"]) > 0


def test_the_script_that_draws_is_sent_packed_and_once(client: TestClient) -> None:
    path = "/static/plotly.min.js"
    plain = client.get(path, headers={"accept-encoding": "identity"})
    packed = client.get(path, headers={"accept-encoding": "gzip"})
    assert plain.status_code == packed.status_code == 200
    assert packed.content == plain.content and packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 0.4 * len(plain.content)
    assert client.get(path, headers={"if-none-match": packed.headers["etag"]}).status_code == 304


def test_checksums(client: TestClient, site: Site, copied: Site) -> None:
    path = f"/api/runs/{site.pumped.id}/files/pumped_hits.h5/sha256"
    whole = site.file(site.pumped).read_bytes()
    wanted = {"name": "pumped_hits.h5", "size": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    assert [client.get(path).json() for _ in range(2)] == [wanted] * 2
    assert client.get(f"/api/runs/{site.pumped.id}/files/other/sha256").status_code == 404
    with TestClient(create_app(copied.settings), base_url="http://localhost") as other:
        path = f"/api/runs/{copied.plain.id}/files/plain_hits.h5/sha256"
        before = other.get(path).json()
        copied.file(copied.plain).write_bytes(b"else")
        after = other.get(path).json()
        assert before["sha256"] != after["sha256"] == hashlib.sha256(b"else").hexdigest()
