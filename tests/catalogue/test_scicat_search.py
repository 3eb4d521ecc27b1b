"""A search in SciCat finds what the same search in the local catalogue finds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from catalogue.making import many, record
from hitsieve.catalogue import Catalogue, Record
from hitsieve.catalogue.query import FIELDS, parse
from hitsieve.catalogue.scicat import Credentials, Refused, SciCat
from hitsieve.catalogue.scicat.asking import where_of
from hitsieve.catalogue.scicat.bodies import derived_body, raw_body
from hitsieve.catalogue.scicat.facts import Facts
from hitsieve.catalogue.scicat.search import LONGEST, search
from hitsieve.errors import SettingsError
from hitsieve.testing.scicat import FakeSciCat
from hitsieve.testing.scicat.matching import matches

FACTS = Facts(owner="A. Person", owner_group="p12345", contact_email="a.person@example.org")
USER = Credentials(user="user", password=SecretStr("secret"))
TITLES = ("Café au lait", "serial (run) 100%", "O'Neill_jet", "ΔF map", "plain title", None)
PROBLEMS = (
    (),
    ("no beam centre, taken as the middle",),
    ("the mask is absent: none was used, see docs", "no distance"),
)


def records(n: int) -> list[Record]:
    """Runs of all kinds, each with its own date, which has microseconds."""
    random_of = random.Random(5)
    out = []
    for number, one in enumerate(many(n, seed=11)):
        told: dict[str, Any] = {
            "date": one.date + timedelta(microseconds=123_456 + number),
            "title": random_of.choice(TITLES),
            "problems": random_of.choice(PROBLEMS),
            "experiment": random_of.choice((None, "p12345", "P12345", "20.1 (a.b)")),
            "start_time": random_of.choice((None, "2026-01-01T12:00:00", "2026-01-01T12:00:00+01:00")),
            "instrument": random_of.choice((None, "X06SA", "x06sa")),
            "photon_energy": random_of.choice((None, 12.4, 9.0, 12.4 * (1 + 1e-10))),
            "distance": random_of.choice((None, 100.0, 150.5)),
            "verdict_on": random_of.choice((None, None, "/data/first_summary.json")),
            "n_lattices": random_of.choice((None, 0, 10**6)),
        }
        out.append(one.model_copy(update=told))
    return out


RECORDS = records(200)
SEARCHED = [name for name in FIELDS if name != "place"]


def random_query(random_of: random.Random, depth: int = 2) -> str:
    kind = random_of.random()
    if depth and kind < 0.25:
        joined = f" {random_of.choice(('and', 'or'))} ".join(
            random_query(random_of, depth - 1) for _ in range(random_of.choice((2, 2, 3)))
        )
        return f"({joined})"
    if depth and kind < 0.4:
        return f"not {random_query(random_of, depth - 1)}"
    if kind < 0.5:
        cell = random_of.choice(("79,79,38,90,90,90", "58 58 151 90 90 120", "94,94,131,90,90,120 R", "5,6,7,80,81,82"))
        return f"cell ~ {cell} within {random_of.choice((1, 2, 5))} %"
    if kind < 0.6:
        return random_of.choice(('"serial run"', '"cafe"', '"café"', '"run_1"', '"o neill"', '"lyso"', '"δf"', '"x"'))
    return random_condition(random_of, random_of.choice(SEARCHED))


def random_condition(random_of: random.Random, name: str) -> str:
    if random_of.random() < 0.15:
        return f"{name} is {random_of.choice(('known', 'unknown', 'not known'))}"
    home, value = FIELDS[name], getattr(random_of.choice(RECORDS), name)
    if home.kind == "number":
        number = 1.0 if value is None else value
        if random_of.random() < 0.25:
            return f"{name} in {0.8 * number}..{1.2 * number}"
        return f"{name} {random_of.choice(('=', '!=', '<', '<=', '>', '>='))} {number!r}"
    if home.kind == "time":
        form = random_of.choice(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m"))
        return f"{name} {random_of.choice(('=', '!=', '<', '<=', '>', '>='))} {value:{form}}"
    if isinstance(value, tuple):
        value = random_of.choice(value) if value else None
    text = str(value) if value else "x"
    if random_of.random() < 0.4:
        start = random_of.randrange(len(text))
        text = text[start : start + 5]
    text = random_of.choice((text, text.upper(), text.lower()))
    quote = '"' if "'" in text else "'"
    return f"{name} {random_of.choice(('=', '!=', '~'))} {quote}{text}{quote}"


def fill(fake: FakeSciCat, runs: list[Record], facts: Facts = FACTS, **other: Any) -> None:
    with SciCat(fake.url, USER) as client:
        for one in runs:
            body = derived_body(one, facts, "/data/out", "20.500.1/raw")
            assert client.post("/api/v4/datasets", body | {"keywords": ["hitsieve"], **other})


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSciCat]:
    with FakeSciCat() as made:
        fill(made, RECORDS)
        yield made


@pytest.fixture(scope="module")
def there(fake: FakeSciCat) -> Iterator[SciCat]:
    with SciCat(fake.url, USER) as client:
        yield client


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    with Catalogue(tmp_path_factory.mktemp("here") / "c.sqlite", create=True) as catalogue:
        catalogue.add_all(RECORDS)
        yield catalogue


QUERIES = [random_query(random.Random(seed)) for seed in range(300)]
PARTS = [
    pytest.param(range(i, i + 20), id=f"{i}", marks=[pytest.mark.long] if i >= 100 else []) for i in range(0, 300, 20)
]


@pytest.mark.parametrize("part", PARTS)
def test_random_queries_have_the_same_answers(there: SciCat, here: Catalogue, part: range) -> None:
    telling = 0
    for query in (QUERIES[i] for i in part):
        wanted, found = here.search(query), search(there, query)
        assert [one.facts["id"] for one in found.runs] == [one.facts["id"] for one in wanted], query
        assert [one.strain for one in found.runs] == [one.strain for one in wanted], query
        assert found.n_unlike == 0
        telling += 0 < len(wanted) < len(RECORDS)
    assert telling > 4


def test_the_server_finds_all_that_satisfies_and_not_everything(fake: FakeSciCat, here: Catalogue) -> None:
    documents = {one["scientificMetadata"]["hitsieve_id"]["value"]: one for one in fake.store.datasets.values()}
    asked = 0
    for query in QUERIES:
        where = where_of(parse(query))
        found = {run for run, document in documents.items() if matches(document, where)}
        wanted = {one.facts["id"] for one in here.search(query)}
        assert wanted <= found, query
        asked += len(found) < len(RECORDS)
    assert asked > 200


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("", {}),
        ("hit_rate > 5 %", {"scientificMetadata.hit_rate.value": {"$gt": 0.05}}),
        ("not hit_rate > 5 %", {"scientificMetadata.hit_rate.value": {"$lte": 0.05}}),
        (
            "hits > 1 or not (hits < 3 and pump is known)",
            {
                "$or": [
                    {"scientificMetadata.n_hits.value": {"$gt": 1.0}},
                    {
                        "$or": [
                            {"scientificMetadata.n_hits.value": {"$gte": 3.0}},
                            {"scientificMetadata.pump_states.value": {"$exists": False}},
                        ]
                    },
                ]
            },
        ),
        # Words are of no key, and what may be anything makes the whole alternative so.
        ('hits > 1 or not "lyso"', {}),
        ('hits > 1 and not "lyso"', {"scientificMetadata.n_hits.value": {"$gt": 1.0}}),
        ("cell ~ 79,79,38,90,90,90", {"scientificMetadata.cell_a.value": {"$exists": True}}),
        ("sample = 'a.b'", {"scientificMetadata.sample_name.value": {"$regex": "^a\\.b$", "$options": "i"}}),
        ("pump = light", {"scientificMetadata.pump_states.value": {"$regex": "light", "$options": "i"}}),
        ("pump != light", {"scientificMetadata.pump_states.value": {"$exists": True}}),
        # Known of every run, if only that there is none.
        ("problems != x", {}),
        # Not sent.
        ("place ~ x", {}),
        (
            "date = 2026-11-26",
            {"scientificMetadata.date.value": {"$gte": "2026-11-26T00:00:00.000Z", "$lt": "2026-11-27T00:00:00.000Z"}},
        ),
    ],
)
def test_what_the_server_is_asked(query: str, where: dict[str, Any]) -> None:
    assert where_of(parse(query)) == where


def test_pages_are_put_together(fake: FakeSciCat, there: SciCat) -> None:
    whole = search(there, "")
    n = len(fake.requests)
    for page in (7, 100):
        again = search(there, "", page=page)
        assert again.runs == whole.runs
    assert len(whole.runs) == len(RECORDS)
    # One more finds nothing.
    assert len(fake.requests) - n == 30 + 3


def test_a_query_too_long_for_a_url_is_answered_here(fake: FakeSciCat, there: SciCat, here: Catalogue) -> None:
    query = " or ".join(f"hits = {number}" for number in range(500))
    found = search(there, query)
    assert {one.facts["id"] for one in found.runs} == {one.facts["id"] for one in here.search(query)} != set()
    assert max(len(request.query) for request in fake.requests) < 3 * LONGEST


def test_what_is_told_of_a_run(there: SciCat) -> None:
    wanted = next(one for one in RECORDS if one.pump and one.problems and one.cell and one.title)
    (found,) = search(there, f"id = {wanted.id}").runs
    told = search(there, f"id = {wanted.id}").records[wanted.id]
    assert told["inputDatasets"] == ["20.500.1/raw"]
    assert found.facts["place"] == told["pid"]
    for name in SEARCHED:
        value = getattr(wanted, name)
        if name == "date":
            value = value.replace(microsecond=value.microsecond // 1000 * 1000)
        assert found.facts[name] == value, name
    json.dumps(told)


def test_other_data_sets_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    with FakeSciCat() as fake, SciCat(fake.url, USER) as client:
        fill(fake, [record(1)])
        # The same run once more, its raw data, somebody else's data with our mark, and a run of another version.
        fill(fake, [record(1)])
        client.post("/api/v4/datasets", raw_body(record(1), FACTS, "/raw", [], {}))
        odd = derived_body(record(2), FACTS, "/data/out", None)
        del odd["scientificMetadata"]["n_hits"]
        client.post("/api/v4/datasets", odd)
        with caplog.at_level("INFO", logger="hitsieve"):
            found = search(client, "")
        assert [one.facts["id"] for one in found.runs] == [record(1).id]
        assert found.n_unlike == 1
        assert "is not as hitsieve writes a set of hits: n_hits" in caplog.text


def test_nobody_finds_what_is_public() -> None:
    with FakeSciCat("v4") as fake:
        fill(fake, [record(1), record(2)])
        fill(fake, [record(3)], isPublished=True)
        with SciCat(fake.url) as client:
            assert [one.facts["id"] for one in search(client, "", public=True).runs] == [record(3).id]
            with pytest.raises(Refused, match="403"):
                search(client, "")


def test_facts_that_were_given_are_found() -> None:
    told = FACTS.model_copy(update={"title": "A title, given", "sample_name": "given sample"})
    with FakeSciCat() as fake, SciCat(fake.url, USER) as client:
        fill(fake, [record(1, title="other", sample_name="other")], told)
        assert len(search(client, "title = 'a title, given' and sample = 'GIVEN SAMPLE'").runs) == 1


def test_a_wrong_query_is_said_before_the_server_is_asked() -> None:
    with SciCat("http://localhost:9") as client, pytest.raises(SettingsError, match="there is no field hit_ratee"):
        search(client, "hit_ratee > 5")
