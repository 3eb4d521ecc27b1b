"""Examination in a process of its own: a file that brings HDF5 down, or to a halt, brings down nothing else."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hitsieve.check.findings import Checked, Finding, together
from hitsieve.check.rules import RULE_SETS, rule_book
from hitsieve.model import Closing

PATIENCE = 300.0
"""Seconds without any word after which a file is given up."""
_TICK = 0.5
_CODE = "import sys; sys.path[:] = {path!r}; from hitsieve.check.worker import main; main()"


class Guard(Closing):
    """Examines files one after the other in a child process, which is started again where a file kills it.

    Parameters
    ----------
    tick : callable, optional
        Called twice a second while waiting; what it raises stops the child.
    patience : float
        Seconds without any word after which a file is given up.
    """

    def __init__(self, tick: Callable[[], None] | None = None, patience: float = PATIENCE) -> None:
        self._tick = tick
        self._patience = patience
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def examine(self, path: Path, sets: Sequence[str] = RULE_SETS) -> Checked:
        """Examine one file, as `hitsieve.check.examine` does.

        Returns
        -------
        Checked
            All findings; where the file ended the child, those that it had told, and that it did.
        """
        child = self._ready()
        question = json.dumps({"path": os.fsdecode(path.absolute()), "sets": list(sets)}) + "\n"
        findings: list[Finding] = []
        try:
            assert child.stdin is not None  # noqa: S101 - it was opened as a pipe
            child.stdin.write(question.encode("ascii"))
            child.stdin.flush()
        except BrokenPipeError:
            return self._lost(path, sets, findings, "")
        while True:
            said = self._hear(child)
            if isinstance(said, str):
                return self._lost(path, sets, findings, said)
            if "done" in said:
                return Checked(path, together(findings))
            if "rule" in said:
                findings.append(Finding.from_plain(said))

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._rest = b""
            # The child takes modules from where this process does, and from nowhere else: not from the folder it is in.
            code = _CODE.format(path=[str(Path(part).absolute()) if part else str(Path.cwd()) for part in sys.path])
            self._child = subprocess.Popen(  # noqa: S603 - the interpreter itself, with code from here
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._child

    def _hear(self, child: subprocess.Popen[bytes]) -> dict[str, Any] | str:
        """Give the next line of the child, or why there is none."""
        assert child.stdout is not None  # noqa: S101 - it was opened as a pipe
        last = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if self._tick is not None:
                    self._tick()
                if not selector.select(_TICK):
                    if time.monotonic() - last > self._patience:
                        return f"HDF5 did not get on with it within {self._patience:.0f} s"
                    continue
                block = os.read(child.stdout.fileno(), 1 << 16)
                if not block:
                    return ""
                self._rest += block
                last = time.monotonic()
        line, _, self._rest = self._rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def _lost(self, path: Path, sets: Sequence[str], findings: list[Finding], why: str) -> Checked:
        """End a child that a file has ended, or stopped."""
        child = self._child
        if not why and child is not None:
            code = child.wait()
            why = f"the HDF5 library crashed on it ({_named(code)})"
        self.close()
        rule = rule_book().checks["file"]
        found = Finding(rule.severity, rule.id, tuple(sets), ("/",), why, rule.mend)
        return Checked(path, together([found, *findings]))


def _named(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"
