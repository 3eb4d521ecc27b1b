"""Ctrl-C, SIGTERM and SIGHUP in the middle of a run leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.conftest import HITSIEVE
from hitsieve.testing import Simulated

PATIENCE = 240
"""Longest time (s) that a test waits for what must come."""


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (signal.SIGINT, 130, "stopped by Ctrl-C"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 143, "stopped by SIGHUP"),
    ],
)
def test_interrupted_run(endless: list[str], tmp_path: Path, sent: signal.Signals, code: int, says: str) -> None:
    out = tmp_path / "out"
    command = [HITSIEVE, *endless, "-o", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (out.is_dir() and any(out.iterdir())):
            time.sleep(0.02)
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, stderr
    assert stderr.splitlines()[-1] == f"hitsieve: error: {says}; no partial output was left behind"
    assert stdout == ""
    assert not out.exists() or list(out.iterdir()) == []


STOP_AT_IMPORT = """
import os, signal, sys
wanted, sent = sys.argv.pop(1), []
def hook(event, args):
    if event == "import" and args[0] == wanted and not sent:
        sent.append(True)
        os.kill(os.getpid(), signal.{signal})
sys.addaudithook(hook)
from hitsieve.cli import main
main()
"""
"""The command, which gets a signal from outside of Python's own exceptions just when a module is first imported."""


@pytest.mark.parametrize("module", ["hitsieve.cli.commands", "cyclopts", "pydantic", "numpy", "h5py"])
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_stopped_while_it_starts(simulated: Simulated, tmp_path: Path, module: str, sent: str, code: int) -> None:
    program = STOP_AT_IMPORT.format(signal=sent)
    command = [sys.executable, "-c", program, module, "run", str(simulated.master), "-o", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("hitsieve: error: stopped by ")
    assert list(tmp_path.iterdir()) == []
