"""Findings in measured files, and in what hitsieve makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hitsieve
from hitsieve.check import Severity, examine, rule_book
from hitsieve.settings import RunSettings

ABSENT = {
    "dls_i03_pilatus3_6m": (0, 10),
    "dls_i19_lcysteine_pilatus_2m": (0, 12),
    "dls_i19_pilatus_300k_blank": (1, 13),
    "dls_i23_pilatus_12m": (0, 12),
    "dls_thaumatin_eiger2_4mroi": (0, 10),
    "i24_thaumatin_pilatus3_6m": (0, 10),
    "lcls_cxi_thermolysin_cspad": (0, 14),
    "sls_jungfrau_module": (5, 14),
    "sls_jungfrau_module_raw": (1, 0),
    "su_timepix_electron": (2, 12),
}
"""Errors and warnings of each; all of them are of what the file does not state."""
GROUPS = {
    "NXdetector_group": "/entry/instrument/detector_group",
    "NXdetector_module": "/entry/instrument/detector/module",
}
"""Where groups would be that nxvalidate names by their class."""
SEVERITIES = {"required": Severity.ERROR, "recommended": Severity.WARNING}


@pytest.mark.parametrize("name", ABSENT)
def test_measured_files(name: str, data_dir: Path) -> None:
    checked = examine(data_dir / "images" / f"{name}.h5")
    assert (checked.count(Severity.ERROR), checked.count(Severity.WARNING)) == ABSENT[name]
    places = rule_book().places
    assert all(finding.absent for finding in checked.findings if finding.rule in places)
    assert {finding.rule for finding in checked.findings} <= {*places, "entry"}


@pytest.mark.parametrize("name", ["dls_i19_pilatus_300k_blank", "su_timepix_electron"])
def test_the_validator_of_nexus_misses_the_same_places(name: str, data_dir: Path) -> None:
    """nxvalidate, by the authors of NeXpy, finds the same required and recommended places absent."""
    source = data_dir / "images" / f"{name}.h5"
    command = [Path(sys.executable).with_name("nxvalidate"), "--application", "NXmx", "--warning", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    absent = re.findall(r"(?:Field|Group): (\S+)\s+This (required|recommended) \w+ is not in the NeXus file", said)
    theirs = {(GROUPS.get(place, place), SEVERITIES[need]) for place, need in absent}
    assert theirs, done.stdout + done.stderr
    ours = examine(source, sets=("nxmx",)).findings
    assert {(place, finding.severity) for finding in ours for place in finding.places} == theirs


@pytest.mark.parametrize("name", ["dls_i19_lcysteine_pilatus_2m", "lcls_cxi_thermolysin_cspad"])
def test_outputs_lack_only_what_their_source_lacks(name: str, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "images" / f"{name}.h5"
    settings = RunSettings.model_validate({"verdict": {"min_spots": 10}, "write": {"misses": "keep"}})
    report = hitsieve.run(source, output=tmp_path, settings=settings)
    assert report.summary.n_hits
    before = {finding.rule for finding in examine(source).findings}
    for path in tmp_path.glob("*.h5"):
        after = examine(path)
        assert after.count(Severity.ERROR) == 0, path
        # A series without misses has a file of them that holds no image.
        assert {finding.rule for finding in after.findings} - before <= {"written"}, path
