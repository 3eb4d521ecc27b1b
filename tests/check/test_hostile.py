"""Whatever a file holds, the check ends with findings, and takes nothing with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitsieve.check import Checked, Finding, Guard, Severity, examine

from .damage import DETECTOR, found

SOME = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as one:
        yield one


@pytest.fixture(scope="module")
def paths(single: Path) -> list[str]:
    """All places of the good file."""
    places: list[str] = []
    with h5py.File(single) as file:
        file.visit(places.append)
    return places


def about_the_file(path: Path) -> Finding:
    (finding,) = examine(path).findings
    assert (finding.severity, finding.rule, finding.place) == (Severity.ERROR, "file", "/")
    return finding


def test_files_that_are_no_hdf5(tmp_path: Path, single: Path) -> None:
    for content, what in (
        (b"", "is empty"),
        (b"not HDF5", "is no HDF5 file"),
        (single.read_bytes()[:100], "truncated"),
    ):
        path = tmp_path / "file.h5"
        path.write_bytes(content)
        assert what in about_the_file(path).what
    path.write_bytes(single.read_bytes()[:-1000])
    assert "truncated" in about_the_file(path).what
    assert "is not there" in about_the_file(tmp_path / "none.h5").what
    os.mkfifo(tmp_path / "pipe.h5")
    assert "no regular file" in about_the_file(tmp_path / "pipe.h5").what


def test_a_file_whose_writer_was_killed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "open.h5", "w", libver="latest") as file:
        file["entry/definition"] = "NXmx"
        file.flush()
        shutil.copy(tmp_path / "open.h5", tmp_path / "left.h5")
    left = about_the_file(tmp_path / "left.h5")
    assert (left.what, left.mend[:23]) == ("is open for writing, or its writer crashed", "wait until it is closed")


@SOME
@given(data=st.data())
def test_damaged_bytes_crash_nothing(data: st.DataObject, single: Path, guard: Guard, tmp_path: Path) -> None:
    content = bytearray(single.read_bytes())
    # Most of the file is images; its structure lies at both ends.
    places = st.one_of(st.integers(0, 20_000), st.integers(len(content) - 40_000, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        at, size = data.draw(places), data.draw(st.integers(1, 64))
        content[at : at + size] = data.draw(st.binary(min_size=size, max_size=size))[: len(content) - at]
    path = tmp_path / "damaged.h5"
    path.write_bytes(content)
    checked = guard.examine(path)
    assert isinstance(checked, Checked)
    assert all(finding.what and finding.places for finding in checked.findings)


def empty(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, data=h5py.Empty("f8"))


def compound(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, data=np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]))


def references(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, data=np.array([group.ref], dtype=h5py.ref_dtype))


def ragged(group: h5py.Group, name: str) -> None:
    made = group.create_dataset(name, (2,), dtype=h5py.vlen_dtype(np.int32))
    made[0] = [1, 2, 3]


def vast(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, (1 << 40, 1 << 10), np.float64, chunks=(1, 1 << 10))


def long_text(group: h5py.Group, name: str) -> None:
    group[name] = "\x1b[31m" + "lysozyme\n" * 200_000


def broken_text(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, data=np.bytes_(b"\xff\xfe\x00lyso"))


def loop(group: h5py.Group, name: str) -> None:
    group[name] = group


def soft_loop(group: h5py.Group, name: str) -> None:
    group[name] = h5py.SoftLink(f"{group.name}/{name}")


def outside(group: h5py.Group, name: str) -> None:
    group[name] = h5py.ExternalLink("/dev/random", "/x")


def virtual(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((4, 8, 8), np.int32)
    layout[:] = h5py.VirtualSource("/dev/tty", "x", (4, 8, 8))
    group.create_virtual_dataset(name, layout)


def unsigned(group: h5py.Group, name: str) -> None:
    group[name] = np.full((2, 2), (1 << 64) - 1, dtype=np.uint64)


def infinite(group: h5py.Group, name: str) -> None:
    group[name] = np.array([np.inf, -np.inf, np.nan])


def named_type(group: h5py.Group, name: str) -> None:
    group[name] = np.dtype("f8")


THINGS = [
    empty, compound, references, ragged, vast, long_text, broken_text, loop, soft_loop, outside, virtual, unsigned,
    infinite, named_type,
]  # fmt: skip


@settings(SOME, max_examples=30)
@given(data=st.data())
def test_strange_things_in_any_place_raise_nothing(
    data: st.DataObject, single: Path, paths: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "strange.h5"
    shutil.copy(single, path)
    with h5py.File(path, "r+") as file:
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.sampled_from(paths))
            thing: Callable[[h5py.Group, str], None] = data.draw(st.sampled_from(THINGS))
            owner, _, name = place.rpartition("/")
            group = file.get(owner or "/")
            if isinstance(group, h5py.Group):
                if name in group:
                    del group[name]
                thing(group, name)
    for finding in examine(path).findings:
        assert finding.what.isprintable(), finding
        assert len(finding.what) < 2000


ATTRIBUTES: list[Any] = [
    h5py.Empty("f8"),
    "",
    "x" * 30_000,
    np.zeros((3, 3)),
    np.bytes_(b"\xff\xfe"),
    np.nan,
    np.uint8(7),
]


@SOME
@given(data=st.data())
def test_strange_attributes_raise_nothing(data: st.DataObject, single: Path, paths: list[str], tmp_path: Path) -> None:
    path = tmp_path / "strange.h5"
    shutil.copy(single, path)
    with h5py.File(path, "r+") as file:
        for _ in range(4):
            item = file[data.draw(st.sampled_from(paths))]
            names = st.sampled_from(
                ["NX_class", "units", "vector", "offset", "depends_on", "transformation_type", "signal"]
            )
            item.attrs[data.draw(names)] = data.draw(st.sampled_from(ATTRIBUTES))
    for finding in examine(path).findings:
        assert finding.what.isprintable(), finding


def test_a_text_from_a_file_is_told_without_its_control_characters(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        file[f"{DETECTOR}/distance"].attrs["units"] = "\x1b[31mm" * 1000
    (finding,) = examine(mine).findings
    assert finding.what.isprintable()
    assert len(finding.what) < 500


def test_many_groups_deep_in_each_other(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        group = file["entry"]
        for _ in range(300):
            group = group.create_group("deeper")
    assert found(mine) == set()


class _Killing(Guard):
    """A guard whose child dies on the word: nothing that a file holds does so for sure in every version of HDF5."""

    def kill(self, number: int) -> None:
        assert self._child is not None
        os.kill(self._child.pid, number)


def test_a_file_that_kills_the_library_is_told_and_the_next_is_checked(single: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def tick() -> None:
        if not killed and guard._child is not None:
            killed.append(guard._child.pid)
            guard.kill(signal.SIGSEGV)

    with _Killing(tick) as guard:
        checked = guard.examine(single)
        assert checked.findings[0].what == "the HDF5 library crashed on it (SIGSEGV)"
        assert guard.examine(single).findings == ()


def test_a_file_that_stops_the_library_is_given_up(single: Path) -> None:
    stopped: list[int] = []

    def tick() -> None:
        if not stopped and guard._child is not None:
            stopped.append(guard._child.pid)
            guard.kill(signal.SIGSTOP)

    with _Killing(tick, patience=0.5) as guard:
        assert "did not get on" in guard.examine(single).findings[0].what


def test_an_interruption_ends_the_child(single: Path) -> None:
    def tick() -> None:
        raise KeyboardInterrupt

    with Guard(tick) as guard:
        with pytest.raises(KeyboardInterrupt):
            guard.examine(single)
        child = guard._child
    assert child is not None
    assert child.poll() is not None


WAITING = """
import sys
from pathlib import Path
from hitsieve.check import Guard

with Guard(lambda: print(guard._child.pid, flush=True)) as guard:
    guard.examine(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_nothing_is_left_of_the_child_when_its_parent_is_killed(mine: Path) -> None:
    os.mkfifo(mine.with_name("pipe"))
    with h5py.File(mine, "r+") as file, h5py.File(mine.with_name("other.h5"), "w") as other:
        # HDF5 follows the second link, and waits for someone to write into the pipe.
        file["entry/there"] = h5py.ExternalLink("other.h5", "/link/x")
        other["link"] = h5py.ExternalLink("pipe", "/")
    with subprocess.Popen([sys.executable, "-c", WAITING, mine], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        # It has told its pid several times: the child waits.
        child = [int(parent.stdout.readline()) for _ in range(4)][-1]
        parent.kill()
    for _ in range(600):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child lives on")


def test_the_guard_finds_what_the_check_finds(mine: Path, guard: Guard) -> None:
    with h5py.File(mine, "r+") as file:
        del file["entry/sample/name"]
        file[f"{DETECTOR}/distance"].attrs["units"] = "K"
    assert guard.examine(mine) == examine(mine)
