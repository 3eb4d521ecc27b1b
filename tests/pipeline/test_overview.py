"""What the page of a run shows, against the table of the run, counted in plain Python."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import hitsieve
from hitsieve.errors import SettingsError
from hitsieve.model import State
from hitsieve.pipeline.view.along import MOST_BINS, Stretch, stretch
from hitsieve.pipeline.view.byfile import by_file
from hitsieve.pipeline.view.grid import Window, grid_of, recorded_grid, view_grid
from hitsieve.pipeline.view.overview import Overview, read_overview
from hitsieve.settings import RunSettings
from hitsieve.testing import Simulated
from hitsieve.write import Outputs, open_results

N = 150
COLUMNS = 15
"""The run is a grid of 15 columns and 10 rows, every other row backwards, by the positions in its master."""


def snake(image: int) -> tuple[int, int]:
    row, column = divmod(image, COLUMNS)
    return (COLUMNS - 1 - column if row % 2 else column), row


@pytest.fixture(scope="module")
def outputs(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """Of a time-resolved grid scan without its last file, and with an image that cannot be decoded."""
    folder = tmp_path_factory.mktemp("overview")
    for path in (simulated.master, *simulated.data_files[:-1]):
        shutil.copy(path, folder)
    with h5py.File(folder / simulated.data_files[0].name) as file:
        place = file["entry/data/data"].id.get_chunk_info(7)
    with (folder / simulated.data_files[0].name).open("r+b") as bytes_:
        bytes_.seek(place.byte_offset)
        bytes_.write(b"\xff" * 64)
    rng = np.random.default_rng(1)
    with h5py.File(folder / simulated.master.name, "a") as file:
        moves = file["entry/sample"].create_group("transformations")
        for name, axis in (("sam_x", 0), ("sam_y", 1)):
            steps = np.array([snake(image)[axis] for image in range(N)])
            moves[name] = 0.02 * steps + rng.normal(0, 3e-4, N)
            moves[name].attrs.update({"transformation_type": "translation", "units": "mm"})
    settings = RunSettings.model_validate({"write": {"output": folder / "out"}, "source": {"pump": "dark:1,light:2"}})
    return hitsieve.run(folder / simulated.master.name, settings=settings).outputs


@pytest.fixture(scope="module")
def overview(outputs: Outputs) -> Overview:
    with open_results(outputs.summary) as stored:
        return read_overview(stored)


@pytest.fixture(scope="module")
def rows(outputs: Outputs) -> list[dict]:
    return pq.read_table(outputs.images).to_pylist()


@pytest.mark.parametrize(
    ("first", "last", "bins"), [(0, N - 1, 500), (0, N - 1, 7), (0, N - 1, 1), (3, 3, 10), (2, 118, 9), (-5, 900, 4)]
)
def test_each_bin_counts_its_images(overview: Overview, rows: list[dict], first: int, last: int, bins: int) -> None:
    found = stretch(overview, first, last, bins)
    edges = found.edges.tolist()
    assert (edges[0], edges[-1] - 1) == (found.first, found.last) == (max(first, 0), min(last, N - 1))
    assert np.ptp(np.diff(edges)) <= 1
    assert len(edges) - 1 == min(bins, found.last + 1 - found.first)
    for k, (start, stop) in enumerate(pairwise(edges)):
        of = [row for row in rows if start <= row["image"] < stop]
        states = [row["state"] for row in of]
        hits = [row["image"] for row in of if row["state"] == "hit"]
        assert found.n_hits[k] == len(hits)
        assert found.n_misses[k] == states.count("miss")
        assert found.n_unreadable[k] == states.count("unreadable")
        assert found.n_missing[k] == states.count("missing")
        assert found.first_hit[k] == (hits[0] if hits else -1)
        assert found.most_spots[k] == max(
            -1 if row["n_spots_counted"] is None else row["n_spots_counted"] for row in of
        )
        levels = sorted(row["background"] for row in of if row["background"] is not None)
        low, middle, high = found.background[:, k].tolist()
        if not levels:
            assert np.isnan([low, middle, high, found.low[k], found.high[k]]).all()
        else:
            assert {low, middle, high} <= set(levels)
            assert sum(level < middle for level in levels) <= len(levels) / 2
            assert found.low[k] <= len(hits) / len(levels) <= found.high[k]


@pytest.mark.parametrize(("first", "last"), [(0, N - 1), (20, 77)])
def test_histograms_and_pump_states_count_all_images_once(
    overview: Overview, rows: list[dict], first: int, last: int
) -> None:
    found = stretch(overview, first, last)
    here = rows[first : last + 1]
    hits, misses = ([row for row in here if row["state"] == state] for state in ("hit", "miss"))
    assert found.spots.hits.sum() == len(hits)
    assert found.spots.misses is not None
    assert found.spots.misses.sum() == len(misses)
    for k, (low, high) in enumerate(zip(found.spots.edges[:-1], found.spots.edges[1:], strict=True)):
        assert found.spots.hits[k] == sum(low <= row["n_spots_counted"] < high for row in hits)
    assert found.resolution.hits.sum() == sum(row["resolution"] is not None for row in hits)
    cells = [lattice["cell"] for row in here for lattice in row["lattices"] or ()]
    assert found.n_lattices == len(cells) > 0
    for axis, shown in enumerate(found.cell):
        assert shown.hits.sum() == len(cells)
        middle = np.average((shown.edges[:-1] + shown.edges[1:]) / 2, weights=shown.hits)
        assert middle == pytest.approx(np.mean([cell[axis] for cell in cells]), rel=0.01)
    assert [state.name for state in found.pump] == ["dark", "light"]
    for state in found.pump:
        mine = [row for row in hits + misses if row["pump"] == state.name]
        assert state.n_searched.sum() == len(mine)
        assert state.n_hits.sum() == sum(row["state"] == "hit" for row in mine)


def test_files_add_up(overview: Overview, rows: list[dict]) -> None:
    files = by_file(overview)
    assert sum(file.n_images for file in files) == N
    for file in files:
        of = [row for row in rows if row["file"] is not None and Path(row["file"]).name == file.name]
        assert file.n_images == len(of)
        assert file.n_hits == sum(row["state"] == "hit" for row in of)
        assert file.n_unreadable == sum(row["state"] == "unreadable" for row in of)
        assert (file.hit_rate is None) == (file.n_missing == file.n_images)
    assert [file.n_missing for file in files] == [0, 0, 30]
    assert files[0].n_unreadable == 1


def test_grid_is_found_in_the_master_and_is_the_stated_one(overview: Overview, rows: list[dict]) -> None:
    found, stated = overview.grid, grid_of("15x10,snake", N)
    assert found is not None
    assert (found.columns, found.rows) == (stated.columns, stated.rows) == (COLUMNS, 10)
    assert found.column.tolist() == stated.column.tolist() == [snake(image)[0] for image in range(N)]
    assert found.row.tolist() == stated.row.tolist() == [snake(image)[1] for image in range(N)]
    seen = view_grid(overview, found, Window(2, 6, 1, 3))
    assert seen.n_hits.shape == (3, 5)
    for image, row in enumerate(rows):
        column, line = snake(image)
        if 2 <= column <= 6 and 1 <= line <= 3:
            at = (line - 1, column - 2)
            assert seen.image[at] == image
            assert seen.n_hits[at] == (row["state"] == "hit")
            assert seen.most_spots[at] == (-1 if row["n_spots_counted"] is None else row["n_spots_counted"])


def test_grid_that_is_large_is_seen_in_squares(overview: Overview) -> None:
    """Of a grid of a single row of 150, two columns share a square, which leads to a hit where it has one."""
    seen = view_grid(overview, grid_of("150x2", N))
    assert seen.n_images.tolist() == [[2] * 75, [0] * 75]
    assert seen.n_outside == 0
    for k, image in enumerate(seen.image[0].tolist()):
        pair = overview.state[2 * k : 2 * k + 2].tolist()
        assert image == 2 * k + (pair[0] != State.HIT and pair[1] == State.HIT)
    assert view_grid(overview, grid_of("10x5", N)).n_outside == 100


@pytest.mark.parametrize("text", ["", "10", "0x5", "10x", "x5", "10x5,zigzag", "-1x5", "999999x999999", "1e3x2", "٣x٣"])
def test_what_is_no_grid_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="write COLUMNSxROWS"):
        grid_of(text, N)


def test_what_is_no_stretch_is_refused(overview: Overview) -> None:
    for first, last, bins in ((5, 4, 10), (N, N + 5, 10), (0, 9, 0)):
        with pytest.raises(SettingsError):
            stretch(overview, first, last, bins)
    with pytest.raises(SettingsError, match="lie outside"):
        view_grid(overview, grid_of("15x10", N), Window(15, 20, 0, 3))


def test_nothing_is_too_long_for_an_answer(overview: Overview) -> None:
    found = stretch(overview, bins=10**9)
    assert isinstance(found, Stretch)
    assert len(found.n_hits) == N <= MOST_BINS


def test_positions_that_make_no_grid_are_none() -> None:
    rng = np.random.default_rng(0)
    for positions in ({}, {"x": rng.random(N)}, {"x": rng.random(N), "y": rng.random(N)}):
        assert recorded_grid(positions) is None
