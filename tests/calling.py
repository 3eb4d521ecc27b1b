"""The command as a user calls it: in a process of its own, or in this one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from hitsieve.cli.commands import call

Result = subprocess.CompletedProcess[str]
Hitsieve = Callable[..., Result]

HITSIEVE = str(Path(sys.executable).with_name("hitsieve"))


def process(*arguments: str | Path | int, cwd: Path | None = None) -> Result:
    """Call hitsieve with arguments, in a process of its own; text of both streams and the exit code."""
    command = [HITSIEVE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=200, check=False)


def hitsieve(*arguments: str | Path | int, cwd: Path | None = None) -> Result:
    """As `process`, in this one: to start costs more than what most tests ask for.

    What libraries and children write past Python is heard too.
    """
    with ExitStack() as stack:
        out, said = (stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2))
        for number, file in ((1, out), (2, said)):
            stack.enter_context(_descriptor(number, file))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(said))
        stack.enter_context(_own_log())
        if cwd is not None:
            stack.callback(os.chdir, Path.cwd())
            os.chdir(cwd)
        code = call(list(map(str, arguments)))
        return Result(arguments, code, _text(out), _text(said))


def _text(file: TextIO) -> str:
    file.flush()
    file.seek(0)
    return file.read()


@contextmanager
def _descriptor(number: int, file: TextIO) -> Iterator[None]:
    """What is written to a descriptor goes to a file."""
    before = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)


@contextmanager
def _own_log() -> Iterator[None]:
    """The log as it is in a process that has just begun."""
    log, ours = logging.getLogger(), logging.getLogger("hitsieve")
    handlers, level = log.handlers[:], ours.level
    log.handlers[:] = []
    ours.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        log.handlers[:] = handlers
        ours.setLevel(level)
