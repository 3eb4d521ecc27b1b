"""The process that examines files: one question a line on stdin, findings a line each on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer until stdin ends."""
    from hitsieve.check.examine import examine
    from hitsieve.check.findings import Finding

    def tell(finding: Finding) -> None:
        say(finding.plain())

    say({"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        examine(Path(question["path"]), tuple(question["sets"]), tell)
        say({"done": True})


def say(what: dict[str, Any]) -> None:
    """Write one line, at once: the next step may be the last."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
