"""Outputs appear together or not at all, and never over the input."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from making import fetch, make_results, make_run, make_summary, opened, write_run

from hitsieve.errors import OutputError
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.write import RunWriter

HITS = [2, 9, 17]


def _settings(output: Path, *, overwrite: bool = False) -> RunSettings:
    return RunSettings(write=WriteSettings(output=output, overwrite=overwrite))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_leaving_early_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "new" / "out"
    with opened(make_run(tmp_path / "in", "vds")) as source:
        with pytest.raises(error), RunWriter(source.run, _settings(out)) as writer:
            writer.add(make_results(source.run, HITS, 0, 8), {2: source.stored(2)})
            assert not list(out.glob("*.h5"))
            assert list(out.glob("*.tmp"))
            raise error
    assert not (tmp_path / "new").exists()


def test_leaving_without_finish_keeps_the_old_outputs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, out, HITS)
        before = {path: path.read_bytes() for path in outputs}
        with RunWriter(source.run, _settings(out, overwrite=True)):
            pass
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        write_run(source, out, [1], overwrite=True)
    assert outputs.hits.read_bytes() != before[outputs.hits]
    assert set(out.iterdir()) == set(outputs)


def test_existing_output_is_refused(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        (tmp_path / "test_summary.json").write_text("mine")
        with pytest.raises(OutputError, match=r"test_summary\.json: output exists \(give --overwrite"):
            RunWriter(source.run, _settings(tmp_path))
    assert (tmp_path / "test_summary.json").read_text() == "mine"
    assert not list(tmp_path.glob("*.tmp"))


def test_input_is_never_an_output(tmp_path: Path) -> None:
    master = make_run(tmp_path, "single")
    master = master.rename(tmp_path / "test_hits.h5")
    (tmp_path / "test.h5").symlink_to(master)
    before = master.read_bytes()
    with opened(tmp_path / "test.h5") as source:
        assert source.run.stem == "test"
        with pytest.raises(OutputError, match="is a file of the input"):
            RunWriter(source.run, _settings(tmp_path, overwrite=True))
    assert master.read_bytes() == before


def test_failing_rename_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(make_run(tmp_path / "in", "vds")) as source:
        with pytest.raises(OutputError, match=r"test_summary\.json"), RunWriter(source.run, _settings(out)) as writer:
            for start in range(0, 24, 8):
                chosen = {i: source.stored(i) for i in HITS if start <= i < start + 8}
                writer.add(make_results(source.run, HITS, start, start + 8), chosen)
            # A folder in the way of the last name lets the first three renames pass and the last one fail.
            (out / "test_summary.json").mkdir()
            (out / "test_summary.json.old").mkdir()
            (out / "test_summary.json.old" / "x").touch()
            writer.finish(make_summary(source.run, _settings(out), 3, 0), [])
    assert sorted(path.name for path in out.iterdir()) == ["test_summary.json", "test_summary.json.old"]


def test_batches_must_follow_and_be_complete(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, _settings(tmp_path / "o")) as writer:
        with pytest.raises(ValueError, match="expected images from 0"):
            writer.add(make_results(source.run, HITS, 8, 16), {9: source.stored(9)})
        with pytest.raises(ValueError, match=r"\[2\]"):
            writer.add(make_results(source.run, HITS, 0, 8), {})
        with pytest.raises(ValueError, match="0 images added"):
            writer.finish(make_summary(source.run, RunSettings(), 0, 0), [])


def test_output_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with opened(make_run(tmp_path / "in", "vds")) as source, pytest.raises(OutputError, match="--output"):
        RunWriter(source.run, _settings(tmp_path / "out"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with opened(make_run(tmp_path / "in", "vds")) as source, pytest.raises(OutputError, match="permission denied"):
        RunWriter(source.run, _settings(tmp_path / "out"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("filled", [0, 400, 700, 900])
def test_no_space_left(tmp_path: Path, small_disk: Path, filled: int) -> None:
    (small_disk / "other").write_bytes(bytes(filled << 10))
    with opened(make_run(tmp_path / "in", "vds", n=600)) as source:
        everything = list(range(600))
        with pytest.raises(OutputError, match=r"no space left on device \(free some space"):
            write_run(source, small_disk / "out", everything, batch=64)
    assert sorted(path.name for path in small_disk.iterdir()) == ["other"]


def test_read_only_file_system(tmp_path: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with opened(make_run(tmp_path / "in", "vds")) as source, pytest.raises(OutputError, match="read-only"):
        RunWriter(source.run, _settings(small_disk / "out"))


def test_source_is_not_touched(tmp_path: Path) -> None:
    make_run(tmp_path / "in", "external")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "in").iterdir()}
    with opened(tmp_path / "in" / "test_master.h5") as source:
        write_run(source, tmp_path / "in", HITS)
        assert np.size(fetch(source, 0))
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
