"""Why an image is, or is not, a hit: in words and numbers, from real runs and for every rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hitsieve import pipeline
from hitsieve.errors import SourceError
from hitsieve.model import SpotFlag, State
from hitsieve.pipeline.account import Account
from hitsieve.pipeline.explain import explain
from hitsieve.pipeline.numbers import numbers
from hitsieve.pipeline.words import headline, near, rows
from hitsieve.settings import RunSettings
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import HitRuleSummary, open_results

MASK = "entry/instrument/detector/pixel_mask"


def sieve(made: Simulated, folder: Path, **rooms: Any) -> Path:
    """Run with settings of some rooms; gives the folder of the outputs."""
    settings = {"write": {"output": folder, "audit_min": 2}, "workers": 2, **rooms}
    settings.setdefault("verdict", {})
    pipeline.run([made.master], RunSettings.model_validate(settings))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    settings = SimulateSettings(name="few", detector="test-256k", images=24, hit_fraction=0.4, seed=11)
    return simulate(tmp_path_factory.mktemp("few"), settings)


@pytest.fixture(scope="module")
def results(made: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sieve(made, tmp_path_factory.mktemp("results"), verdict={"min_spots": 9})


def images(folder: Path, state: State) -> list[int]:
    with open_results(folder) as stored:
        return np.flatnonzero(stored.column("state") == state).tolist()


@pytest.fixture(scope="module")
def hit(results: Path) -> Account:
    """A hit with a lattice, told from the outputs alone."""
    for image in images(results, State.HIT):
        found = explain(results, image, picture=False)
        if found.n_lattices > 0 and found.counted > 9:
            return found
    raise AssertionError("no hit is indexed")


def with_rule(account: Account, kind: str, counted: int, n_lattices: int, *, min_spots: int = 9) -> Account:
    """The account as if the rule were another, and the image had other counts; its state follows."""
    rule = HitRuleSummary.model_validate({"rule": kind, "min_spots": min_spots, "origin": "given"})
    enough, indexed = counted >= min_spots, n_lattices > 0
    is_hit = {"spots": enough, "indexed": indexed, "either": enough or indexed, "both": enough and indexed}[kind]
    spots = account.results.spots
    results = replace(
        account.results,
        spots=replace(spots, flags=np.zeros_like(spots.flags)),
        state=np.array([State.HIT if is_hit else State.MISS], dtype=np.uint8),
        n_spots_counted=np.array([counted], dtype=np.int32),
        n_lattices=np.array([n_lattices], dtype=np.int32),
    )
    return replace(account, rule=rule, results=results)


@pytest.mark.parametrize(
    ("kind", "counted", "n_lattices", "said"),
    [
        ("spots", 6, -1, "miss: 6 spots count, 9 are needed"),
        ("spots", 12, -1, "hit: 12 spots count, 9 are enough"),
        ("either", 6, 0, "miss: 6 spots count, 9 are needed, and no lattice was found"),
        ("either", 1, 0, "miss: 1 spot counts, 9 are needed, and no lattice was found"),
        ("either", 8, 1, "hit: 8 spots count, 9 are needed, but 1 lattice was found"),
        ("either", 30, 0, "hit: 30 spots count, 9 are enough, but no lattice was found"),
        ("either", 30, 2, "hit: 30 spots count, 9 are enough, and 2 lattices were found"),
        ("both", 30, 0, "miss: 30 spots count, 9 are enough, but no lattice was found; the rule asks for both"),
        ("indexed", 30, 0, "miss: no lattice was found, and the rule asks for one (30 spots count)"),
    ],
)
def test_headline(hit: Account, kind: str, counted: int, n_lattices: int, said: str) -> None:
    assert headline(with_rule(hit, kind, counted, n_lattices)) == said


@pytest.mark.parametrize(
    ("kind", "counted", "n_lattices", "said"),
    [
        ("spots", 6, -1, "3 more spots or --min-spots 6 would make it a hit"),
        ("either", 8, 0, "1 more spot, --min-spots 8, or a lattice would make it a hit"),
        ("either", 0, 0, "no spot counts: spots alone cannot make it a hit"),
        ("both", 6, 0, "3 more spots and a lattice would make it a hit"),
        ("both", 30, 0, "a lattice or --rule spots would make it a hit"),
        ("both", 6, 1, "3 more spots or --min-spots 6 would make it a hit"),
        ("indexed", 30, 0, "a lattice or --rule spots --min-spots 30 would make it a hit"),
        ("spots", 12, -1, "it would stay a hit up to --min-spots 12"),
        ("either", 12, 0, "it would stay a hit up to --min-spots 12"),
        ("either", 12, 1, "its lattice alone would make it a hit, and so would its spots"),
        ("either", 8, 1, "its lattice makes it a hit; by spots alone --min-spots 8 would be needed"),
        ("both", 12, 1, "it would stay a hit up to --min-spots 12, as long as it has a lattice"),
    ],
)
def test_how_near(hit: Account, kind: str, counted: int, n_lattices: int, said: str) -> None:
    assert near(with_rule(hit, kind, counted, n_lattices)) == said


def test_what_is_said_would_make_it_a_hit_does(made: Simulated, results: Path, tmp_path: Path) -> None:
    """The threshold named for a miss, given to a run, makes it a hit; one more spot makes it a miss again."""
    nearly = [explain(results, image, picture=False) for image in images(results, State.MISS)]
    account = max(nearly, key=lambda found: found.counted)
    if not account.counted:
        pytest.skip("every miss is empty")
    assert f"--min-spots {account.counted}" in near(account)
    spots_only = {"indexing": "off"}
    at = sieve(made, tmp_path / "at", index=spots_only, verdict={"min_spots": account.counted})
    above = sieve(made, tmp_path / "above", index=spots_only, verdict={"min_spots": account.counted + 1})
    assert account.image in images(at, State.HIT)
    assert account.image in images(above, State.MISS)


def test_a_hit_in_full(results: Path, hit: Account, tmp_path: Path) -> None:
    picture = tmp_path / "hit.png"
    found = explain(results, hit.image, picture=picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    facts = dict(rows(found))
    n = len(found.results.spots)
    assert facts["spots"].startswith(f"{n} spots from ")
    assert f"{found.counted} of them count" in facts["spots"]
    assert facts["rule"] == "enough spots, or a lattice; 9 spots are enough, as given"
    assert "of a false one" in facts["lattice 1"] and f"of {found.counted} spots indexed" in facts["lattice 1"]
    assert "median of the run" in facts["background"]
    assert facts["resolution"].endswith("angstrom, estimated from the spots that count")
    assert "few_data_000001.h5, /entry/data/data, row" in facts["original"]
    assert facts["picture"] == str(picture)
    assert "differs" not in facts
    data = json.loads(json.dumps(numbers(found), allow_nan=False))
    assert data["n_spots"] == n
    assert (data["state"], data["hit"]) == ("hit", images(results, State.HIT).index(found.image))
    assert len(data["lattices"]) == found.n_lattices
    assert data["rejected"]["small"] >= 0
    assert data["near"] == near(found) == facts["near"]


def test_an_image_of_the_hit_only_file(results: Path) -> None:
    hits = images(results, State.HIT)
    assert explain(results, 2, hit=True, picture=False).image == hits[2]
    with pytest.raises(SourceError, match=rf"has no hit {len(hits)}, only {len(hits)}"):
        explain(results, len(hits), hit=True, picture=False)
    with pytest.raises(SourceError, match="no hit -1"):
        explain(results, -1, hit=True, picture=False)


def test_no_such_image(results: Path) -> None:
    with pytest.raises(SourceError, match="has no image 24, only 24"):
        explain(results, 24, picture=False)


def test_only_ice(made: Simulated, hit: Account, tmp_path: Path) -> None:
    """With bands so wide that they take in nearly everything, the same image is a miss, and --no-ice is the way out."""
    verdict = {"min_spots": 9, "ice_half_width": 0.4}
    folder = sieve(made, tmp_path / "ice", index={"indexing": "off"}, verdict=verdict)
    found = explain(folder, hit.image, picture=tmp_path / "ice.png")
    assert found.state == State.MISS
    ice = found.flagged(SpotFlag.ICE)
    assert ice == found.only_ice > 9
    facts = dict(rows(found))
    assert facts["not counted"].startswith(f"{ice} in ice bands (within 0.4 1/angstrom")
    assert f"--no-ice ({ice + found.counted} spots would count)" in near(found)
    unhindered = sieve(made, tmp_path / "no", index={"indexing": "off"}, verdict=verdict | {"ice": False})
    found = explain(unhindered, hit.image, picture=False)
    assert found.state == State.HIT
    assert "which count (--no-ice)" in dict(rows(found))["ice"]


def test_out_of_range(made: Simulated, hit: Account, tmp_path: Path) -> None:
    folder = sieve(made, tmp_path, index={"indexing": "off"}, verdict={"min_spots": 9, "d_max": 2.5, "ice": False})
    found = explain(folder, hit.image, picture=False)
    outside = found.flagged(SpotFlag.OUT_OF_RANGE)
    assert outside == int((found.results.spots.resolution > 2.5).sum()) > 0
    assert dict(rows(found))["not counted"] == f"{outside} out of the resolution range (d_max 2.5 angstrom)"
    assert numbers(found)["n_spots_out_of_range"] == outside


def test_rejected_groups_are_those_that_other_settings_accept(
    made: Simulated, results: Path, hit: Account, tmp_path: Path
) -> None:
    found = explain(results, hit.image, picture=tmp_path / "a.png")
    assert found.again is not None
    rejected = found.again.rejected
    assert rejected.small > 0
    everything = {"min_pixels": 1, "spot_snr": 0.0}
    folder = sieve(made, tmp_path, index={"indexing": "off"}, verdict={"min_spots": 9}, spots=everything)
    accepted = explain(folder, hit.image, picture=False).results.n_spots[0]
    assert accepted == found.results.n_spots[0] + rejected.small + rejected.weak + rejected.large


def test_local_thresholds(made: Simulated, hit: Account, tmp_path: Path) -> None:
    folder = sieve(made, tmp_path, index={"indexing": "off"}, spots={"algorithm": "dispersion"})
    found = explain(folder, hit.image, picture=tmp_path / "local.png")
    assert found.again is not None
    assert not found.again.differs
    assert (tmp_path / "local.png").exists()


def test_another_image_than_the_recorded_one_is_told(
    made: Simulated, results: Path, hit: Account, tmp_path: Path
) -> None:
    settings = SimulateSettings(name="few", detector="test-256k", images=24, hit_fraction=0.4, seed=12)
    other = simulate(tmp_path / "other", settings)
    with h5py.File(made.master) as master, h5py.File(other.master, "r+") as file:
        file[MASK][...] = master[MASK][...]
    found = explain(results, hit.image, source=[other.master], picture=tmp_path / "other.png")
    assert found.again is not None
    assert "recorded" in found.again.differs
    assert rows(found)[0] == ("differs", found.again.differs)
    assert found.again.differs.endswith("another version, or another image")
    assert headline(found).startswith("recorded as hit: ")
