"""Lattices in the outputs, as h5py and pyarrow read them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import fetch, make_results, make_run, make_summary, opened, write_run

from hitsieve.model import ImageResults
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.write import CellSummary, HitRuleSummary, IndexSummary, Outputs, RunWriter

HITS = [2, 3, 9, 17, 23]
"""With 2, 0, 0, 2 and 2 lattices."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outputs, ImageResults]:
    folder = tmp_path_factory.mktemp("lattices")
    with opened(make_run(folder / "in", "vds")) as source:
        return write_run(source, folder / "out", HITS), make_results(source.run, HITS, 0, 24)


def test_every_image_and_every_hit_has_its_lattices(written: tuple[Outputs, ImageResults]) -> None:
    outputs, expected = written
    for path, which in ((outputs.annotated, list(range(24))), (outputs.hits, HITS)):
        with h5py.File(path) as handle:
            process = handle["entry/hit_finding"]
            assert np.array_equal(process["n_lattices"][()], expected.n_lattices[which])
            assert np.array_equal(process["n_indexed"][()], expected.n_indexed[which])
            found = process["lattices"]
            offsets = found["offsets"][()]
            assert len(offsets) == len(which) + 1
            assert len(found["reciprocal_basis"]) == offsets[-1] == 6
            for place, image in enumerate(which):
                rows, wanted = slice(offsets[place], offsets[place + 1]), expected.lattices_of(image)
                assert np.array_equal(found["reciprocal_basis"][rows], wanted.A)
                assert np.array_equal(found["unit_cell_abc"][rows], wanted.cell[:, :3])
                assert np.array_equal(found["unit_cell_alphabetagamma"][rows], wanted.cell[:, 3:])
                for name in ("n_indexed", "residual", "chance"):
                    assert np.array_equal(found[name][rows], getattr(wanted, name)), name
            assert found["reciprocal_basis"].attrs["units"] == found["residual"].attrs["units"] == "1/angstrom"
            assert found["unit_cell_alphabetagamma"].attrs["units"] == "degrees"
            assert found["reciprocal_basis"].shape == (6, 3, 3) and found["reciprocal_basis"].compression == "gzip"


def test_spots_say_which_lattice_is_theirs(written: tuple[Outputs, ImageResults]) -> None:
    outputs, expected = written
    with h5py.File(outputs.annotated) as handle:
        spots = handle["entry/hit_finding/spots"]
        assert (spots["lattice"].dtype, spots["l"].dtype) == (np.int8, np.int16)
        for name in ("lattice", "h", "k", "l"):
            assert np.array_equal(spots[name][()], getattr(expected.spots, name))
    with h5py.File(outputs.hits) as handle:
        peaks = handle["entry/MX"]
        for row, image in enumerate(HITS):
            wanted = expected.spots_of(image)
            n = len(wanted)
            assert np.array_equal(peaks["peakLattice"][row, :n], wanted.lattice)
            assert (peaks["peakLattice"][row, n:] == -1).all()
            for name in "hkl":
                found = peaks[f"peak{name.upper()}"]
                assert found.dtype == np.int16
                assert np.array_equal(found[row, :n], getattr(wanted, name))
                assert not found[row, n:].any()


def test_table_has_lists_of_lattices(written: tuple[Outputs, ImageResults]) -> None:
    outputs, expected = written
    table = pq.read_table(outputs.images)
    assert table.schema.metadata[b"schema_version"] == b"2.0"
    kind = table.schema.field("lattices").type
    assert pa.types.is_list(kind) and kind.value_type.names == ["A", "cell", "n_indexed", "residual", "chance"]
    assert table["n_lattices"].to_pylist() == expected.n_lattices.tolist()
    for image, lattices in enumerate(table["lattices"].to_pylist()):
        wanted = expected.lattices_of(image)
        assert len(lattices) == len(wanted)
        for place, lattice in enumerate(lattices):
            assert np.array_equal(np.reshape(lattice["A"], (3, 3)), wanted.A[place])
            assert np.array_equal(lattice["cell"], wanted.cell[place])
            assert lattice["n_indexed"] == wanted.n_indexed[place]
            assert (lattice["residual"], lattice["chance"]) == (wanted.residual[place], wanted.chance[place])


def test_what_was_not_indexed_is_null(tmp_path: Path) -> None:
    settings = RunSettings(write=WriteSettings(output=tmp_path / "out"))
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, settings) as writer:
        writer.add(make_results(source.run, [], 0, 24, {5: "flipped bits"}), {})
        outputs = writer.finish(make_summary(source.run, settings, 0, 0, 1), [])
    table = pq.read_table(outputs.images)
    for name in ("n_lattices", "n_indexed", "lattices"):
        assert [i for i, value in enumerate(table[name].to_pylist()) if value is None] == [5], name
    assert table["lattices"].to_pylist()[4] == []


def test_rule_and_cell_are_stated(tmp_path: Path) -> None:
    settings = RunSettings(write=WriteSettings(output=tmp_path / "out"))
    cell = CellSummary(parameters=(79.0, 79.0, 38.0, 90.0, 90.0, 90.0), centring="P", origin="set by the user")
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, settings) as writer:
        writer.add(make_results(source.run, HITS, 0, 24), {i: fetch(source, i) for i in HITS})
        index = IndexSummary(
            cell=cell,
            n_tried=5,
            n_indexed=3,
            indexing_rate=0.6,
            indexing_rate_interval=(0.2, 0.9),
            n_lattices=6,
            multi_lattice_fraction=1.0,
            cell_mean=None,
            cell_std=None,
            residual_median=None,
            spots_indexed_median=None,
        )
        rule = HitRuleSummary(rule="both", min_spots=5, origin="blanks")
        summary = make_summary(source.run, settings, 5, 0).model_copy(update={"index": index, "rule": rule})
        outputs = writer.finish(summary, [])
    for path in (outputs.hits, outputs.annotated):
        with h5py.File(path) as handle:
            process = handle["entry/hit_finding"]
            assert (process["rule"].asstr()[()], process["min_spots"][()]) == ("both", 5)
            assert process["unit_cell_abc"][()].tolist() == list(cell.parameters[:3])
            assert process["unit_cell_alphabetagamma"][()].tolist() == list(cell.parameters[3:])
            assert process["unit_cell_centring"].asstr()[()] == "P"
            assert process["unit_cell_origin"].asstr()[()] == "set by the user"
            assert process["indexing_rate"][()] == 0.6
            assert process["indexing_rate_interval"][()].tolist() == [0.2, 0.9]
            assert process["indexing_rate_interval"].attrs["confidence_level"] == 0.95


def test_rows_of_earlier_lattices_are_not_taken_for_images(tmp_path: Path) -> None:
    """Five lattices in a hit-only file of five images: they are carried whole, as their offsets are."""
    hits = [2, 5, 16, 9, 3]
    with opened(make_run(tmp_path / "in", "vds")) as source:
        expected = make_results(source.run, sorted(hits), 0, 24)
        assert int(expected.lattice_offsets[-1]) == 5
        first = write_run(source, tmp_path / "out", sorted(hits))
    with opened(first.hits) as source:
        second = write_run(source, tmp_path / "again", [1, 4])
    with h5py.File(second.hits) as handle:
        before = handle["entry/hit_finding_source"]
        assert before["source_image"].shape == (2,)
        assert before["lattices/reciprocal_basis"].shape == (5, 3, 3)
        assert before["lattices/offsets"].shape == (6,)
