"""The benchmarks run, and their answers agree; times are not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.lasting
def test_smoke(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "benchmarks.json").read_text())
    assert done.stdout.strip() == (tmp_path / "benchmarks.md").read_text().strip()
    assert len(report["checks"]) == 16
    assert [check["what"] for check in report["checks"] if not check["agrees"]] == []
    measured = {row["what"]: row for row in report["rows"]}
    assert measured["hits with 15 or more spots of snr 6 found"]["met"]
    assert measured["blank images called hits"]["met"]
    assert "peak memory, 30 and 300 images" in measured


def test_disagreement_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.table import Report

    report = Report()
    report.check("one and one", agrees=True)
    assert report.agrees
    report.check("two and three", agrees=False, detail="5")
    assert not report.agrees
    assert "DISAGREE: two and three (5)" in report.markdown()
