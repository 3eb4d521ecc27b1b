"""`hitsieve ingest` as a user calls it: what is typed, what is seen, what is left when it goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pytest

from hitsieve.catalogue.scicat import Outbox
from hitsieve.cli.commands import call
from hitsieve.testing.scicat import Account, FakeSciCat, Fault

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))
PASSWORD = "Tr0ub4dor-3f"  # noqa: S105
ACCOUNT = (Account("ada", PASSWORD, ("p12345",)),)
FACTS = ("--pi", "Ada Lovelace", "--pi-email", "ada@example.org", "--owner-group", "p12345", "--beam", "synchrotron")
NOBODY = "http://127.0.0.1:9"
PATIENCE = 240.0
"""Longest time (s) that a test waits for what must come."""
"""Where nothing listens."""


class Told(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Ingest = Callable[..., Told]


@pytest.fixture
def fake() -> Iterator[FakeSciCat]:
    """A server where ada may log in."""
    with FakeSciCat(accounts=ACCOUNT) as server:
        yield server


@pytest.fixture
def ingest(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Call hitsieve ingest as ada."""
    monkeypatch.setenv("HITSIEVE_SCICAT_USER", "ada")
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", PASSWORD)

    def run(*arguments: str | Path) -> Told:
        capsys.readouterr()
        code = call(["ingest", *map(str, arguments)])
        return Told(code, *capsys.readouterr())

    return run


@pytest.fixture
def outputs(results: Path, tmp_path: Path) -> Path:
    """A copy of the outputs of a run, with facts beside them."""
    folder = tmp_path / "out"
    shutil.copytree(results, folder)
    return folder


@contextmanager
def server(
    answer: Callable[[BaseHTTPRequestHandler, bytes], None], context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Something that speaks HTTP, and is no SciCat; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        if context is not None:
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json") -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_a_run_is_registered(ingest: Ingest, fake: FakeSciCat, results: Path) -> None:
    first = ingest(results, "--scicat", f"{fake.url}/api/v3/", *FACTS, "--archive")
    assert (first.code, first.err) == (0, "")
    lines = first.out.splitlines()
    assert [line.split()[0] for line in lines] == ["raw", "hits", "picture", "archive"]
    assert lines[0].endswith(": created; 4 files listed, in 1 block")
    before = fake.state()
    again = ingest(results / "small_summary.json", "--scicat", fake.url, *FACTS, "--archive", "--json")
    report = json.loads(again.out)
    assert (again.code, again.err) == (0, "")
    assert (report["raw"]["did"], report["derived"]["did"], report["archive"]) == ("there", "there", "there")
    assert report["derived"]["n_listed"] == 4
    assert fake.state() == before
    derived = fake.dataset(report["derived"]["pid"])
    assert derived["usedSoftware"][0].startswith("hitsieve ")
    assert derived["jobParameters"]["settings"]["verdict"]["rule"] == "either"
    assert derived["techniques"][0]["pid"] == "http://purl.org/pan-science/PaNET/PaNET01169"
    assert derived["techniques"][1]["pid"] == "http://purl.org/pan-science/PaNET/PaNET01312"
    (block,) = [one for one in fake.store.blocks if one["datasetId"] == derived["pid"]]
    assert all(len(file["chk"]) == 64 for file in block["dataFileList"])
    (listed,) = [one for one in fake.store.blocks if one["datasetId"] == report["raw"]["pid"]]
    assert not any("chk" in file for file in listed["dataFileList"])


def test_dry_run_needs_nobody(ingest: Ingest, results: Path, own_outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HITSIEVE_SCICAT_PASSWORD")
    shown = ingest(results, "--dry-run", *FACTS, "--archive", "--checksums", "all")
    assert (shown.code, shown.err) == (0, "")
    bodies = json.loads(shown.out)
    assert list(bodies) == ["raw", "raw_origdatablocks", "derived", "derived_origdatablocks", "attachment", "job"]
    assert bodies["derived"]["inputDatasets"] == ["<raw>"]
    rate = bodies["raw"]["scientificMetadata"]["hit_rate"]
    assert (rate["unit"], rate["human_name"]) == ("", "Hit rate")
    assert all("chk" in file for file in bodies["raw_origdatablocks"][0]["dataFileList"])
    assert not own_outbox.exists()


def test_facts_from_flags_files_and_source(ingest: Ingest, outputs: Path) -> None:
    lacking = ingest(outputs, "--dry-run", "--owner-group", "p1")
    assert lacking.code == 3
    assert "SciCat needs owner, contact_email, which" in lacking.err
    assert "give --owner, --contact-email, or write small_facts.toml" in lacking.err
    (outputs / "hitsieve-facts.toml").write_text('owner_group = "far"\n')
    (outputs / "small_facts.toml").write_text(
        'owner_group = "near"\nowner = "Ada"\ncontact_email = "a@example.org"\nkeywords = ["lysozyme"]\n'
        'sample_id = "HEIDI-7"\nbeam = "xfel"\n'
    )
    told = ingest(outputs, "--dry-run", "--owner-group", "flag", "--keywords", "b")
    raw = json.loads(told.out)["raw"]
    assert (raw["ownerGroup"], raw["owner"], raw["keywords"]) == ("flag", "Ada", ["hitsieve", "b"])
    assert (raw["sampleIds"], raw["scientificMetadata"]["sample_id"]["value"]) == (["HEIDI-7"], "HEIDI-7")
    assert [one["pid"][-5:] for one in raw["techniques"]] == ["01168", "01309"]
    assert json.loads(ingest(outputs, "--dry-run").out)["raw"]["ownerGroup"] == "near"
    (outputs / "other.toml").write_text('owner_grupp = "x"\n')
    wrong = ingest(outputs, "--dry-run", "--facts", outputs / "other.toml")
    assert wrong.code == 2
    assert "unknown fact owner_grupp" in wrong.err
    mail = ingest(outputs, "--dry-run", "--contact-email", "nobody")
    assert (mail.code, "no e-mail address" in mail.err) == (2, True)
    for text, says in (('title = "a\\u001b[31m"', "cannot be shown"), (f'pi = "{"x" * 20_001}"', "at most 20000")):
        (outputs / "odd.toml").write_text(f"{text}\n")
        odd = ingest(outputs, "--dry-run", "--facts", outputs / "odd.toml")
        assert (odd.code, says in odd.err, len(odd.err) < 500) == (2, True, True)
    assert ingest(outputs, "--dry-run", "--facility", "nowhere").code == 2


def test_people_and_sample_that_the_source_names(ingest: Ingest, outputs: Path) -> None:
    with h5py.File(outputs / "small_annotated.h5", "r+") as master:
        entry = master["entry"]
        entry["sample/identifier_heidi"] = "HEIDI-0042"
        for name, told in {
            "user_1": {"name": "Charles Babbage", "role": "local_contact", "email": "charles@example.org"},
            "user_2": {"name": "Ada\nLovelace", "role": "Principal_Investigator", "email": "ada@example.org"},
        }.items():
            user = entry.create_group(name)
            user.attrs["NX_class"] = "NXuser"
            for key, value in told.items():
                user[key] = value

    def raw(*flags: str) -> dict[str, Any]:
        told = ingest(outputs, "--dry-run", "--owner-group", "p1", *flags)
        assert told.code == 0, told.err
        body: dict[str, Any] = json.loads(told.out)["raw"]
        return body

    said = raw()
    assert (said["owner"], said["principalInvestigators"]) == ("Ada Lovelace", ["Ada Lovelace"])
    assert (said["contactEmail"], said["sampleIds"]) == ("ada@example.org", ["HEIDI-0042"])
    assert said["scientificMetadata"]["sample_id"]["value"] == "HEIDI-0042"
    said = raw("--pi", "Grace Hopper", "--sample-id", "H-1")
    assert (said["principalInvestigators"], said["sampleIds"]) == (["Grace Hopper"], ["H-1"])
    with h5py.File(outputs / "small_annotated.h5", "r+") as master:
        del master["entry/user_1"], master["entry/user_2/role"]
        master["entry/user_2/email"][()] = "not given"
    said = raw("--contact-email", "b@example.org")
    # Who is named alone, without a role, is responsible for the data, and is not therefore its investigator.
    assert (said["owner"], said.get("principalInvestigators")) == ("Ada Lovelace", None)
    assert "ownerEmail" not in said
    with h5py.File(outputs / "small_annotated.h5", "r+") as master:
        for name, text in {"owner_group": "p777", "pi": "Charles", "note": "x", "keywords": "y"}.items():
            master[f"entry/user/{name}"] = text
    sent = json.loads(ingest(outputs, "--dry-run", "--contact-email", "b@example.org").out)["raw"]
    assert (sent["ownerGroup"], sent["owner"], sent["principalInvestigators"]) == ("p777", "Ada Lovelace", ["Charles"])
    assert sent["keywords"] == ["hitsieve"]


def test_conventions_of_a_facility(ingest: Ingest, outputs: Path) -> None:
    told = ingest(outputs, "--dry-run", "--facility", "psi", *FACTS, "--creation-location", "/PSI/SLS/X06SA")
    raw = json.loads(told.out)["raw"]
    assert (raw["license"], raw["accessGroups"]) == ("CC BY-SA 4.0", ["slsx06sa"])
    assert raw["datasetlifecycle"]["archiveStatusMessage"] == "datasetCreated"


def test_what_cannot_be_sent_waits(ingest: Ingest, fake: FakeSciCat, outputs: Path, own_outbox: Path) -> None:
    url = fake.url
    down = ingest(outputs, "--scicat", NOBODY, *FACTS, "--patience", "0")
    assert down.code == 6
    assert f"{NOBODY}: cannot be reached: " in down.err
    assert "it waits in the outbox: hitsieve ingest --pending sends it" in down.err
    listed = ingest("--list")
    assert f"waiting  {outputs / 'small_summary.json'}  to {NOBODY}" in listed.out
    assert listed.out.endswith(f"1 waiting, 0 refused: {own_outbox}\n")
    assert ingest("--pending", "--patience", "0").code == 6
    # The server that was down comes back; here it is another one, so the address of the errand is changed.
    with Outbox(own_outbox) as outbox:
        (entry,) = outbox.entries("waiting")
        assert entry.n_tries == 2
        outbox.drop(entry.key)
        outbox.put(entry.errand.model_copy(update={"server": url}))
    sent = ingest("--pending")
    assert (sent.code, sent.err) == (0, "")
    assert sent.out.startswith(f"{outputs / 'small_summary.json'}\nraw ")
    assert len(fake.store.datasets) == 2
    assert ingest("--pending").out == f"nothing waits in {own_outbox}\n"
    assert json.loads(ingest("--list", "--json").out) == []


def test_a_password_goes_to_its_own_server_only(
    ingest: Ingest, fake: FakeSciCat, outputs: Path, own_outbox: Path
) -> None:
    ingest(outputs, "--scicat", NOBODY, *FACTS, "--patience", "0")
    with Outbox(own_outbox) as outbox:
        (entry,) = outbox.entries("waiting")
        for run in ("2", "3"):
            outbox.put(entry.errand.model_copy(update={"server": fake.url, "run": run * 32}))
    several = ingest("--pending")
    assert (several.code, "is for 2 servers" in several.err) == (2, True)
    assert fake.requests == []
    with Outbox(own_outbox) as outbox:
        outbox.put(entry.errand.model_copy(update={"server": fake.url}))
    assert ingest("--pending", "--scicat", "https://other.example.org").out.startswith("nothing waits")
    told = ingest("--pending", "--scicat", f"{fake.url}/api/v4", "--json")
    done = json.loads(told.out)
    assert [one["server"] for one in done] == [fake.url] * 3
    # Two are of runs that are not there any more; the third is sent for all that.
    assert [one["error"] is None for one in done] == [False, False, True]
    assert told.code == 3
    assert len(fake.store.datasets) == 2


def test_a_wrong_password_is_tried_once(
    ingest: Ingest, fake: FakeSciCat, outputs: Path, own_outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(outputs, "--scicat", NOBODY, *FACTS, "--patience", "0")
    with Outbox(own_outbox) as outbox:
        (entry,) = outbox.entries("waiting")
        outbox.drop(entry.key)
        for run in ("2", "3", "4"):
            outbox.put(entry.errand.model_copy(update={"server": fake.url, "run": run * 32}))
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", "wrong")
    assert ingest("--pending").code == 6
    assert [seen.line for seen in fake.requests] == ["POST /api/v3/auth/login"]
    assert "3 waiting" in ingest("--list").out


def test_what_was_refused_is_kept_with_its_reason(ingest: Ingest, fake: FakeSciCat, outputs: Path) -> None:
    others = [word.replace("p12345", "p99999") for word in FACTS]
    refused = ingest(outputs, "--scicat", fake.url, *others)
    assert refused.code == 6
    assert "POST /api/v4/datasets: 403" in refused.err
    (entry,) = json.loads(ingest("--list", "--json").out)
    assert entry["state"] == "refused"
    assert "403" in entry["reason"]
    assert ingest("--pending").out.startswith("nothing waits")
    assert ingest(outputs, "--scicat", fake.url, *FACTS).code == 0
    assert ingest("--list").out.startswith("0 waiting, 0 refused")


def test_a_run_that_changed_meanwhile_is_not_sent(ingest: Ingest, outputs: Path, own_outbox: Path) -> None:
    ingest(outputs, "--scicat", NOBODY, *FACTS, "--patience", "0")
    summary = json.loads((outputs / "small_summary.json").read_text())
    (outputs / "small_summary.json").write_text(json.dumps(summary | {"date": "2001-01-01T00:00:00Z"}))
    with FakeSciCat(accounts=ACCOUNT) as fake, Outbox(own_outbox) as outbox:
        (entry,) = outbox.entries("waiting")
        outbox.drop(entry.key)
        outbox.put(entry.errand.model_copy(update={"server": fake.url}))
        told = ingest("--pending")
        assert told.code == 3
        assert "holds another run than the one that was to be sent" in told.err
        assert [one.state for one in outbox.entries("waiting", "refused")] == ["refused"]
        assert ingest(outputs, "--forget").out.startswith("1 taken out of")
        assert outbox.entries("waiting", "refused") == []


def test_wrong_password_and_wrong_servers(
    ingest: Ingest, fake: FakeSciCat, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", "wrong")
    wrong = ingest(outputs, "--scicat", fake.url, *FACTS)
    assert wrong.code == 6
    assert "user ada and this password are not accepted" in wrong.err
    assert fake.store.datasets == {}

    def page(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        reply(handler, 200, b"<html>Welcome</html>", "text/html")

    def leads(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", "https://scicat.example.org/login")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def other(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        reply(handler, 200, b'{"error": "nothing"}')

    for answer, says in (
        (page, "but not as SciCat does"),
        (leads, "leads elsewhere, to https://scicat.example.org/login"),
        (other, "answers the login, but not as SciCat does"),
    ):
        with server(answer) as url:
            told = ingest(outputs, "--scicat", url, *FACTS, "--patience", "0")
            assert told.code == 6
            assert says in told.err
            assert len(told.err.splitlines()) == 1


def test_a_certificate_that_nobody_vouches_for(ingest: Ingest, outputs: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with server(lambda handler, _: reply(handler, 200, b"[]"), context) as url:
        told = ingest(outputs, "--scicat", url, *FACTS)
    assert told.code == 6
    assert "its certificate is not trusted: self-signed certificate" in told.err
    assert "SSL_CERT_FILE" in told.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scicat", "scicat.example.org"], "is no URL of a server"),
        (["--scicat", "http://scicat.example.org"], "without https anybody on the way can read the password"),
        (["--scicat", f"https://ada:{PASSWORD}@scicat.example.org"], "the URL of SciCat holds a user or a password"),
        ([], "no SciCat is named"),
        (["--pending"], "--pending takes no RESULTS"),
        (["--checksums", "some"], "Choose from"),
        (["--patience", "-1"], "Must be >= 0"),
        (["--raw", " "], "--raw is empty"),
    ],
)
def test_wrong_usage(ingest: Ingest, results: Path, own_outbox: Path, arguments: list[str], says: str) -> None:
    told = ingest(results, *FACTS, *arguments)
    assert told.code == 2
    assert says in told.err
    assert PASSWORD not in told.err
    assert not own_outbox.exists()


def test_who_asks(
    ingest: Ingest, fake: FakeSciCat, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HITSIEVE_SCICAT_USER")
    assert "HITSIEVE_SCICAT_PASSWORD is set without" in ingest(outputs, "--scicat", fake.url, *FACTS).err
    monkeypatch.delenv("HITSIEVE_SCICAT_PASSWORD")
    unknown = ingest(outputs, "--scicat", fake.url, *FACTS)
    assert (unknown.code, "neither a token nor a user" in unknown.err) == (2, True)
    token = tmp_path / "token"
    token.write_text(fake.store.login("ada", PASSWORD)["access_token"] + "\n")
    token.chmod(0o640)
    open_to_all = ingest(outputs, "--scicat", fake.url, *FACTS, "--token-file", token)
    assert (open_to_all.code, f"chmod 600 {token}" in open_to_all.err) == (2, True)
    token.chmod(0o600)
    assert ingest(outputs, "--scicat", fake.url, *FACTS, "--token-file", token).code == 0
    assert ingest(outputs, "--scicat", fake.url, *FACTS, "--token-file", tmp_path / "none").code == 2
    fake.expire_tokens()
    expired = ingest(outputs, "--scicat", fake.url, *FACTS, "--token-file", token)
    assert (expired.code, "the token may have expired" in expired.err) == (6, True)
    # With a token that is good again it goes on.
    assert "1 waiting" in ingest("--list").out
    monkeypatch.setenv("HITSIEVE_SCICAT_TOKEN", fake.store.login("ada", PASSWORD)["access_token"])
    assert ingest("--pending").code == 0


def test_no_secret_is_ever_shown_or_kept(ingest: Ingest, fake: FakeSciCat, outputs: Path, tmp_path: Path) -> None:
    """Sessions that fail and succeed, with all that can be logged: every file and stream is looked through."""

    def echo(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        said = f"{handler.headers} {body.decode()}"
        if "login" in handler.path:
            reply(handler, 200, json.dumps({"access_token": "tok-Zx81-Yq", "expires_in": 3600}).encode())
        else:
            reply(handler, 400, json.dumps({"message": [said, f"{PASSWORD} tok-Zx81-Yq"]}).encode())

    def refuse(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        reply(handler, 400, json.dumps({"message": body.decode()}).encode())

    told = [ingest(outputs, "--scicat", NOBODY, *FACTS, "--patience", "0.5", "--debug")]
    for answer in (echo, refuse):
        with server(answer) as url:
            told.append(ingest(outputs, "--scicat", url, *FACTS, "--debug"))
            assert "***" in told[-1].err
    fake.fail_next(1, Fault("status", 503, only="POST /api/v4"))
    with started(outputs, fake.url, "--debug", "--json") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "trying again in" in err
    told += [ingest("--list"), ingest("--pending", "--debug", "--patience", "0"), ingest(outputs, "--dry-run", *FACTS)]
    secrets = [PASSWORD, "tok-Zx81-Yq", *fake.store.sessions]
    assert len(secrets) > 2
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    asked = [seen.path + seen.query for seen in fake.requests]
    shown = "\n".join([*(one.out + one.err for one in told), out, err, *asked])
    for secret in secrets:
        assert secret not in shown
        assert not any(secret.encode() in content for content in written)


def started(results: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [HITSIEVE, "ingest", str(results), "--scicat", url, *FACTS, *arguments]
    environment = os.environ | {"HITSIEVE_SCICAT_USER": "ada", "HITSIEVE_SCICAT_PASSWORD": PASSWORD}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(so: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("asked", ["POST /api/v4/datasets", "POST /api/v3/origdatablocks"])
def test_killed_in_the_middle_of_a_request(ingest: Ingest, fake: FakeSciCat, outputs: Path, asked: str) -> None:
    """The request lands all the same, and nobody hears its answer."""
    fake.fail_next(1, Fault("slow", seconds=2.0, only=asked))
    with started(outputs, fake.url) as process:
        until(lambda: bool(fake.faults.struck))
        process.kill()
        process.communicate()
    until(lambda: any(seen.line.startswith(asked) for seen in fake.requests))
    assert "1 waiting" in ingest("--list").out
    assert ingest("--pending").code == 0
    assert sorted(one["type"] for one in fake.state()["datasets"]) == ["derived", "raw"]
    assert len(fake.store.blocks) == 2
    assert len(fake.store.attachments) == 2
    assert [one["numberOfFiles"] for one in fake.state()["datasets"]] == [4, 4]


def test_an_account_that_cannot_read_is_remembered(
    ingest: Ingest, outputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the flag that would choose identifiers is forgotten, and after --forget."""
    monkeypatch.setenv("HITSIEVE_SCICAT_USER", "ingestor")
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", "secret")
    with FakeSciCat() as fake:
        # The first call ends before there is a report, and what must be known is told for all that.
        fake.fail_next(1, Fault("status", 400, only="POST /api/v3/origdatablocks"))
        first = ingest(outputs, "--scicat", fake.url, *FACTS)
        assert (first.code, "only the outbox knows that it is there" in caplog.text) == (6, True)
        assert ingest(outputs, "--forget").out.startswith("1 taken out of")
        again = ingest(outputs, "--scicat", fake.url, *FACTS)
        assert (again.code, "the account cannot read it: its facts were not compared" in again.err) == (0, True)
        before = fake.state()
        assert ingest(outputs, "--scicat", f"{fake.url}/api/v3", *FACTS).code == 0
        assert fake.state() == before
        assert sorted(one["type"] for one in before["datasets"]) == ["derived", "raw"]


def test_two_at_once_and_ctrl_c(ingest: Ingest, fake: FakeSciCat, outputs: Path) -> None:
    fake.fail_next(1, Fault("slow", seconds=PATIENCE, only="POST /api/v4/datasets"))
    with started(outputs, fake.url) as process:
        until(lambda: bool(fake.faults.struck))
        second = ingest(outputs, "--scicat", fake.url, *FACTS)
        assert (second.code, "another process is bringing it to SciCat" in second.err) == (4, True)
        passed = ingest("--pending")
        assert (passed.code, passed.out.splitlines()[1]) == (0, "another process is bringing it")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "what was not sent waits in the outbox" in err
    assert ingest("--pending").code == 0
    assert len(fake.store.blocks) == 2


def test_user_and_password_are_asked_for(fake: FakeSciCat, outputs: Path) -> None:
    ours, theirs = os.openpty()
    # A session of its own takes the terminal, as a login does.
    login = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    command = [HITSIEVE, "ingest", str(outputs), "--scicat", fake.url, *FACTS, "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", login, *command], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    for question, answer in ((b"user at SciCat: ", "ada"), (b"password of ada: ", PASSWORD), (None, "")):
        while question is None or question not in shown:
            try:
                shown += (more := os.read(ours, 1000))
            except OSError:
                # The other end is closed.
                break
            if not more:
                break
        if question is not None:
            os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    assert process.wait(PATIENCE) == 0, shown
    assert PASSWORD.encode() not in shown
    assert len(fake.store.datasets) == 2
