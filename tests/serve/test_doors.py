"""Who may ask for what; and what is said to those who may not, or ask for what is not there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from starlette.testclient import TestClient

from hitsieve.errors import SettingsError, SourceError
from hitsieve.model import State
from hitsieve.serve import create_app, read_token
from hitsieve.serve.app import check_doors
from hitsieve.serve.plainly import opened
from hitsieve.serve.refusals import Forbidden, Gone
from hitsieve.serve.runs import Runs
from hitsieve.settings import ServeSettings
from hitsieve.write import held_at, open_results
from serve.conftest import TOKEN, Site

EVERYWHERE = "0.0.0.0"  # noqa: S104


def asked(settings: ServeSettings, token: str | None = None, base: str = "http://localhost:8080") -> TestClient:
    client = TestClient(create_app(settings, token=token), base_url=base, follow_redirects=False)
    client.headers["accept"] = "text/html"
    return client


@pytest.fixture(scope="module")
def guarded(site: Site) -> Iterator[TestClient]:
    """The site behind a token, at an address of the network."""
    with asked(site.settings.model_copy(update={"host": EVERYWHERE}), TOKEN, "http://beamline:8080") as client:
        yield client


def test_every_answer_bears_the_policy(client: TestClient) -> None:
    for path in ("/", "/nowhere", "/static/style.css", "/static/plotly.min.js", "/api/datasets", "/?q=nonsense"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"], path
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/api/datasets", "/nowhere"])
def test_nothing_can_be_changed(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_the_icon_that_browsers_ask_for(client: TestClient) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.content.startswith(b"<svg")


def test_head_is_get_without_a_body(client: TestClient) -> None:
    whole, head = client.get("/api/datasets"), client.head("/api/datasets")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080"])
def test_another_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["", "localhost/static/", "localhost?", "a b", "localhost:80:80", "user@localhost", "'"]
)
def test_what_is_no_name_is_refused(client: TestClient, guarded: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 400
    assert guarded.get("/api/datasets", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_names_can_be_added(site: Site) -> None:
    settings = site.settings.model_copy(update={"allow_host": ("runs.example.org",), "behind_proxy": True})
    with asked(settings) as client:
        assert client.get("/", headers={"host": "runs.example.org"}).status_code == 200
        assert client.get("/", headers={"host": "other.example.org"}).status_code == 421


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "", "192.0.2.7", "beamline"])
def test_outside_this_computer_somebody_must_ask_who_it_is(host: str) -> None:
    settings = ServeSettings(host=host)
    with pytest.raises(SettingsError, match="other computers could read"):
        create_app(settings)
    check_doors(settings, TOKEN)
    check_doors(settings.model_copy(update={"behind_proxy": True}), None)


def test_without_the_token_nothing_is_shown(guarded: TestClient, site: Site) -> None:
    for path in ("/", "/api/datasets", f"/runs/{site.pumped.id}/facts", f"/files/{site.pumped.id}/pumped_hits.h5"):
        answer = guarded.get(path)
        assert answer.status_code == 401, path
        assert "pumped" not in answer.text
    assert guarded.get("/api/datasets", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert guarded.get("/", params={"token": "wrong"}).status_code == 401
    assert guarded.get("/static/style.css").status_code == 200


def test_the_token_leaves_the_address(guarded: TestClient) -> None:
    answer = guarded.get("/", params={"q": "hit_rate > 0.1", "token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?q=hit_rate+%3E+0.1"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert guarded.get("/").status_code == 200
    guarded.cookies.clear()
    assert guarded.get("/").status_code == 401


def test_the_token_leads_to_no_other_host(guarded: TestClient) -> None:
    answer = guarded.get("http://beamline:8080//evil.example/", params={"token": TOKEN})
    assert answer.status_code == 400
    guarded.cookies.clear()


def test_the_token_in_a_header(guarded: TestClient) -> None:
    assert guarded.get("/api/datasets", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    commands = guarded.get("/commands", headers={"authorization": f"Bearer {TOKEN}"}).text
    assert "$HITSIEVE_TOKEN" in commands and TOKEN not in commands


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path, {}) == TOKEN
    assert read_token(None, {"HITSIEVE_TOKEN": TOKEN}) == TOKEN
    assert read_token(None, {}) is None
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="others than its owner"):
        read_token(path, {})
    with pytest.raises(SettingsError, match="at least 16"):
        read_token(None, {"HITSIEVE_TOKEN": "short"})
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(tmp_path / "absent", {})


CROOKED = ["/files/%2e%2e/x", "/..%2f..%2fetc/passwd", "/static/..%2f..%2fapp.py", "/a%00b", "/a%0ab", "/a%5c..%5cb"]


@pytest.mark.parametrize("path", [*CROOKED, "//etc/passwd", "/static//style.css"])
def test_crooked_paths(client: TestClient, path: str) -> None:
    answer = client.get(f"http://localhost:8080{path}")
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text and "import" not in answer.text


@pytest.mark.parametrize(
    "name",
    ["..%2fplain%2fplain_hits.h5", "plain_hits.h5", "%2fetc%2fpasswd", "pumped_hits.h5%00", "pumped_master.h5", "."],
)
def test_files_are_those_of_the_run(client: TestClient, site: Site, name: str) -> None:
    assert client.get(f"http://localhost:8080/files/{site.pumped.id}/{name}").status_code in (400, 404)


@pytest.mark.parametrize("identity", ["0" * 32, "x", "0" * 33, "%27%20OR%201=1", "A" * 32, "0" * 1500])
def test_unknown_ids(client: TestClient, identity: str) -> None:
    answer = client.get(f"/runs/{identity}/facts")
    assert answer.status_code == 404
    assert "no run" in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "hitrate > 1",
        "hit_rate >",
        "((((",
        "'; DROP TABLE runs; --",
        "cell ~ 1,2",
        "x" * 3999,
        "\x00",
        "(" * 600,
        "é < 1",
    ],
)
def test_queries_with_nonsense(client: TestClient, query: str) -> None:
    answer = client.get("/", params={"q": query})
    assert answer.status_code == 400
    assert "query, character" in answer.text
    told = client.get("/api/datasets", params={"q": query})
    assert told.status_code == 400
    assert told.json()["what"].startswith("query, character")


def test_many_cells_at_once(client: TestClient) -> None:
    query = " or ".join(["not (cell ~ 79,79,38,90,90,90)"] * 11)
    answer = client.get("/api/datasets", params={"q": query})
    assert answer.status_code == 400 and "11 cells" in answer.json()["what"]


def test_many_conditions_at_once(client: TestClient) -> None:
    many = ["not title ~ nothing"] * 50
    assert client.get("/api/datasets", params={"q": " and ".join(many)}).status_code == 200
    answer = client.get("/api/datasets", params={"q": " and ".join([*many, "n_hits > 1"])})
    assert answer.status_code == 400 and "51 conditions" in answer.json()["what"]


@pytest.mark.parametrize(
    "asked",
    ["page=0", "page=x", "page=99999999999", "size=1000000", "size=-1", "sort=nothing", "sort=-", "q=" + "x" * 5000],
)
def test_numbers_out_of_range(client: TestClient, asked: str) -> None:
    assert client.get(f"/?{asked}").status_code in (400, 200)
    assert (client.get(f"/?{asked}").status_code == 200) == (asked == "sort=-")


def test_what_is_too_long(client: TestClient) -> None:
    assert client.get("/?q=" + "x" * 9000).status_code == 414
    assert client.get("/" + "x" * 3000).status_code == 414
    assert client.request("GET", "/", content=b"x").status_code == 400


def test_words_for_each_kind_of_visitor(client: TestClient) -> None:
    page = client.get("/nowhere")
    assert page.headers["content-type"].startswith("text/html") and "leads nowhere" in page.text
    told = client.get("/api/nowhere").json()
    assert told["status"] == 404 and told["what"] == "this address leads nowhere"
    plain = client.get("/nowhere", headers={"accept": "*/*"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.text.startswith("404 ") and plain.text.count("\n") == 1


def test_a_fault_of_ours_shows_no_trace(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(site.settings)

    @app.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret words")

    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/fault", headers={"accept": "text/html"})
        assert answer.status_code == 500
        assert "secret" not in answer.text and "Traceback" not in answer.text
        assert "content-security-policy" in answer.headers
    assert "RuntimeError: secret words" in caplog.text
    assert "Traceback" not in caplog.text


def test_deleted_files_are_gone(copied: Site) -> None:
    with asked(copied.settings) as client:
        facts, hits = f"/runs/{copied.pumped.id}/facts", f"/files/{copied.pumped.id}/pumped_hits.h5"
        assert client.get(hits).status_code == 200
        copied.file(copied.pumped).unlink()
        assert client.get(hits).status_code == 410
        page = client.get(facts)
        assert page.status_code == 200 and "not there" in page.text
        shutil.rmtree(copied.file(copied.pumped).parent)
        assert client.get(hits).status_code == 410
        page = client.get(facts)
        assert page.status_code == 200 and "is not there any more" in page.text
        assert client.get("/").status_code == 200


def test_a_damaged_summary(copied: Site) -> None:
    with asked(copied.settings) as client:
        Path(copied.plain.place).write_text("{")
        assert client.get(f"/files/{copied.plain.id}/plain_hits.h5").status_code == 422
        assert "not JSON" in client.get(f"/runs/{copied.plain.id}/facts").text


def test_names_in_a_summary_are_not_believed(copied: Site) -> None:
    """A summary that names another file of its folder as the hits of a pump state does not get it shown."""
    folder = copied.file(copied.pumped).parent
    for name in ("secret.txt", "../plain/plain_hits.h5", "pumped_x/../secret_hits.h5"):
        text = Path(copied.pumped.place).read_text().replace("pumped_light_hits.h5", name)
        Path(copied.pumped.place).write_text(text)
        (folder / "secret.txt").write_text("secret")
        with asked(copied.settings) as client:
            assert client.get(f"/files/{copied.pumped.id}/pumped_dark_hits.h5").status_code == 200
            answer = client.get(f"/files/{copied.pumped.id}/{name.replace('/', '%2f')}")
            assert answer.status_code in (400, 404)
        Path(copied.pumped.place).write_text(text.replace(name, "pumped_light_hits.h5"))


def test_links_out_of_the_folder_are_not_followed(copied: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for record in copied.runs.values():
        copied.file(record).unlink()
    copied.file(copied.pumped).symlink_to(secret)
    os.mkfifo(copied.file(copied.plain))
    with asked(copied.settings) as client:
        assert client.get(f"/files/{copied.pumped.id}/pumped_hits.h5").status_code == 403
        assert client.get(f"/files/{copied.plain.id}/plain_hits.h5").status_code == 410


def test_a_folder_that_became_a_link(copied: Site, tmp_path: Path) -> None:
    folder = copied.file(copied.pumped).parent
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    path = f"/files/{copied.pumped.id}/pumped_hits.h5"
    with asked(copied.settings) as client:
        assert client.get(path).status_code == 200
    with asked(copied.settings.model_copy(update={"root": (tmp_path / "out",)})) as client:
        assert client.get(path).status_code == 403
        assert client.get(f"/files/{copied.plain.id}/plain_hits.h5").status_code == 200


def test_a_folder_that_becomes_a_link_after_it_was_looked_at(copied: Site, tmp_path: Path) -> None:
    runs = Runs(copied.settings.model_copy(update={"root": (tmp_path / "out",)}))
    path = runs.file(copied.pumped.id, "pumped_hits.h5")
    with opened(path) as file:
        assert file.read(4) == b"\x89HDF"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / path.name).write_text("secret")
    path.parent.rename(tmp_path / "moved")
    path.parent.symlink_to(tmp_path / "secret")
    with pytest.raises(Gone):
        opened(path)


def test_what_replaces_a_file_after_it_was_looked_at_is_not_opened(copied: Site, tmp_path: Path) -> None:
    """HDF5 opens files by their paths: it gets one that leads to the file that was looked at, in any process."""
    runs, record = Runs(copied.settings.model_copy(update={"root": (tmp_path / "out",)})), copied.pumped
    hits, secret = copied.file(record), tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["secret"] = 1
    with runs.holding(hits, of=record) as there:
        hits.rename(tmp_path / "moved.h5")
        hits.symlink_to(secret)
        with h5py.File(there) as file:
            assert "entry" in file and "secret" not in file
        assert subprocess.run(["head", "-c4", there], check=True, capture_output=True).stdout == b"\x89HDF"
    annotated = copied.file(record, "_annotated.h5")
    told = pytest.raises(SourceError, match=r"pumped_annotated\.h5: is damaged")
    with told, runs.holding(annotated, of=record) as there:
        raise SourceError(f"{there}: is damaged")
    with h5py.File(secret) as other, pytest.raises(Gone, match="became another file"):
        runs.check_opened(annotated, other.id.get_vfd_handle(), of=record)
    with h5py.File(secret) as other, pytest.raises(Forbidden):
        runs.check_opened(hits, other.id.get_vfd_handle(), of=record)
    hits.unlink()
    (tmp_path / "moved.h5").rename(hits)

    @contextmanager
    def replaced(path: Path) -> Iterator[Path]:
        with runs.holding(path, of=record) as there:
            hits.rename(tmp_path / "moved.h5")
            hits.symlink_to(secret)
            yield there
            hits.unlink()
            (tmp_path / "moved.h5").rename(hits)

    summary = copied.file(record, "_summary.json")
    with open_results(summary, replaced) as stored:
        image = int(np.flatnonzero(stored.column("state") == State.HIT)[0])
        place = held_at(stored.outputs, image, replaced)
    assert place is not None and place.path == hits
    # Some files are known by the ends of their names.
    packed = tmp_path / "out" / "image.cbf.gz"
    packed.write_bytes(b"packed")
    with runs.holding(packed, of=record, source=True) as there:
        assert (there.suffix, there.read_bytes()) == (".gz", b"packed")
    assert not there.parent.exists()


def test_a_file_that_is_not_to_be_shown_does_not_hide_what_another_one_holds(copied: Site, tmp_path: Path) -> None:
    runs, record = Runs(copied.settings.model_copy(update={"root": (tmp_path / "out",)})), copied.pumped
    hits = copied.file(record)
    with open_results(hits) as stored:
        outputs, image = stored.outputs, int(np.flatnonzero(stored.column("state") == State.HIT)[0])
    other, hold = hits.with_name("pumped_misses.h5"), partial(runs.holding, of=record)
    shutil.copy(hits, other)
    hits.rename(tmp_path / "moved.h5")
    hits.symlink_to(tmp_path / "moved.h5")
    found = held_at(replace(outputs, misses=other), image, hold)
    assert found is not None and found.path == other
    with pytest.raises(Forbidden):
        held_at(outputs, image, hold)


def test_roots(site: Site, tmp_path: Path) -> None:
    path = f"/files/{site.plain.id}/plain_summary.json"
    for root, status in ((site.folder, 200), (site.folder / "out" / "plain", 200), (tmp_path, 403)):
        with asked(ServeSettings(catalogue=site.settings.catalogue, root=(root,))) as client:
            assert client.get(path).status_code == status
    # A folder whose name only begins like a root lies beside it.
    beside = ServeSettings(catalogue=site.settings.catalogue, root=(site.folder / "out" / "pl",))
    with asked(beside) as client:
        assert client.get(path).status_code == 403


ADDRESSES = re.compile(r"""(?:href|src|action|data-(?!base)[a-z-]+)="(/[^"]*)"|"(/[^"]*)":|: ?"(/[^"]*)\"""")


@pytest.mark.parametrize("stripped", [False, True])
def test_below_a_path(site: Site, stripped: bool) -> None:
    """Every address that a page leads to, or asks for, is below the path, whether the proxy takes it away or not."""
    settings = site.settings.model_copy(update={"base_path": "/beam/line"})
    with asked(settings, TOKEN) as client:
        before = "" if stripped else "/beam/line"
        entered = client.get(f"{before}/runs/{site.pumped.id}", params={"token": TOKEN})
        assert (entered.status_code, entered.headers["location"]) == (303, f"/beam/line/runs/{site.pumped.id}")
        assert "Path=/beam/line/" in entered.headers["set-cookie"]
        # With a cookie of what is below the path, which is not sent to the path itself.
        first = client.get("/beam/line?q=x%20y")
        assert (first.status_code, first.headers["location"]) == (303, "/beam/line/?q=x%20y")
        client.cookies.clear()
        client.headers["authorization"] = f"Bearer {TOKEN}"
        run = f"/runs/{site.pumped.id}"
        for path in ("/", run, f"{run}/facts", f"{run}/choose", f"{run}/images/0", "/nowhere"):
            page = client.get(before + path)
            assert page.status_code == (404 if path == "/nowhere" else 200)
            led = {next(filter(None, found)) for found in ADDRESSES.findall(page.text)}
            led -= {site.pumped.source_path}
            assert led and all(address.startswith("/beam/line/") for address in led), (path, led)
            for address in sorted(led - {f"/beam/line/api{run}"}):
                followed = client.get(address.replace("&amp;", "&").replace("&#34;", '"'))
                assert followed.status_code in (200, 303) or "is a hit" in followed.text, (path, address)
        leads = client.get(f"{before}{run}/images").headers["location"]
        assert leads.startswith(f"/beam/line{run}/images/")
        commands = client.get(f"{before}/commands").text
        assert f"http://localhost:8080/beam/line/files/{site.pumped.id}/pumped_hits.h5" in commands
        assert client.get(f"{before}/files/%2e%2e/x").status_code in (400, 404)
        assert client.get(f"/beam/line/beam/line{run}").status_code == 404
        told = client.get("/", headers={"x-forwarded-prefix": "/evil"}).text
        assert "/evil" not in told


@pytest.mark.parametrize("path", ["hits", "/a b", "/../x", "//evil.example", "/hits?x", "/runs", "/static/x", "/é"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="base path"):
        ServeSettings(base_path=path)


def test_no_catalogue_yet(tmp_path: Path) -> None:
    with asked(ServeSettings(catalogue=tmp_path / "none.sqlite")) as client:
        page = client.get("/")
        assert page.status_code == 200 and "no datasets yet" in page.text
        assert client.get("/api/datasets").status_code == 422
        assert list(tmp_path.iterdir()) == []


def test_a_catalogue_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "none.sqlite").write_bytes(b"no catalogue" * 100)
    with asked(ServeSettings(catalogue=tmp_path / "none.sqlite")) as client:
        answer = client.get("/")
        assert answer.status_code == 422 and "is not a catalogue" in answer.text


def test_the_catalogue_is_not_changed(copied: Site) -> None:
    place = copied.settings.catalogue
    assert place is not None
    before = place.read_bytes()
    place.chmod(stat.S_IRUSR)
    with asked(copied.settings) as client:
        for path in ("/", "/?q=pump = light", f"/runs/{copied.pumped.id}/facts", "/commands"):
            assert client.get(path).status_code == 200
    assert place.read_bytes() == before
