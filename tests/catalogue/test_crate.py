"""A crate says what the record says, is valid by DataCite's schema and RO-Crate's validator, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import h5py
import nxmx
import pytest
from datacite import schema45
from rocrate.rocrate import ROCrate

from hitsieve.catalogue import Creator, Publication, find_facts, homes, publication
from hitsieve.catalogue.about import MEASURED
from hitsieve.errors import HitsieveError, OutputError, SettingsError, SourceError, VerificationError
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.crate import CrateReport, CrateRequest, pack_crate
from hitsieve.pipeline.record import record_of
from hitsieve.pipeline.verify import verify
from hitsieve.testing import SimulateSettings, simulate

LEAST = Publication(
    creators=(Creator(name="Carberry, Josiah", orcid="0000-0002-1825-0097"),), license="CC-BY-4.0", publisher="Zenodo"
)
MOST = Publication(
    title='Lysozyme <in "light"> & dark',
    description="Microcrystals in a jet.",
    creators=(
        Creator(name="Carberry, Josiah", orcid="https://orcid.org/0000-0002-1825-0097", affiliation="Brown University"),
        Creator(name="The beamline team", affiliation="Brown University"),
    ),
    license="https://example.org/licence",
    publisher="A facility",
    publisher_id="https://ror.org/03eh3y714",
    published=date(2026, 1, 2),
    keywords=("lysozyme", "pump and probe"),
    doi="https://doi.org/10.5281/zenodo.1234567",
    raw="hdl:20.500.11935/0e1ab2f4",
    funder="A foundation",
    award="G-17",
)
SEED = """
import io, sys
from requests import Request, Response
from requests_cache import CachedSession
from urllib3 import HTTPResponse
cache, url, path = sys.argv[1:]
answer = Response()
answer.status_code, answer.url = 200, url
answer._content = open(path, "rb").read()
answer.headers["Content-Type"] = "application/ld+json"
answer.request = Request("GET", url).prepare()
answer.raw = HTTPResponse(io.BytesIO(answer.content), headers=dict(answer.headers), status=200, request_url=url,
                          preload_content=False)
CachedSession(cache_name=cache, backend="sqlite", expire_after=-1).cache.save_response(answer)
"""
"""Gives the validator the context of RO-Crate, which it would else fetch."""


@pytest.fixture(scope="module")
def least(finished: RunReport, tmp_path_factory: pytest.TempPathFactory) -> CrateReport:
    """A crate with no more facts than it must have."""
    return pack_crate(finished.outputs.summary, CrateRequest(LEAST, tmp_path_factory.mktemp("least") / "crate"))


@pytest.fixture(scope="module")
def most(finished: RunReport, tmp_path_factory: pytest.TempPathFactory) -> CrateReport:
    """A crate with all facts, in an archive."""
    return pack_crate(finished.outputs.hits, CrateRequest(MOST, tmp_path_factory.mktemp("most") / "crate.zip"))


@pytest.fixture(scope="module")
def unpacked(most: CrateReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(most.path) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        archive.extractall(folder)
    return folder


def graph(folder: Path) -> dict[str, dict[str, Any]]:
    """Entities of a crate by their identifier."""
    entities = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def test_the_files_are_those_of_the_run(finished: RunReport, least: CrateReport, unpacked: Path) -> None:
    outputs = finished.outputs
    data = (outputs.hits, *outputs.pump_hits, outputs.images, outputs.summary)
    made = {"datacite.json", "ro-crate-preview.html", "ro-crate-metadata.json", "manifest-sha256.txt"}
    for folder in (least.path, unpacked):
        assert {path.name for path in folder.iterdir()} == {path.name for path in data} | made
        for path in data:
            assert (folder / path.name).read_bytes() == path.read_bytes()
    entities = graph(unpacked)
    assert len({entities[path.name]["description"] for path in data}) == len(data)
    assert entities["small_light_hits.h5"]["description"].endswith(": those of pump state light")
    assert least.n_hits == finished.summary.n_hits
    assert least.n_proven == 2 * finished.summary.n_hits + finished.summary.audit.n


def test_hashes_and_sizes_are_those_of_the_files(least: CrateReport) -> None:
    lines = (least.path / "manifest-sha256.txt").read_text().splitlines()
    hashes = {name: digest for digest, name in (line.split("  ") for line in lines)}
    entities = graph(least.path)
    parts = [part["@id"] for part in entities["./"]["hasPart"]]
    for path in least.path.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert hashes.get(path.name, digest) == digest
        assert (path.name in hashes) == (path.name != "manifest-sha256.txt")
        if path.name in parts:
            assert entities[path.name]["contentSize"] == str(path.stat().st_size)
            assert entities[path.name].get("sha256", digest) == digest
    assert {path.name for path in least.path.iterdir()} - {*parts} == {
        "ro-crate-metadata.json",
        "ro-crate-preview.html",
    }
    assert [(file.size, file.sha256) for file in least.files if file.name in hashes] == [
        ((least.path / name).stat().st_size, digest) for name, digest in hashes.items()
    ]


def test_unpacked_hits_are_read_and_proven(finished: RunReport, unpacked: Path) -> None:
    for path in (finished.outputs.hits, *finished.outputs.pump_hits):
        report = verify(unpacked / path.name)
        assert report.ok and report.n_hits > 0
        with h5py.File(unpacked / path.name) as file:
            entry = nxmx.NXmx(file).entries[0]
            detector = entry.instruments[0].detectors[0]
            assert entry.data[0]["data"].shape == (report.n_hits, *detector.modules[0].data_size)
            assert entry.samples[0].name is not None


def test_every_field_stands_where_the_table_says(finished: RunReport, least: CrateReport) -> None:
    record, entities = record_of(finished.outputs, finished.summary), graph(least.path)
    said = {key for entity in entities.values() for key in entity}
    text = json.dumps([*entities.values()], ensure_ascii=False)
    measured = 0
    for home in homes():
        value = getattr(record, home.field)
        if not home.about.crate or value is None or value in ((), {}):
            continue
        assert home.about.crate in said, home.field
        if home.about.crate == MEASURED and home.field != "pump_states":
            entity = entities[f"#{home.field}"]
            assert entity["value"] == (", ".join(value) if isinstance(value, tuple) else value)
            assert (entity["name"], entity.get("unitText", "")) == (home.about.human, home.about.unit)
            assert {"@id": f"#{home.field}"} in entities["./"]["variableMeasured"]
            measured += 1
        elif isinstance(value, str) and home.field not in ("start_time", "end_time"):
            assert value in text, home.field
    assert measured > 30
    for state in record.pump_states:
        assert entities[f"#{state.name}/hit_rate"]["value"] == state.hit_rate
    assert json.loads(entities["#settings"]["value"]) == json.loads(json.dumps(record.settings))
    assert entities["./"]["temporalCoverage"] == f"{record.start_time}/{record.end_time}"
    assert entities["#sieving"]["endTime"] == record.date.isoformat()


def test_facts_stand_in_crate_and_datacite(unpacked: Path) -> None:
    entities = graph(unpacked)
    root, doi = entities["./"], "10.5281/zenodo.1234567"
    assert (root["name"], root["description"], root["datePublished"]) == (MOST.title, MOST.description, "2026-01-02")
    assert [one["@id"] for one in root["creator"]] == ["https://orcid.org/0000-0002-1825-0097", "#creator-2"]
    assert root["isBasedOn"] == {"@id": "https://hdl.handle.net/20.500.11935/0e1ab2f4"}
    assert f"https://doi.org/{doi}" in root["identifier"]
    told = json.loads((unpacked / "datacite.json").read_text())
    assert told["doi"] == doi
    assert told["publicationYear"] == "2026"
    assert told["titles"][0] == {"title": MOST.title}
    assert told["relatedIdentifiers"] == [
        {
            "relatedIdentifier": "20.500.11935/0e1ab2f4",
            "relatedIdentifierType": "Handle",
            "relationType": "IsDerivedFrom",
        }
    ]
    assert told["publisher"]["publisherIdentifier"] == root["publisher"]["@id"] == MOST.publisher_id
    assert told["fundingReferences"] == [{"funderName": "A foundation", "awardNumber": "G-17"}]
    assert told["rightsList"] == [{"rights": MOST.license, "rightsUri": MOST.license}]
    assert told["creators"][0]["familyName"] == "Carberry"
    assert "familyName" not in told["creators"][1]


def test_datacite_is_valid(least: CrateReport, unpacked: Path) -> None:
    for folder in (least.path, unpacked):
        told = json.loads((folder / "datacite.json").read_text())
        assert [error.message for error in schema45.validator.iter_errors(told)] == []
        assert schema45.tostring(told)
    assert [error.message for error in schema45.validator.iter_errors(told | {"dates": "now"})] != []


def test_rocrate_reads_it(least: CrateReport, most: CrateReport) -> None:
    for report in (least, most):
        crate = ROCrate(report.path)
        assert {entity.id for entity in crate.data_entities} >= {"small_hits.h5", "small_summary.json"}
        assert crate.license["name"]
        assert crate.root_dataset["mentions"]["result"]


@pytest.mark.validator
@pytest.mark.skipif(shutil.which("rocrate-validator") is None, reason="rocrate-validator is not installed")
def test_valid_by_the_validator(least: CrateReport, most: CrateReport, tmp_path: Path) -> None:
    import rocrate

    program = shutil.which("rocrate-validator") or ""
    python = Path(program).read_text().splitlines()[0].removeprefix("#!").strip()
    context = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"
    url = "https://w3id.org/ro/crate/1.2/context"
    subprocess.run([python, "-c", SEED, tmp_path / "cache", url, context], check=True)

    def validate(path: Path) -> subprocess.CompletedProcess[str]:
        options = ["--offline", "--cache-path", tmp_path / "cache", "--no-paging", "-p", "ro-crate-1.2"]
        command = [program, "-y", "--disable-color", "validate", *options, path]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = validate(most.path)
    assert done.returncode == 0, done.stdout
    shutil.copytree(least.path, tmp_path / "broken")
    metadata = json.loads((least.path / "ro-crate-metadata.json").read_text())
    del metadata["@graph"][0]["license"]
    (tmp_path / "broken" / "ro-crate-metadata.json").write_text(json.dumps(metadata))
    assert validate(tmp_path / "broken").returncode != 0


def test_the_page_shows_words_of_others_as_words(unpacked: Path, least: CrateReport) -> None:
    page = (unpacked / "ro-crate-preview.html").read_text()
    assert "Lysozyme &lt;in &quot;light&quot;&gt; &amp; dark" in page
    assert "<in" not in page
    assert "Hit rate" in (least.path / "ro-crate-preview.html").read_text()


def test_what_is_lacking_is_named_together(finished: RunReport, tmp_path: Path) -> None:
    lacking = r"lacks its creators \(--creator\), a licence \(--license\) and a publisher \(--publisher\) .*--facts"
    with pytest.raises(SettingsError, match=lacking):
        pack_crate(finished.outputs.summary, CrateRequest(Publication(), tmp_path / "crate"))
    assert list(tmp_path.iterdir()) == []


def test_what_makes_it_hard_to_find_is_told(least: CrateReport, most: CrateReport) -> None:
    assert [problem.what for problem in least.problems] == ["nothing says where the raw data are found"]
    assert [problem.what for problem in most.problems] == ["no ORCID iD is known of The beamline team"]


@pytest.mark.parametrize("name", ["crate", "crate.zip"])
def test_stopped_or_damaged_leaves_what_was_there(finished: RunReport, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.outputs.summary.parent, folder)
    request = CrateRequest(LEAST, tmp_path / "a" / name)
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_crate(folder, request, progress=stop)
    assert calls
    assert not (tmp_path / "a").exists()
    pack_crate(folder, request)
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    hits = folder / finished.outputs.hits.name
    with h5py.File(hits) as file:
        place = file["entry/data/data"].id.get_chunk_info(3).byte_offset
    with hits.open("r+b") as raw:
        raw.seek(place + 40)
        raw.write(b"damaged")
    again = CrateRequest(LEAST, request.output, overwrite=True)
    with pytest.raises(VerificationError, match=r"1 of .* images are damaged, first hits row 3"):
        pack_crate(folder, again)
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before


def test_nothing_that_exists_is_lost(finished: RunReport, tmp_path: Path) -> None:
    pack_crate(finished.outputs.summary, CrateRequest(LEAST, tmp_path / "crate"))
    with pytest.raises(OutputError, match="output exists"):
        pack_crate(finished.outputs.summary, CrateRequest(LEAST, tmp_path / "crate"))
    pack_crate(finished.outputs.summary, CrateRequest(MOST, tmp_path / "crate", overwrite=True))
    assert graph(tmp_path / "crate")["./"]["name"] == MOST.title
    (tmp_path / "crate" / "notes.txt").write_text("mine")
    for folder, strange in ((tmp_path / "crate", "notes.txt"), (finished.outputs.summary.parent, "small_annotated.h5")):
        with pytest.raises(OutputError, match=f"holds other files, such as {strange}"):
            pack_crate(finished.outputs.summary, CrateRequest(LEAST, folder, overwrite=True))
    assert (tmp_path / "crate" / "notes.txt").read_text() == "mine"
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".small_hits.h5.0123abcd.tmp").touch()
    with pytest.raises(OutputError, match=r"\.0123abcd\.tmp \(remove what a call that was killed left, or choose"):
        pack_crate(finished.outputs.summary, CrateRequest(LEAST, tmp_path / "killed"))


def test_one_address_is_not_two_things(finished: RunReport, tmp_path: Path) -> None:
    said = LEAST.model_copy(update={"raw": "https://example.org/a", "publisher_id": "https://example.org/a"})
    with pytest.raises(SettingsError, match=r"https://example\.org/a is given for two things"):
        pack_crate(finished.outputs.summary, CrateRequest(said, tmp_path / "a" / "crate"))
    assert not (tmp_path / "a").exists()


def test_only_a_whole_run_is_packed(finished: RunReport, tmp_path: Path) -> None:
    request = CrateRequest(LEAST, tmp_path / "crate")
    with pytest.raises(SourceError, match="holds the hits of one pump state"):
        pack_crate(finished.outputs.pump_hits[0], request)
    folder = tmp_path / "run"
    shutil.copytree(finished.outputs.summary.parent, folder)
    (folder / finished.outputs.images.name).unlink()
    with pytest.raises(SourceError, match=r"small_images\.parquet: is absent"):
        pack_crate(folder, request)
    assert not (tmp_path / "crate").exists()


def test_a_run_without_hits_is_none(tmp_path: Path) -> None:
    from hitsieve.pipeline import run
    from hitsieve.settings import RunSettings

    made = simulate(tmp_path / "raw", SimulateSettings(name="blank", detector="test-256k", images=8, hit_fraction=0))
    report = run([made.master], RunSettings.model_validate({"write": {"output": tmp_path / "out"}}))
    with pytest.raises(SourceError, match="nothing to export: the run has no hits"):
        pack_crate(report.outputs.summary, CrateRequest(LEAST, tmp_path / "crate"))


def test_what_flags_say_need_not_be_right_in_facts(finished: RunReport, tmp_path: Path) -> None:
    """SciCat takes any words for a licence."""
    facts = tmp_path / "facts.toml"
    facts.write_text("license = 'Terms of the facility'\n[publication]\nkeywords = 'jet'")
    pack_crate(finished.outputs.summary, CrateRequest(LEAST, tmp_path / "crate", facts=facts))
    assert json.loads((tmp_path / "crate" / "datacite.json").read_text())["subjects"][-1] == {"subject": "jet"}
    said = Publication(creators=LEAST.creators, publisher="Zenodo")
    with pytest.raises(SettingsError, match=r"facts\.toml: license: 'Terms of the facility' is neither"):
        pack_crate(finished.outputs.summary, CrateRequest(said, tmp_path / "other", facts=facts))


def test_facts_that_may_not_be_looked_for_are_none(tmp_path: Path) -> None:
    (tmp_path / "hitsieve-facts.toml").write_text("")
    closed = tmp_path / ("x" * 300)  # no name that a folder can have
    assert find_facts("small", (closed, tmp_path)) == tmp_path / "hitsieve-facts.toml"
    assert find_facts("small", (closed,)) is None


SAMPLE = """
owner_group = "p12345"
proposal = "20260001"
sample_name = "thaumatin"
title = "Of the raw data"
license = "CC BY-SA 4.0"
[publication]
creators = [{ name = "Carberry, Josiah", orcid = "0000-0002-1825-0097" }]
publisher = "A facility"
title = "Of the hits"
"""


def test_any_names_will_do(finished: RunReport, tmp_path: Path) -> None:
    """Of files, and of pump states: those called low and high are no limits of intervals."""
    states = {"small_dark_hits.h5": "Lauf \u00e4 1_low_hits.h5", "small_light_hits.h5": "Lauf \u00e4 1_high_hits.h5"}
    folder = tmp_path / "run"
    folder.mkdir()
    for path in finished.outputs:
        shutil.copy(path, folder / states.get(path.name, path.name.replace("small", "Lauf \u00e4 1")))
    place = folder / "Lauf \u00e4 1_summary.json"
    summary = json.loads(place.read_text())
    for state in summary["pump"]["states"]:
        file = states[state["hits_file"]]
        state |= {"hits_file": file, "name": file.split("_")[1]}
    place.write_text(json.dumps(summary))
    report = pack_crate(folder, CrateRequest(LEAST, tmp_path / "crate"))
    entities = graph(report.path)
    assert entities["#low/hit_rate"]["value"] == summary["pump"]["states"][0]["hit_rate"]
    assert entities["#hit_rate_low"]["value"] == summary["hit_rate_interval"][0]
    parts = {entity.id for entity in ROCrate(report.path).data_entities}
    assert "Lauf%20%C3%A4%201_hits.h5" in parts
    size = (report.path / "manifest-sha256.txt").stat().st_size
    assert entities["manifest-sha256.txt"]["contentSize"] == str(size)
    checked = subprocess.run(["sha256sum", "--strict", "-c", "manifest-sha256.txt"], cwd=report.path, check=False)
    assert checked.returncode == 0


@pytest.mark.parametrize("place", ["given", "out/small_facts.toml", "raw/hitsieve-facts.toml"])
def test_flags_win_over_the_table_over_facts_for_all(tmp_path: Path, finished: RunReport, place: str) -> None:
    shutil.copytree(finished.outputs.summary.parent, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "small_summary.json").read_text())
    (tmp_path / "raw").mkdir()
    summary["source"]["path"] = str(tmp_path / "raw" / "small_master.h5")
    (tmp_path / "out" / "small_summary.json").write_text(json.dumps(summary))
    (tmp_path / place).write_text(SAMPLE)
    facts = tmp_path / place if place == "given" else None
    said = publication({"publisher": "Zenodo", "title": None})
    pack_crate(tmp_path / "out", CrateRequest(said, tmp_path / "crate", facts=facts))
    told, entities = json.loads((tmp_path / "crate" / "datacite.json").read_text()), graph(tmp_path / "crate")
    assert told["publisher"] == {"name": "Zenodo"}
    assert told["titles"][0] == {"title": "Of the hits"}
    assert told["rightsList"][0]["rightsIdentifier"] == "CC-BY-SA-4.0"
    assert entities["#sample"]["name"] == "thaumatin"
    assert entities["#experiment"]["identifier"] == "20260001"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[publication]\ntitel = 'x'", r"\[publication\]: titel: is unknown \(known: title, "),
        ("[publication]\nlicense = 'free'", "license: 'free' is neither the address of a licence nor one of CC0-1.0, "),
        ("[publication]\ncreators = [{ name = 'X', orcid = '0000-0002-1825-0098' }]", "a digit of it is wrong"),
        ("[publication]\ncreators = [{ orcid = '0000-0002-1825-0097' }]", "creators.0.name: "),
        ("[publication]\nraw = 'there'", "'there' is no DOI, handle"),
        ("[publication]\ndoi = '11.5/x'", "'11.5/x' is no DOI"),
        ("publication = 1", "publication is no table"),
        ("[publication]\npublisher_id = 'here'", "publisher_id: 'here' is no http address"),
        ("[publication]\ncreators = [{ name = 'X' }, { name = 'X' }]", "two creators are X"),
        ("titel = 'x'", "titel"),
        ("[publication", "is not TOML"),
    ],
)
def test_wrong_facts_are_named(finished: RunReport, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "facts.toml").write_text(text)
    request = CrateRequest(LEAST, tmp_path / "crate", facts=tmp_path / "facts.toml")
    with pytest.raises(SettingsError, match=says):
        pack_crate(finished.outputs.summary, request)
    assert not (tmp_path / "crate").exists()


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("cc by 4.0", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by/4.0", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/deed.en", "CC-BY-SA-4.0"),
        ("https://creativecommons.org/licenses/by-nc/4.0/legalcode", "CC-BY-NC-4.0"),
        ("https://spdx.org/licenses/CC0-1.0.html", "CC0-1.0"),
        ("https://opendatacommons.org/licenses/by/1-0/", "ODC-By-1.0"),
        ("https://creativecommons.org/licenses/by/3.0/", "https://creativecommons.org/licenses/by/3.0/"),
    ],
)
def test_a_licence_is_known_by_its_address_too(said: str, named: str) -> None:
    assert publication({"license": said}).license == named


@pytest.mark.parametrize(
    "wrong", [lambda: Creator.read("<0000-0002-1825-0097>"), lambda: Creator.read("X <0000>"), lambda: Creator.read("")]
)
def test_wrong_creators_are_refused(wrong: Callable[[], Creator]) -> None:
    with pytest.raises(HitsieveError, match="--creator"):
        wrong()
