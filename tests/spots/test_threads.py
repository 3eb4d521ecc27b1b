"""A system that has few threads to give, or none: the core makes do, or says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hitsieve.testing import SimulateSettings, simulate

PROGRAM = """
import os, resource, sys, threading
import numpy as np
from hitsieve._core import Comparison, SpotFinder
from hitsieve.errors import SettingsError
from hitsieve.settings import SpotSettings
from hitsieve.source import open_run
from hitsieve.spots import build_finder

ground = {"bins": np.zeros((4, 8), np.uint16), "valid": np.ones((4, 8), bool), "background_bins": np.ones(1, bool)}
search = SpotFinder(**ground, dtype="uint16", underload=0, saturation=None, error_value=None)
passed_over, zeros, none = np.full(400, -1, np.int32), np.zeros(400, np.int64), np.zeros(0, np.int64)

def scan():
    return search.scan([], [], passed_over, zeros, zeros, 9, 8)

def limit(threads):
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, resource.getrlimit(resource.RLIMIT_NPROC)[1]))

def refused(call):
    try:
        call()
    except (OSError, SettingsError) as error:
        return str(error)

run = open_run([sys.argv[1]]).run
finder = build_finder(run, SpotSettings())
finder.set_up()

root = os.geteuid() == 0
if root:
    # Limits do not hold for root. Nobody else is this user: only the threads of this process count.
    try:
        os.setuid(2_000_000_000 + os.getpid())
    except OSError:
        # Root of a container may have no other user to be.
        sys.exit(print("unlimited"))
limit(0)
try:
    threading.Thread(target=int).start()
except RuntimeError:
    print(refused(scan))
    print(refused(lambda: finder.scan(run, np.zeros(1, np.int64), 9, 8)))
    print(refused(lambda: Comparison(os.devnull, none, none, [], none.astype(np.int32), none)))
    if root:
        limit(len(os.listdir("/proc/self/task")) + 2)
        print(sum(map(len, scan())))
else:
    print("unlimited")
"""


def test_threads_that_the_system_does_not_give(tmp_path: Path) -> None:
    master = simulate(tmp_path, SimulateSettings(detector="test-256k", images=1)).master
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, master], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("unlimited"):
        pytest.skip("this user may have as many threads as he likes")
    none, no_search, no_comparison, *few = done.stdout.splitlines()
    assert none.startswith("the system has no thread to give: ")
    assert no_search.startswith(none) and "ulimit -u" in no_search
    assert no_comparison == none
    # Two threads do what nine were asked to.
    assert few in ([], ["400"])
