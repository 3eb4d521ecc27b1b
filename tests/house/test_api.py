"""The Python API of the README."""

from __future__ import annotations

from pathlib import Path

import hitsieve
from hitsieve.model import Run
from hitsieve.testing import SimulateSettings, simulate


def test_three_lines(tmp_path: Path) -> None:
    made = simulate(tmp_path, SimulateSettings(name="api", detector="test-256k", images=20, hit_fraction=0.5))
    states = []
    settings = hitsieve.RunSettings(verdict=hitsieve.VerdictSettings(min_spots=12))
    report = hitsieve.run(str(made.master), output=tmp_path / "out", settings=settings, progress=states.append)
    assert report.summary.n_hits > 0
    assert report.summary.settings["verdict"]["min_spots"] == 12
    assert sorted(report.outputs) == sorted((tmp_path / "out").iterdir())
    assert (states[-1].done, states[-1].total) == (20, 20)
    assert hitsieve.verify(report.outputs.hits, made.master).ok
    with hitsieve.open_run([made.master]) as opened:
        assert len(opened.run) == 20


def test_several_paths_are_one_run(tmp_path: Path) -> None:
    made = simulate(tmp_path, SimulateSettings(name="api", detector="test-256k", images=6, images_per_file=3))
    lacking: list[str] = []
    out = tmp_path / "out"

    def opened(run: Run) -> None:
        assert not out.exists()
        lacking.extend(map(str, run.problems))

    report = hitsieve.run(made.data_files, output=out, opened=opened)
    assert any("wavelength" in problem for problem in lacking)
    assert set(lacking) <= {str(problem) for problem in report.problems}
    assert report.summary.n_images == 6
    assert any("wavelength" in str(problem) for problem in report.problems)
