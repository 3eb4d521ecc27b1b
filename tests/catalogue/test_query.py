"""The search language: what is understood, what is refused and how, and that answers are those of plain Python."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.brute import satisfies
from catalogue.making import many, record
from hitsieve.catalogue import Catalogue, Record
from hitsieve.catalogue.conditions import Cell, Condition, Either, Every, Known, Not, Number, Text, Time, Words
from hitsieve.catalogue.query import parse
from hitsieve.errors import SettingsError

LYSOZYME = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
RECORDS = many(150, seed=3)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", Every(())),
        ("hit_rate > 0.05", Number("hit_rate", ">", 0.05)),
        ("HIT_RATE >= 5 %", Number("hit_rate", ">=", 0.05)),
        ("resolution < .2 nm", Number("resolution", "<", 2.0)),
        ("energy > 9000 eV", Number("photon_energy", ">", 9.0)),
        ("distance == 0.1m", Number("distance", "=", 100.0)),
        ("hit_bytes <> 1.5e3 MB", Number("hit_bytes", "!=", 1.5e9)),
        ("resolution in 1.5..2.0", Every((Number("resolution", ">=", 1.5), Number("resolution", "<=", 2.0)))),
        ("5 < hits<=20", Every((Number("n_hits", ">", 5), Number("n_hits", "<=", 20)))),
        ("5 % > hit_rate", Number("hit_rate", "<", 0.05)),
        ("pump = light", Text("pump", "=", "light")),
        ("sample ~ 'photosystem II'", Text("sample_name", "~", "photosystem II")),
        ('"Lyso_1 jet"', Words(("lyso", "1", "jet"))),
        ("pump is not known", Known("pump", False)),
        ("cell is known", Known("cell_a", True)),
        ("cell ~ 79,79,38,90,90,90", Cell(LYSOZYME, None, 0.02)),
        ("cell ~ 79 79 38 90 90 90 I within 0.5 %", Cell(LYSOZYME, "I", 0.005)),
        (
            "date >= 2026-11",
            Time("date", ">=", datetime(2026, 11, 1, tzinfo=timezone.utc), datetime(2026, 12, 1, tzinfo=timezone.utc)),
        ),
        (
            "hits > 1 and not hits > 2 or (hits > 3 OR hits > 4) and hits > 5",
            Either(
                (
                    Every((Number("n_hits", ">", 1), Not(Number("n_hits", ">", 2)))),
                    Every((Either((Number("n_hits", ">", 3), Number("n_hits", ">", 4))), Number("n_hits", ">", 5))),
                )
            ),
        ),
    ],
)
def test_what_is_meant(text: str, meant: Condition) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hit_ratee > 5", 'character 1, at "hit_ratee > 5": there is no field hit_ratee, did you mean hit_rate'),
        (
            "hit_rate > 5 % and smaple = x",
            'character 20, at "smaple = x": there is no field smaple, did you mean sample',
        ),
        ("lysozyme", 'for words of the title: "..." in quotes'),
        ("hit_rate >", "character 11, at its end: expected a number: hit_rate is one"),
        ("hit_rate 5", 'at "5": expected =, !=, <, <=, >, >=, ~, in or is'),
        ("hit_rate", "put the query in quotes, for the shell takes < and > away"),
        ("hit_rate ~ 5", "hit_rate is a number: compare it with"),
        ("hit_rate > 5 % resolution < 2", 'at "resolution < 2": expected and, or, or the end'),
        ("hit_rate > 5 resolution < 2", "expected and, or, or the end"),
        ("(hit_rate > 5 %", "expected )"),
        ("hit_rate > 5 and", "expected a condition"),
        ("and", "expected a condition before it"),
        (
            "resolution < 2 mm",
            'at "mm": resolution is not measured in mm: give angstrom, A, Å, nm, pm',
        ),
        ("n_hits > 5 %", "n_hits is not measured in %"),
        ("resolution < 1e999", "too large"),
        ("cell ~ 79,79,38,90,90", "expected number 6 of a,b,c,alpha,beta,gamma"),
        ("cell ~ 79,79,38,90,90,300", "no crystal has the cell"),
        ("cell ~ 0.79,0.79,0.38,90,90,90", "shorter than any crystal's"),
        ("cell = 79", "a cell is compared as cell ~"),
        ("cell ~ 79,79,38,90,90,90 within 2", "expected a tolerance in %"),
        ("cell ~ 79,79,38,90,90,90 within 20 %", "above 0 and at most 10 %"),
        ("sample > 3", "sample_name is text: compare it with =, != or ~"),
        ("pump =", "expected a text"),
        ("date > yesterday", "yesterday is no date"),
        ("date > 2026-13", "2026-13 is no date"),
        ("date > 9999", "9999 is no date"),
        ("hit_rate in 5", "expected a range, as 1.5..2.0"),
        ("5 < pump", "pump is no number"),
        ("pump is good", "expected known or unknown"),
        ('"..."', "no word to search for"),
        ("(" * 100, "nested too deep"),
        ("not " * 100, "nested too deep"),
        (" and ".join(["hits > 1"] * 501), "a query has 500 conditions at most"),
        ("settings = 3", "there is no field settings"),
        ("hits > 1; drop table runs", "expected and, or, or the end"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(text)
    assert says in str(refused.value)
    assert str(refused.value).startswith("query, character ")


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_any_text_is_a_query_or_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        parse(text)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    with Catalogue(tmp_path_factory.mktemp("query") / "catalogue.sqlite", create=True) as made:
        for one in RECORDS:
            made.add(one)
        yield made


SIMPLE = [
    "hit_rate > 30 %",
    f"hits = {RECORDS[3].n_hits}",
    f"hits != {RECORDS[3].n_hits}",
    "hit_rate <= 0.7",
    "0.1 < hit_rate <= 0.4",
    "resolution in 1.5..2.5",
    "pump = light",
    "pump = LIGHT",
    "pump != dark",
    "pump ~ a",
    "pump is unknown",
    "sample = LYSOZYME",
    "sample ~ AUMA",
    "sample != lysozyme",
    "title is known",
    "'lyso'",
    "'batch run 1'",
    "'heidi 3'",
    "cell ~ 79,79,38,90,90,90",
    "cell ~ 38,79,79,90,90,90 P within 1 %",
    "cell ~ 94,94,131,90,90,120",
    "cell ~ 61,72,95,90,101,90 C within 3 %",
    "cell ~ 61,72,95,90,101,90 P",
    "cell is unknown",
    "date > 2026-01-03",
    "date = 2026-01-02",
    "date != 2026-01-02",
    "path ~ run_1",
]
queries = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda part: f"({''.join(part)})"),
        inner.map(lambda part: f"not {part}"),
    ),
    max_leaves=4,
)


def found_by_hand(query: str) -> set[str]:
    condition = parse(query)
    return {one.id for one in RECORDS if satisfies(one, condition)}


@pytest.mark.parametrize("query", SIMPLE)
def test_each_condition_is_answered_as_by_hand(catalogue: Catalogue, query: str) -> None:
    wanted = found_by_hand(query)
    assert {found.facts["id"] for found in catalogue.search(query)} == wanted
    assert 0 < len(wanted) < len(RECORDS) or "C within" in query or query.endswith("90 P")


@given(queries)
@settings(max_examples=25)
def test_joined_conditions_are_answered_as_by_hand(catalogue: Catalogue, query: str) -> None:
    assert {found.facts["id"] for found in catalogue.search(query)} == found_by_hand(query)


def test_what_is_not_known_satisfies_nothing(catalogue: Catalogue) -> None:
    known = {one.id for one in RECORDS if one.hit_rate is not None}
    either = {found.facts["id"] for found in catalogue.search("hit_rate > 0.5 or not hit_rate > 0.5")}
    assert either == known


def test_nearest_lattice_comes_first(catalogue: Catalogue) -> None:
    found = catalogue.search("cell ~ 79,79,38,90,90,90")
    strains = [one.strain for one in found]
    assert len(found) > 3
    assert None not in strains
    assert strains == sorted(strains, key=float)  # type: ignore[arg-type]
    assert all(0 <= float(strain or 0) <= 0.02 for strain in strains)


def test_percent_signs_and_underscores_are_no_wildcards(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "c.sqlite", create=True) as catalogue:
        names = ("100%", "1000", "a_b", "axb", "it's")
        records: list[Record] = [record(i, sample_name=name) for i, name in enumerate(names)]
        for one in records:
            catalogue.add(one)
        for text, wanted in (("sample ~ 100%", 1), ("sample ~ a_b", 1), ('sample = "it\'s"', 1), ("sample ~ ''", 5)):
            assert len(catalogue.search(text)) == wanted, text
