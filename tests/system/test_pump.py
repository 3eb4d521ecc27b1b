"""A time-resolved run: the ways to label its images, what the outputs then hold, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import nxmx
import pyarrow.parquet as pq
import pytest

from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import Summary

from .conftest import Hitsieve

N = 120
SETTINGS = {
    "name": "tr",
    "detector": "test-256k",
    "images": N,
    "images_per_file": 30,
    "hit_fraction": 0.4,
    "seed": 8,
    "pump": "dark:1,light:3",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run whose data files hold the event code of each image."""
    return simulate(tmp_path_factory.mktemp("tr"), SimulateSettings.model_validate(SETTINGS))


def true_states(run: Simulated) -> list[str]:
    states = [str(state) for state in pq.read_table(run.truth)["pump"].to_pylist()]
    assert states[:5] == ["dark", "light", "light", "light", "dark"]
    return states


def by_pattern(run: Simulated, folder: Path) -> list[str | Path]:
    return ["--pump", "dark:1,light:3"]


def by_dataset(run: Simulated, folder: Path) -> list[str | Path]:
    return ["--pump-dataset", "/entry/xfel/eventCode"]


def by_image(run: Simulated, folder: Path) -> list[str | Path]:
    lines = [f"{image},{state}\n" for image, state in enumerate(true_states(run))]
    (folder / "images.csv").write_text("image,state\n" + "".join(reversed(lines[1:])) + lines[0])
    return ["--pump-csv", folder / "images.csv"]


def by_line(run: Simulated, folder: Path) -> list[str | Path]:
    (folder / "lines.csv").write_text("\n".join(["state", *true_states(run)]) + "\n")
    return ["--pump-csv", folder / "lines.csv"]


def summary_of(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "tr_summary.json").read_text())


def recorded(path: Path) -> list[str]:
    """Names of the states in an HDF5 output."""
    with h5py.File(path) as file:
        process = file["entry/hit_finding"]
        names = process["pump_names"].asstr()[()]
        return [str(names[code]) if code >= 0 else "" for code in process["pump"][()]]


@pytest.mark.parametrize("label", [by_pattern, by_dataset, by_image, by_line])
def test_every_way_to_label(
    run: Simulated, tmp_path: Path, hitsieve: Hitsieve, label: Callable[[Simulated, Path], list[str | Path]]
) -> None:
    done = hitsieve("run", run.master, "-o", tmp_path / "out", "--split-pump", *label(run, tmp_path))
    assert done.returncode == 0, done.stderr
    renamed = {"dark": "eventCode=0", "light": "eventCode=1"} if label is by_dataset else {}
    states = [renamed.get(state, state) for state in true_states(run)]
    out = tmp_path / "out"

    table = pq.read_table(out / "tr_images.parquet")
    assert table["pump"].to_pylist() == states
    hits = [i for i, state in enumerate(table["state"].to_pylist()) if state == "hit"]
    assert len(hits) > 20
    assert recorded(out / "tr_annotated.h5") == states
    assert recorded(out / "tr_hits.h5") == [states[i] for i in hits]

    summary = summary_of(out)
    assert summary.pump is not None and summary.pump.n_unknown == 0
    assert {"--pump", "--pump-dataset", "--pump-csv"} & {summary.pump.origin.rpartition("(")[2].rstrip(")")}
    assert {state.name for state in summary.pump.states} == set(states)
    for state in summary.pump.states:
        mine = [i for i in hits if states[i] == state.name]
        assert (state.n_images, state.n_hits) == (states.count(state.name), len(mine))
        assert state.n_hits + state.n_misses == state.n_images
        assert state.hit_rate == pytest.approx(state.n_hits / state.n_images)
        n_spots = np.array(table["n_spots"].to_pylist())
        assert state.n_spots_median_hits == np.median(n_spots[mine])
        indexed = np.array(table["n_lattices"].to_pylist())[mine] > 0
        assert state.n_indexed == indexed.sum()
        assert state.hits_file is not None
        check_split(out / state.hits_file, out / "tr_hits.h5", mine)
    # Simulated states are alike, and the jet is steady.
    assert not any(test.differs for test in summary.bias)
    assert ("hit rate", "pump state") in {(test.quantity, test.across) for test in summary.bias}


def check_split(path: Path, all_hits: Path, images: list[int]) -> None:
    """A split file is a hit-only file of these images, chunk by chunk those of the file of all hits."""
    with h5py.File(path) as file, h5py.File(all_hits) as whole:
        assert file["entry/hit_finding/source_image"][()].tolist() == images
        rows = [whole["entry/hit_finding/source_image"][()].tolist().index(image) for image in images]
        data, all_data = file["entry/data/data"], whole["entry/data/data"]
        assert data.shape[0] == len(images)
        for row, other in enumerate(rows):
            assert data.id.read_direct_chunk((row, 0, 0)) == all_data.id.read_direct_chunk((other, 0, 0))
        codes = file["entry/xfel/eventCode"][()]
        assert codes.tolist() == whole["entry/xfel/eventCode"][()][rows].tolist()
        assert len(set(codes.tolist())) == 1
        (entry,) = nxmx.NXmx(file).entries
        detector = entry.instruments[0].detectors[0]
        assert entry.data[0]["data"].shape[1:] == tuple(int(n) for n in detector.modules[0].data_size)


def test_outputs_tell_their_states_when_they_are_searched_again(
    run: Simulated, tmp_path: Path, hitsieve: Hitsieve
) -> None:
    assert hitsieve("run", run.master, "-o", tmp_path / "one", "--pump", "dark:1,light:3").returncode == 0
    for name in ("tr_annotated", "tr_hits"):
        again = hitsieve("run", tmp_path / "one" / f"{name}.h5", "-o", tmp_path / name)
        assert again.returncode == 0, again.stderr
        table = pq.read_table(tmp_path / name / f"{name}_images.parquet")
        assert table["pump"].to_pylist() == recorded(tmp_path / "one" / f"{name}.h5")
    refused = hitsieve("run", tmp_path / "one" / "tr_hits.h5", "-o", tmp_path / "no", "--pump", "dark:1,light:3")
    assert refused.returncode == 3
    assert "its images do not follow one another" in refused.stderr
    assert not (tmp_path / "no").exists()


def test_states_of_a_run_with_a_lost_file(tmp_path: Path, hitsieve: Hitsieve) -> None:
    lost = simulate(tmp_path / "in", SimulateSettings.model_validate({**SETTINGS, "images": 60, "images_per_file": 15}))
    lost.data_files[1].unlink()
    for flags in (["--pump", "dark:1,light:3"], ["--pump-dataset", "/entry/xfel/eventCode"]):
        out = tmp_path / flags[0].strip("-")
        done = hitsieve("run", lost.master, "-o", out, *flags)
        assert done.returncode == 0, done.stderr
        summary = summary_of(out)
        assert summary.n_missing == 15
        assert summary.pump is not None
        assert [state.n_images for state in summary.pump.states] == [15, 45]
        assert [s.n_images - s.n_hits - s.n_misses for s in summary.pump.states] == [4, 11]


def test_pattern_along_pulses_of_a_run_with_gaps(tmp_path: Path, hitsieve: Hitsieve) -> None:
    """Frames were dropped here and there, and a data file is lost; flags and a settings file say the same."""
    gappy = simulate(
        tmp_path / "in", SimulateSettings.model_validate({**SETTINGS, "images": 60, "images_per_file": 15})
    )
    place = np.flatnonzero(np.arange(70) % 7 != 5)
    for number, path in enumerate(gappy.data_files):
        with h5py.File(path, "a") as file:
            file["entry/pulse_id"] = 5000 + 2 * place[15 * number : 15 * number + 15]
    gappy.data_files[1].unlink()
    wanted = ["dark" if p % 4 == 0 else "light" for p in place.tolist()]
    wanted[15:30] = [""] * 15
    (tmp_path / "tr.toml").write_text('[source]\npump = "dark:1,light:3"\npump_dataset = "/entry/pulse_id"\n')
    flags = ["--pump", "dark:1,light:3", "--pump-dataset", "/entry/pulse_id"]
    for name, given in (("flags", flags), ("file", ["--config", tmp_path / "tr.toml"])):
        done = hitsieve("run", gappy.master, "-o", tmp_path / name, *given)
        assert done.returncode == 0, done.stderr
        assert "the pump state of 15 of 60 images is unknown" in done.stderr
        assert recorded(tmp_path / name / "tr_annotated.h5") == wanted
        pump = summary_of(tmp_path / name).pump
        assert pump is not None
        assert pump.origin.startswith("pattern dark:1,light:3 along /entry/pulse_id, from 5000 in steps of 2 (")


def test_settings_file_labels_as_flags_do(run: Simulated, tmp_path: Path, hitsieve: Hitsieve) -> None:
    _, path = by_line(run, tmp_path)
    (tmp_path / "tr.toml").write_text(f'[source]\npump_csv = "{path}"\n\n[write]\nsplit_pump = true\n')
    done = hitsieve("run", run.master, "-o", tmp_path / "out", "--config", tmp_path / "tr.toml")
    assert done.returncode == 0, done.stderr
    assert recorded(tmp_path / "out" / "tr_annotated.h5") == true_states(run)
    summary = summary_of(tmp_path / "out")
    assert summary.pump is not None and all(state.hits_file for state in summary.pump.states)
    assert summary.pump.origin == f"CSV file {path} (--pump-csv)"


def test_images_that_a_csv_does_not_name_are_unknown(run: Simulated, tmp_path: Path, hitsieve: Hitsieve) -> None:
    (tmp_path / "some.csv").write_text("image,state\n3,on\n7,off\n")
    done = hitsieve("run", run.master, "-o", tmp_path / "out", "--pump-csv", tmp_path / "some.csv")
    assert done.returncode == 0
    assert f"the pump state of {N - 2} of {N} images is unknown" in done.stderr
    summary = summary_of(tmp_path / "out")
    assert summary.pump is not None and summary.pump.n_unknown == N - 2
    assert summary.bias[0].p is None
    assert summary.bias[0].statement.startswith("not tested whether the hit rate differs between pump states: ")
    table = pq.read_table(tmp_path / "out" / "tr_images.parquet")
    assert table["pump"].null_count == N - 2
    assert table["pump"].to_pylist()[3:8] == ["on", None, None, None, "off"]


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (["--pump", "dark"], 2, "--pump: pump pattern 'dark' is not NAME:IMAGES,NAME:IMAGES..."),
        (["--pump", "dark:1,light:0"], 2, "--pump: pump pattern 'dark:1,light:0' is not NAME:IMAGES"),
        (["--pump", "dark:1", "--pump-csv", "short.csv"], 2, "pump and pump_csv exclude each other: give one"),
        (
            ["--pump-dataset", "/entry/laser_on"],
            3,
            "tr_master.h5: has no dataset /entry/laser_on, nor has its data file",
        ),
        (["--pump-dataset", "/entry/instrument/beam/incident_beam_size"], 3, "it is not one value an image"),
        (["--pump-dataset", "/entry/detector/timestamp"], 3, "this is no pump state"),
        (["--pump-csv", "short.csv"], 3, "short.csv: has 3 states, one a line, and the run has 120 images"),
        (
            ["--pump-csv", "bad.csv"],
            3,
            "bad.csv: line 3: no such image, the run has 120, counted from 0; line 4: no state",
        ),
        (["--pump-csv", "none.csv"], 3, "none.csv: there is no such file"),
    ],
)
def test_bad_labels(run: Simulated, tmp_path: Path, hitsieve: Hitsieve, flags: list[str], code: int, told: str) -> None:
    (tmp_path / "short.csv").write_text("state\ndark\nlight\nlight\n")
    (tmp_path / "bad.csv").write_text("image,state\n0,dark\n120,light\n2,\n")
    flags = [str(tmp_path / flag) if flag.endswith(".csv") else flag for flag in flags]
    done = hitsieve("run", run.master, "-o", tmp_path / "out", *flags)
    assert done.returncode == code
    assert done.stderr.startswith("hitsieve: error: ") and done.stderr.count("\n") == 1
    assert told in done.stderr
    assert not (tmp_path / "out").exists()
