"""Images of an unknown crystal agree on its conventional cell, where there is one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hitsieve.index import CellIndexer, find_cell, find_cells
from hitsieve.model import CellParameters
from hitsieve.settings import IndexSettings
from hitsieve.testing.lists import real_list
from hitsieve.testing.stills import Crystal, Floats, spurious, still

KINDS = {
    "aP": Crystal((45, 60, 75, 80, 95, 105)),
    "mP": Crystal((50, 70, 90, 90, 105, 90)),
    "mP near oP": Crystal((50, 70, 90, 90, 91.3, 90)),
    "mC": Crystal((100, 60, 80, 90, 104, 90), "C"),
    "oP": Crystal((61, 83, 99, 90, 90, 90)),
    "oC": Crystal((61.4, 122.6, 168, 90, 90, 90), "C"),
    "oI": Crystal((80, 90, 100, 90, 90, 90), "I"),
    "oF": Crystal((80, 110, 140, 90, 90, 90), "F"),
    "tP": Crystal((79, 79, 38, 90, 90, 90)),
    "tI": Crystal((98, 98, 61, 90, 90, 90), "I"),
    "hP": Crystal((93, 93, 130, 90, 90, 120)),
    "hR": Crystal((90, 90, 140, 90, 90, 120), "R"),
    "cP": Crystal((96.4, 96.4, 96.4, 90, 90, 90)),
    "cI": Crystal((104.9, 104.9, 104.9, 90, 90, 90), "I"),
    "cF": Crystal((120, 120, 120, 90, 90, 90), "F"),
}


def hits(crystal: Crystal, n: int, seed: int = 1) -> list[Floats]:
    """Spots of n images: 20 to 100, of which 10 to 30 % are spurious."""
    random = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        spots, share = int(random.integers(20, 101)), random.uniform(0.1, 0.3)
        _, q = still(random, crystal, round(spots * (1 - share)))
        out.append(random.permutation(np.vstack([q, spurious(random, spots - len(q))])))
    return out


def reduced(cell: CellParameters) -> CellParameters:
    """Angles all of a kind, as reduced triclinic cells have them."""
    a, b, c, alpha, beta, gamma = cell
    return a, b, c, 90 - abs(90 - alpha), 90 - abs(90 - beta), 90 - abs(90 - gamma)


@pytest.mark.parametrize("n", [12, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_conventional_cell_of_simulated_hits(kind: str, n: int) -> None:
    """Within 1 % and 1 degree, of the right type and centring."""
    crystal = KINDS[kind]
    with ThreadPoolExecutor(2) as pool:
        found = find_cell(hits(crystal, n), map=pool.map)
    assert found is not None and found.believed
    assert found.bravais.type == kind[:2] and found.cell.centring == crystal.centring
    cell, wanted = found.cell.parameters, crystal.cell
    if kind == "aP":
        cell, wanted = reduced(cell), reduced(wanted)
    assert cell[:3] == pytest.approx(wanted[:3], rel=0.01)
    assert cell[3:] == pytest.approx(wanted[3:], abs=1)
    assert len(found.images) >= 0.9 * n and found.n_tried == n
    assert f"{len(found.images)} of {n} images" in found.cell.origin
    assert np.mean(found.parameters, axis=0)[:3] == pytest.approx(found.cell.parameters[:3], rel=0.01)
    CellIndexer(found.cell.parameters, found.cell.centring)


def test_same_in_threads_and_alone() -> None:
    spots = hits(KINDS["tP"], 12)
    with ThreadPoolExecutor(2) as pool:
        one, other = find_cell(spots), find_cell(spots, map=pool.map)
    assert one is not None and other is not None
    assert one.cell == other.cell and one.images.tolist() == other.images.tolist()


def test_two_crystals_are_two_groups() -> None:
    spots = [*hits(KINDS["tP"], 14), *hits(KINDS["oP"], 7, seed=2)]
    groups = find_cells(spots)
    assert [group.bravais.type for group in groups[:2]] == ["tP", "oP"]
    assert set(groups[0].images.tolist()) <= set(range(14))
    assert set(groups[1].images.tolist()) <= set(range(14, 21))
    assert groups[0].believed


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_images_are_not_believed(n: int) -> None:
    spots = hits(KINDS["tP"], n)
    assert find_cell(spots) is None
    assert [group.believed for group in find_cells(spots)] == [False] * (n > 1)


def test_noise_has_no_cell() -> None:
    random = np.random.default_rng(5)
    assert find_cells([spurious(random, 40) for _ in range(30)]) == ()
    assert find_cells([np.empty((0, 3)), np.full((20, 3), np.nan)]) == ()


def test_a_minority_is_not_believed() -> None:
    """5 images of one crystal among 21 that are all of others."""
    random = np.random.default_rng(6)
    spots = hits(KINDS["tP"], 5)
    for i in range(21):
        cell = tuple(float(x) for x in (*random.uniform(30, 60, 3), *random.uniform(92, 105, 3)))
        spots += hits(Crystal(cell), 1, seed=i)  # type: ignore[arg-type]
    assert find_cell(spots) is None
    assert find_cells(spots)[0].bravais.type == "tP"


def test_search_takes_its_limits_from_the_settings() -> None:
    spots = hits(KINDS["tP"], 8)
    short = find_cell(spots, IndexSettings(max_length=60))
    assert short is None or short.primitive[2] <= 66
    assert find_cell(spots, IndexSettings(min_indexed=90)) is None


@pytest.mark.parametrize(
    ("name", "kind", "cell", "least"),
    [
        ("lysozyme_cspad_ld91", "tP", (79.1, 79.1, 38.1, 90, 90, 90), 36),
        ("5ht2b_cspad_crystfel", "oC", (61.4, 122.6, 168, 90, 90, 90), 8),
        ("cpv17_wedges", "cI", (104.9, 104.9, 104.9, 90, 90, 90), 12),
        ("thaumatin_i24", "tP", (58, 58, 150.3, 90, 90, 90), 8),
    ],
)
def test_measured_spots(data_dir: Path, name: str, kind: str, cell: tuple[float, ...], least: int) -> None:
    _, spots = real_list(data_dir, name, name)
    most = sorted((q for q in spots.values() if len(q) >= 15), key=len, reverse=True)[:40]
    with ThreadPoolExecutor(2) as pool:
        found = find_cell(most, map=pool.map)
    assert found is not None and found.bravais.type == kind
    assert len(found.images) >= least
    assert found.cell.parameters[:3] == pytest.approx(cell[:3], rel=0.025)
    assert found.cell.parameters[3:] == pytest.approx(cell[3:], abs=0.01)
