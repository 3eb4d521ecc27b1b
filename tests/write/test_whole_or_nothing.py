"""Outputs appear together or not at all, and never over the input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from making import fetch, make_results, make_run, make_summary, opened, write_run

from hitsieve.errors import OutputError
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.source import OpenedRun
from hitsieve.write import Outputs, RunWriter

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


def _complete(source: OpenedRun, writer: RunWriter, settings: RunSettings) -> Outputs:
    for start in range(0, 24, 8):
        chosen = {i: source.stored(i) for i in HITS if start <= i < start + 8}
        writer.add(make_results(source.run, HITS, start, start + 8), chosen)
    return writer.finish(make_summary(source.run, settings, 3, 0), [])


def test_failing_rename_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, out, HITS)
        before = {path: path.read_bytes() for path in outputs}
        # The last output is a mount point, which cannot be renamed, unlike the three before it.
        mounted = subprocess.run(
            ["mount", "--bind", outputs.summary, outputs.summary], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"nothing can be mounted: {mounted.stderr.decode().strip()}")
        try:
            settings = _settings(out, overwrite=True)
            with pytest.raises(OutputError, match=r"test_summary\.json"), RunWriter(source.run, settings) as writer:
                _complete(source, writer, settings)
            assert {path: path.read_bytes() for path in out.iterdir()} == before
        finally:
            subprocess.run(["umount", outputs.summary], check=True)


@pytest.mark.parametrize("suffix", [".tmp", ".old"])
def test_files_of_others_are_left_alone(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "out"
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, out, HITS)
        mine = [path.with_name(path.name + suffix) for path in outputs]
        # What a run that was killed has left has the same pattern, and is not in the way.
        mine.append(out / f".test_hits.h5.0123abcd{suffix}")
        for path in mine:
            path.write_text("mine")
        write_run(source, out, [1], overwrite=True)
    assert all(path.read_text() == "mine" for path in mine)
    assert set(out.iterdir()) == {*outputs, *mine}


@pytest.mark.parametrize("overwrite", [False, True])
def test_output_that_came_to_be_meanwhile(tmp_path: Path, overwrite: bool) -> None:
    settings = _settings(tmp_path / "out", overwrite=overwrite)
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, settings) as writer:
        theirs = tmp_path / "out" / "test_annotated.h5"
        theirs.write_text("theirs")
        if overwrite:
            _complete(source, writer, settings)
        else:
            with pytest.raises(OutputError, match="output exists"):
                _complete(source, writer, settings)
    assert (theirs.read_bytes() == b"theirs") != overwrite
    assert len(list((tmp_path / "out").iterdir())) == (4 if overwrite else 1)


def test_folder_of_an_output_name_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out" / "test_hits.h5").mkdir(parents=True)
    with opened(make_run(tmp_path / "in", "vds")) as source, pytest.raises(OutputError, match="a folder has this name"):
        RunWriter(source.run, _settings(tmp_path / "out", overwrite=True))
    assert (tmp_path / "out" / "test_hits.h5").is_dir()


_STOP = """
import logging, os, signal, sys
from pathlib import Path
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.write import RunWriter
sys.path.insert(0, {here!r})
from making import make_results, make_summary, opened

def stop(event, args):
    # Ctrl-C at the {nth}-th rename.
    global renames
    if event == "os.rename":
        renames += 1
        if renames == {nth}:
            signal.raise_signal(signal.SIGINT)

renames = 0
settings = RunSettings(write=WriteSettings(output={out!r}))
with opened(Path({master!r})) as source, RunWriter(source.run, settings) as writer:
    writer.add(make_results(source.run, [], 0, 24), {{}})
    sys.addaudithook(stop)
    writer.finish(make_summary(source.run, settings, 0, 0), [])
"""


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_interruption_amid_the_renames_finds_all_outputs(tmp_path: Path, nth: int) -> None:
    master, out = make_run(tmp_path / "in", "vds"), tmp_path / "out"
    code = _STOP.format(here=str(Path(__file__).parent), nth=nth, out=str(out), master=str(master))
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in stopped.stderr
    assert len([path for path in out.iterdir() if not path.name.startswith(".")]) == 4
    assert len(list(out.iterdir())) == 4


def test_what_cannot_be_removed_afterwards_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "out"
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, out, HITS)
        settings = _settings(out, overwrite=True)
        with RunWriter(source.run, settings) as writer:
            # The replaced outputs vanish just before they are removed.
            armed = True

            def hinder(event: str, args: tuple[object, ...]) -> None:
                if armed and event == "os.remove" and str(args[0]).endswith(".old"):
                    Path(str(args[0])).rename(f"{args[0]}.moved")

            sys.addaudithook(hinder)
            _complete(source, writer, settings)
            armed = False
    assert "cannot be removed" in caplog.text
    assert {path for path in out.iterdir() if not path.name.endswith(".moved")} == set(outputs)


def test_batches_must_follow_and_be_complete(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source, RunWriter(source.run, _settings(tmp_path / "o")) as writer:
        with pytest.raises(ValueError, match="expected images from 0"):
            writer.add(make_results(source.run, HITS, 8, 16), {9: source.stored(9)})
        with pytest.raises(ValueError, match=r"\[2\]"):
            writer.add(make_results(source.run, HITS, 0, 8), {})
        with pytest.raises(ValueError, match="0 images added"):
            writer.finish(make_summary(source.run, RunSettings(), 0, 0), [])


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file", "a part of the path is a file, not a folder"),
        ("file/below", "a part of the path is a file, not a folder"),
        ("/proc/hitsieve", "a part of the path does not exist"),
        ("x" * 300, "the name is too long"),
    ],
)
def test_output_folder_that_cannot_be(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").touch()
    with opened(make_run(tmp_path / "in", "vds")) as source, pytest.raises(OutputError) as caught:
        RunWriter(source.run, _settings(tmp_path / place))
    assert str(caught.value).startswith(f"{tmp_path / place}: cannot be written: {why} (")
    assert "--output" in caught.value.mend
    assert "Errno" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with opened(make_run(tmp_path / "in", "vds")) as source, pytest.raises(OutputError, match="permission denied"):
        RunWriter(source.run, _settings(tmp_path / "out"))


@pytest.mark.parametrize("filled", [0, 400, 700, 900])
def test_no_space_left(tmp_path: Path, make_disk: Callable[[str], Path], filled: int) -> None:
    disk = make_disk("1m")
    (disk / "other").write_bytes(bytes(filled << 10))
    with opened(make_run(tmp_path / "in", "vds", n=600)) as source:
        everything = list(range(600))
        with pytest.raises(OutputError, match=r"no space left on device \(free some space"):
            write_run(source, disk / "out", everything, batch=64)
    assert sorted(path.name for path in disk.iterdir()) == ["other"]


def test_read_only_file_system(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "there").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with opened(make_run(tmp_path / "in", "vds")) as source:
        for out in (small_disk / "made", small_disk / "there"):
            with pytest.raises(OutputError, match=r"file system is read-only \(choose a folder on"):
                RunWriter(source.run, _settings(out))


def test_source_is_not_touched(tmp_path: Path) -> None:
    make_run(tmp_path / "in", "external")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "in").iterdir()}
    with opened(tmp_path / "in" / "test_master.h5") as source:
        write_run(source, tmp_path / "in", HITS)
        assert np.size(fetch(source, 0))
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
