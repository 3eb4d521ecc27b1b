"""Ctrl-C and SIGTERM in the middle of a run leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.conftest import HITSIEVE
from hitsieve.testing import Simulated

REPEATS = 500
"""Times that the small run is named: with the slow reference finder, far more than a test waits."""


@pytest.mark.parametrize(
    ("sent", "code", "says"), [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 143, "stopped by SIGTERM")]
)
def test_interrupted_run(simulated: Simulated, tmp_path: Path, sent: signal.Signals, code: int, says: str) -> None:
    out = tmp_path / "out"
    paths = [str(simulated.data_files[0])] * REPEATS
    command = [HITSIEVE, "run", *paths, "-o", str(out), "--algorithm", "dispersion", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (out.is_dir() and any(out.iterdir())):
            time.sleep(0.02)
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert stderr.splitlines()[-1] == f"hitsieve: error: {says}; no partial output was left behind"
    assert stdout == ""
    assert not out.exists() or list(out.iterdir()) == []
