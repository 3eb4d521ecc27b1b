"""`hitsieve check` as a user calls it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest

from hitsieve.testing import Simulated

from .conftest import Hitsieve

LACKING = "entry/instrument/detector/sensor_thickness"


@pytest.fixture
def run(simulated: Simulated, tmp_path: Path) -> Path:
    """A copy of a run that lacks a thickness; gives the master."""
    shutil.copytree(simulated.master.parent, tmp_path / "run")
    master = tmp_path / "run" / simulated.master.name
    with h5py.File(master, "r+") as file:
        del file[LACKING]
    return master


def test_a_good_file_says_so(process: Hitsieve, simulated: Simulated) -> None:
    result = process("check", simulated.master)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{simulated.master}: nothing found\n"


def test_findings_come_together_with_their_mends(hitsieve: Hitsieve, run: Path, simulated: Simulated) -> None:
    with h5py.File(run, "r+") as file:
        del file["entry/sample/name"], file["entry/instrument/time_zone"]
    result = hitsieve("check", simulated.master, run)
    assert (result.returncode, result.stderr) == (5, "")
    first, second, *rest = result.stdout.splitlines()
    assert first.endswith("nothing found")
    assert second == f"{run}: 2 errors, 1 warning"
    assert rest[0] == "  error    /entry/sample/name is absent: name of the sample [nxmx, gold]"
    assert rest[2].lstrip().startswith("mend: give it in a template")
    assert rest[3].startswith("  warning  /entry/instrument/time_zone")


def test_json_is_all_there_is_on_stdout(hitsieve: Hitsieve, run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.h5").write_text("not HDF5")
    result = hitsieve("check", "--json", run, tmp_path / "notes.h5")
    assert result.returncode == 5
    one, other = json.loads(result.stdout)
    assert (one["file"], one["n_errors"], one["n_warnings"], one["n_notes"]) == (str(run), 1, 0, 0)
    (finding,) = one["findings"]
    assert finding == {
        "severity": "error",
        "rule": LACKING,
        "rules": ["nxmx", "gold"],
        "places": [f"/{LACKING}"],
        "what": "is absent: thickness of the sensor",
        "mend": finding["mend"],
        "absent": True,
        "several": False,
    }
    assert other["findings"][0]["what"] == "is no HDF5 file"


def test_warnings_fail_only_where_they_are_asked_to(hitsieve: Hitsieve, run: Path) -> None:
    with h5py.File(run, "r+") as file:
        file[LACKING] = 0.0003
    assert hitsieve("check", run).returncode == 5
    with h5py.File(run, "r+") as file:
        file[LACKING].attrs["units"] = "m"
        del file["entry/instrument/time_zone"]
    assert hitsieve("check", run).returncode == 0
    assert hitsieve("check", run, "--strict").returncode == 5
    assert hitsieve("check", run, "--strict", "--rules", "hits").returncode == 5
    assert hitsieve("check", run, "--quiet").stdout == ""


def test_a_template_is_printed_filled_in_and_used(hitsieve: Hitsieve, run: Path, tmp_path: Path) -> None:
    printed = hitsieve("check", "--template", run)
    assert printed.returncode == 0
    template = tmp_path / "beamline.toml"
    template.write_text(printed.stdout.replace('value = "?", units = "m"', 'value = 320, units = "um"'))
    copy = run.with_name("copy_master.h5")
    result = hitsieve("check", "--fix", template, run, "-o", copy)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == f"filled  /{LACKING} is 320 um"
    assert hitsieve("check", copy).stdout == f"{copy}: nothing found\n"
    again = hitsieve("check", "--fix", template, run, "-o", copy)
    assert (again.returncode, again.stdout) == (4, "")
    assert "output exists" in again.stderr
    left = hitsieve("check", "--fix", template, copy, "-o", copy.with_name("other.h5"), "--json")
    assert json.loads(left.stdout)["filled"] == [
        {"place": f"/{LACKING}", "filled": False, "what": "is there already"},
    ]


WRONG = {
    "no file": (["no_such_file.h5"], 3, "there is no such file (check the path)"),
    "a folder": (["."], 3, ".: is a folder (name the master file in it)"),
    "unknown rules": (["--rules", "nxmx,silver", "x.h5"], 2, "unknown rule set silver"),
    "no rules": (["--rules", ",", "x.h5"], 2, "--rules names no rule set"),
    "no output": (["--fix", "t.toml", "x.h5"], 2, "--fix needs --output COPY"),
    "no template": (["-o", "c.h5", "x.h5"], 2, "--output needs --fix TEMPLATE"),
    "two files": (["--template", "x.h5", "y.h5"], 2, "--template takes one file, not 2"),
    "both": (["--template", "--fix", "t.toml", "-o", "c.h5", "x.h5"], 2, "exclude each other"),
    "overwrite": (["--overwrite", "x.h5"], 2, "belong to --fix"),
    "nothing": ([], 2, "check needs PATHS"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_are_one_line(case: str, hitsieve: Hitsieve, tmp_path: Path) -> None:
    arguments, code, said = WRONG[case]
    result = hitsieve("check", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.startswith("hitsieve: error: ")
    assert result.stderr.count("\n") == 1
