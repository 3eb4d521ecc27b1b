"""The process that examines files: one question a line on stdin, findings a line each on stdout."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

_BETWEEN = 1.0
"""Seconds between signs of life."""


def main() -> None:
    """Answer until stdin ends."""
    from hitsieve.check.examine import examine
    from hitsieve.check.findings import Finding

    def tell(finding: Finding) -> None:
        say(finding.plain())

    last = 0.0

    def step() -> None:
        nonlocal last
        if time.monotonic() - last > _BETWEEN:
            last = time.monotonic()
            say({"alive": True})

    # A master may show thousands of files, each of which HDF5 keeps open while it reads.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    say({"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        examine(Path(question["path"]), tuple(question["sets"]), tell, step)
        say({"done": True})


def say(what: dict[str, Any]) -> None:
    """Write one line, at once: the next step may be the last."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
