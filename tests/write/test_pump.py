"""Pump states in the outputs, and a hit-only file for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import nxmx
import pyarrow.parquet as pq
import pytest
from making import PACKINGS, images, make_pump, make_results, make_run, opened, write_run

from hitsieve.errors import OutputError, SettingsError
from hitsieve.model import PumpStates
from hitsieve.pipeline.verify import verify
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.source import OpenedRun
from hitsieve.write import Outputs, RunWriter, open_results

HITS = [1, 2, 3, 9, 17, 23]
DARK, LIGHT = [3, 9], [2, 17, 23]


def pumped(path: Path, pump: PumpStates | None = None) -> OpenedRun:
    source = opened(path)
    source.run = replace(source.run, pump=pump or make_pump(len(source.run)))
    return source


def test_states_are_in_all_outputs(tmp_path: Path) -> None:
    with pumped(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    pump = make_pump(24)
    assert outputs.pump_hits == ()
    for path, which in ((outputs.hits, HITS), (outputs.annotated, list(range(24)))):
        with h5py.File(path) as handle:
            process = handle["entry/hit_finding"]
            assert process["pump"].dtype == np.int16
            assert process["pump"][()].tolist() == pump.code[which].tolist()
            assert process["pump_names"].asstr()[()].tolist() == ["dark", "light 1ms"]
            assert process["pump_origin"].asstr()[()] == "pattern"
    table = pq.read_table(outputs.images)
    named = ["dark" if i % 3 == 0 else None if i == 1 else "light 1ms" for i in range(24)]
    assert table["pump"].to_pylist() == named


def test_runs_without_states_say_nothing_of_them(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    for path in (outputs.hits, outputs.annotated):
        with h5py.File(path) as handle:
            assert not [name for name in handle["entry/hit_finding"] if name.startswith("pump")]
    assert pq.read_table(outputs.images)["pump"].null_count == 24
    with open_results(outputs.summary) as stored:
        assert stored.pump is None
        assert (stored.column("pump") == -1).all()


@pytest.mark.parametrize("packing", ["bslz4", "gzip"])
def test_each_state_has_its_hits(tmp_path: Path, packing: str) -> None:
    assert packing in PACKINGS
    master = make_run(tmp_path / "in", "external", packing)
    with pumped(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS, split_pump=True)
        every = make_results(source.run, HITS, 0, 24)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in outputs)
    assert [path.name for path in outputs.pump_hits] == ["test_dark_hits.h5", "test_light-1ms_hits.h5"]
    for path, name, hits in zip(outputs.pump_hits, ("dark", "light 1ms"), (DARK, LIGHT), strict=True):
        with h5py.File(path) as handle, h5py.File(outputs.hits) as main:
            process, whole = handle["entry/hit_finding"], main["entry/hit_finding"]
            rows = [HITS.index(hit) for hit in hits]
            assert np.array_equal(handle["entry/data/data"][()], images(24)[hits])
            assert (handle["entry/xfel/pulse_id"][()] - 10**12).tolist() == hits
            assert process["source_image"][()].tolist() == hits
            assert process["pump_state"].asstr()[()] == name
            assert "audit" not in process
            for column in ("state", "n_spots", "n_lattices", "pump", "sha256"):
                assert np.array_equal(process[column][()], whole[column][()][rows])
            states = [process[f"n_{kind}"][()] for kind in ("hits", "misses", "unreadable", "missing")]
            assert states == [len(hits), (8 if name == "dark" else 15) - len(hits), 0, 0]
            assert process["n_images"][()] == sum(states)
            for place, hit in enumerate(hits):
                spots = every.spots_of(hit)
                assert np.array_equal(handle["entry/MX/peakXPosRaw"][place, : len(spots)], spots.x - 0.5)
                assert np.array_equal(handle["entry/MX/peakL"][place, : len(spots)], spots.l)
            found = process["lattices"]
            first, last = found["offsets"][0], found["offsets"][1]
            assert np.array_equal(found["reciprocal_basis"][first:last], every.lattices_of(hits[0]).A)
            (entry,) = nxmx.NXmx(handle).entries
            assert entry.samples[0].name == "lysozyme"
            assert len(entry.instruments[0].beams[0].incident_wavelength) == len(hits)
        report = verify(path, master)
        assert report.ok and (report.n_hits, report.n_audit) == (len(hits), 0)
    with open_results(outputs.pump_hits[1]) as stored:
        assert stored.outputs.summary == outputs.summary


def test_state_without_hits_has_an_empty_file(tmp_path: Path) -> None:
    with pumped(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", LIGHT, split_pump=True)
    with h5py.File(outputs.pump_hits[0]) as handle:
        assert handle["entry/data/data"].shape == (0, 48, 64)
    assert verify(outputs.pump_hits[0]).ok


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (None, "no state is known"),
        (("light 1", "light/1"), "'light 1' and 'light/1' would both be written to test_light-1_hits.h5"),
        (tuple(map(str, range(65))), "65 pump states are too many"),
    ],
)
def test_files_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, names: tuple[str, ...] | None, why: str
) -> None:
    settings = RunSettings(write=WriteSettings(output=tmp_path / "out", split_pump=True))
    with opened(make_run(tmp_path / "in", "vds")) as source:
        pump = None if names is None else PumpStates(names, np.zeros(24, np.int16), "pattern")
        with pytest.raises(SettingsError, match=why):
            RunWriter(replace(source.run, pump=pump), settings)
    assert not (tmp_path / "out").exists()


def test_all_or_none_also_with_states(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "test_dark_hits.h5").write_bytes(b"mine")
    with pumped(make_run(tmp_path / "in", "vds")) as source:
        with pytest.raises(OutputError, match=r"test_dark_hits\.h5: output exists"):
            write_run(source, tmp_path / "out", HITS, split_pump=True)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["test_dark_hits.h5"]
        outputs = write_run(source, tmp_path / "out", HITS, split_pump=True, overwrite=True)
    assert len(list((tmp_path / "out").iterdir())) == 6
    assert verify(outputs.pump_hits[0]).ok


def test_names_of_states_are_plain(tmp_path: Path) -> None:
    outputs = Outputs.of(tmp_path, "run", ["a b", "../x", "+-", "1.5e-6", "/"])
    names = [path.name for path in outputs.pump_hits]
    assert names == ["run_a-b_hits.h5", "run_x_hits.h5", "run_+_hits.h5", "run_1.5e-6_hits.h5", "run_state_hits.h5"]
    assert {path.parent for path in outputs} == {tmp_path}
