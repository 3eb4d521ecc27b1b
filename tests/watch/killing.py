"""A process that has itself killed between any two statements; it reads jobs, a line each, and forks for each."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import hitsieve
from hitsieve.pipeline.watch.settings import BeamlineSettings
from hitsieve.pipeline.watch.work import Job, work

PACKAGE = Path(hitsieve.__file__).parent
WATCHED = {
    str(PACKAGE / name)
    for name in (
        "pipeline/claim.py",
        "pipeline/watch/journal.py",
        "pipeline/watch/steps.py",
        "pipeline/watch/work.py",
        "write/atomic.py",
    )
}


class Counting:
    """Counts the lines that are reached in some modules, and ends the process at one of them."""

    def __init__(self, last: int | None) -> None:
        self.n, self.last = 0, last

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            self.n += 1
            if self.n == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def main() -> None:
    """Do jobs until there are no more."""
    for line in sys.stdin:
        said = json.loads(line)
        settings = BeamlineSettings.model_validate(said["settings"])
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            counting = Counting(said["kill_at"])
            sys.settrace(counting)
            worked = work(Job(Path(said["journal"]), said["key"], settings))
            sys.settrace(None)
            os.write(writing, json.dumps([worked.what, counting.n]).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        print(told.decode() or "null", flush=True)


if __name__ == "__main__":
    main()
