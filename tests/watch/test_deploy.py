"""What a beamline is set up from says what the command understands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from hitsieve.cli.commands import call as run_command

from .conftest import HITSIEVE, Beamline

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = (DEPLOY / "hitsieve-watch.service").read_text()
CONTAINER = (DEPLOY / "Containerfile").read_text()


def unit() -> tuple[list[str], dict[str, str]]:
    """Arguments of the command, and its environment."""
    (command,) = re.findall(r"^ExecStart=\S+/hitsieve (.*)$", UNIT, re.MULTILINE)
    return shlex.split(command), dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT, re.MULTILINE))


def container() -> tuple[list[str], dict[str, str]]:
    (command,) = re.findall(r"^CMD (.*)$", CONTAINER, re.MULTILINE)
    assert 'ENTRYPOINT ["hitsieve"]' in CONTAINER
    return json.loads(command), dict(re.findall(r"^(?:ENV)? +([A-Z_]+)=(\S+)", CONTAINER, re.MULTILINE))


def test_the_command_and_its_environment_do_what_is_said(beamline: Beamline, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, environment = unit()
    state = beamline.home / "state"
    state.mkdir()
    for name, value in environment.items():
        if name.startswith("HITSIEVE_"):
            monkeypatch.setenv(name, value.replace("%S/hitsieve", str(state)))
    beamline.add("a")
    config = beamline.home / "beamline.toml"
    config.write_text("workers = 1\n[watch]\nsettle = 0\n[verdict]\nmin_spots = 8\nsecond_look = 0\n")
    replaced = {"/data": str(beamline.top), "/etc/hitsieve/beamline.toml": str(config)}
    assert [*replaced] == arguments[1::2]
    assert run_command([*(replaced.get(one, one) for one in arguments), "--once", "--quiet"]) == 0
    assert {path.name for path in state.iterdir()} == {"watch.sqlite", "catalogue.sqlite"}


def test_a_container_does_the_same() -> None:
    (arguments, environment), (own, others) = unit(), container()
    assert own == arguments
    places = {name: value.replace("%S", "/var/lib") for name, value in environment.items() if "HITSIEVE" in name}
    assert places.items() <= others.items()
    assert len(places) == 3


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    own = tmp_path / "hitsieve-watch.service"
    own.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={HITSIEVE}", UNIT, flags=re.MULTILINE))
    said = subprocess.run([program, "verify", own], capture_output=True, text=True, check=False, timeout=240)
    assert str(own.name) not in said.stdout + said.stderr
    wrong = own.read_text().replace("KillMode=mixed", "KillMode=mild").replace("ProtectHome", "ProtectedHome")
    own.write_text(wrong)
    said = subprocess.run([program, "verify", own], capture_output=True, text=True, check=False, timeout=240)
    if str(own.name) not in said.stdout + said.stderr:
        pytest.skip("systemd-analyze finds nothing here")


def test_what_the_container_is_built_from_is_there() -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINER, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (DEPLOY.parent / name).exists(), name
