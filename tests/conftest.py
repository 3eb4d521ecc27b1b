"""Fixtures and options that all tests share."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import calling
from calling import Hitsieve

PROJECT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long."""
    parser.addoption("--long", action="store_true", help="run the tests marked long too")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks, and keep the runs of tests out of the user's own catalogue."""
    # Shells have Ctrl-C ignored in the background, as nohup has SIGHUP; the commands that tests start would inherit it.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    os.environ["HITSIEVE_CATALOGUE"] = str(Path(tempfile.mkdtemp(prefix="hitsieve-tests-")) / "catalogue.sqlite")
    # How long an example takes says how busy the machine is.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
    config.addinivalue_line("markers", "long: takes more than some seconds; run with --long")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that catalogue."""
    shutil.rmtree(Path(os.environ["HITSIEVE_CATALOGUE"]).parent, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what lasts, or other workers would wait for it at the end; skip long tests unless asked for them."""
    items.sort(key=lambda item: item.get_closest_marker("lasting") is None)
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="long: run with --long"))


@pytest.fixture(autouse=True)
def _unset_log() -> None:
    """Commands set what is logged for the rest of their process; here the next test is in that rest."""
    logging.getLogger("hitsieve").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real test data."""
    path = Path(os.environ.get("HITSIEVE_DATA", PROJECT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no test data at {path}: set HITSIEVE_DATA to their folder")
    return path


@pytest.fixture(scope="session")
def hitsieve() -> Hitsieve:
    """Call hitsieve with arguments, in this process; text of both streams and the exit code."""
    return calling.hitsieve


@pytest.fixture(scope="session")
def process() -> Hitsieve:
    """As `hitsieve`, in a process of its own: where what is proven is how it starts, ends or is seen from outside."""
    return calling.process


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a size such as 512k; its folder. The test is skipped where nothing can be mounted."""
    disks: list[Path] = []

    def make(size: str) -> Path:
        disk = tmp_path / f"disk{len(disks) or ''}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
        disks.append(disk)
        return disk

    yield make
    for disk in disks:
        # Lazily: what a test left open must not fail it here.
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def small_disk(make_disk: Callable[[str], Path]) -> Path:
    """A file system of 512 KiB."""
    return make_disk("512k")
