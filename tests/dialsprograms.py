"""The programs of DIALS as they are installed, forked from one Python that has imported them: a start costs seconds."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import hdf5plugin
import pytest

needs_dials = pytest.mark.skipif(shutil.which("dials.import") is None, reason="DIALS is not installed")

SERVE = """
import json, os, runpy, sys, traceback
import dials.algorithms.refinement.prediction.managed_predictors
import dials.command_line.dials_import, dials.command_line.find_spots, dials.command_line.show

def run(command):
    if command[0] == "-c":
        sys.argv = command[:1] + command[2:]
        exec(command[1], {"__name__": "__main__"})
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")

def ends(command):
    try:
        run(command)
    except SystemExit as done:
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in sys.stdin:
    folder, streams, command = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, path in enumerate(["/dev/null", *streams]):
            os.dup2(os.open(path, os.O_RDWR), number)
        os.chdir(folder)
        code = ends(command)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The Python that DIALS belongs to; one for all tests of a process."""
    python = Path(shutil.which("dials.import") or "").read_text().splitlines()[0].removeprefix("#!").strip()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"HDF5_PLUGIN_PATH": str(hdf5plugin.PLUGIN_PATH), "PATH": f"/usr/bin:{os.environ.get('PATH', '')}"}
    pipe = subprocess.PIPE
    server = subprocess.Popen([python, "-c", SERVE], env=environment, stdin=pipe, stdout=pipe, text=True)
    atexit.register(server.kill)
    return server


def dials(folder: Path, *command: str) -> str:
    """Run a program of DIALS, or with "-c" a script on its Python, in a folder; what it prints.

    Raises
    ------
    AssertionError
        It ends with another code than 0.
    """
    program = command[0] if command[0] == "-c" else shutil.which(command[0])
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as said:
        code = _answer((str(folder), [out.name, said.name], [program, *command[1:]]))
        printed = out.read()
        assert code == "0", f"{command}: {code}\n{printed}{said.read()}"
    return printed


def _answer(request: tuple[str, list[str], list[str | None]]) -> str:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    try:
        print(json.dumps(request), file=server.stdin, flush=True)
        return server.stdout.readline().strip()
    except BaseException:
        # Whoever asks next must not get the answer that nobody has waited for.
        server.kill()
        _server.cache_clear()
        raise
