"""Jobs that need a process of their own: `python -m benchmarks.child JOB JSON` prints its result as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def call(job: str, **arguments: Any) -> Mapping[str, Any]:
    """Run a job of this module in a new process."""
    command = [sys.executable, "-m", "benchmarks.child", job, json.dumps(arguments, default=str)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    answer: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def pinned(core: int, **arguments: Any) -> Mapping[str, Any]:
    """Times of `speed.times`, the whole process on one core."""
    os.sched_setaffinity(0, {core})
    from benchmarks.speed import times

    return times(Path(arguments["master"]), Path(arguments["output"]), arguments["rounds"])


def memory(master: str, output: str, flags: Sequence[str] = ()) -> Mapping[str, Any]:
    """Peak memory (bytes) of `hitsieve run`, from the operating system."""
    from hitsieve.cli import main

    try:
        main(["run", master, "--output", output, "--overwrite", "--quiet", *flags])
    except SystemExit as done:
        if done.code:
            raise
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"bytes": int(peak.split()[1]) * 1024}


if __name__ == "__main__":
    JOBS: dict[str, Callable[..., Mapping[str, Any]]] = {"pinned": pinned, "memory": memory}
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))))
