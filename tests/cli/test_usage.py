"""Help, flags and settings files: what a user gets for right and for wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hitsieve as package
from cli.conftest import Hitsieve

NOTHING = "no-such-file.h5"


def one_line_error(stderr: str) -> str:
    """The error, which must be the only line."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("hitsieve: error: ")
    return lines[0]


def test_help_names_commands_and_exit_codes(process: Hitsieve) -> None:
    result = process("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for word in ("run", "verify", "demo", "simulate", "Exit codes", "130", "141", "143"):
        assert word in result.stdout


def test_version(process: Hitsieve) -> None:
    assert process("--version").stdout.strip() == package.__version__


@pytest.mark.parametrize("command", ["run", "verify", "demo", "simulate"])
def test_each_command_has_help(hitsieve: Hitsieve, command: str) -> None:
    result = hitsieve(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: hitsieve {command}")


def test_help_shows_no_python(hitsieve: Hitsieve) -> None:
    shown = hitsieve("run", "--help").stdout
    assert shown.startswith("Usage: hitsieve run PATHS... [OPTIONS]\n")
    text = " ".join(shown.replace("│", " ").split())
    assert "NAME=VALUE; may be given more than once" in text
    for python in ("()", "True", "False", "None"):
        assert f"[default: {python}]" not in text


@pytest.mark.parametrize("command", ["run", "rethink", "export"])
def test_help_breaks_lines_where_the_terminal_ends(
    hitsieve: Hitsieve, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    flags = [line for line in hitsieve(command, "--help").stdout.splitlines() if line.startswith("│")]
    assert len(flags) > 5
    assert [line.strip("│ ") for line in flags if not line[1:].strip(" *").startswith(("-", "P", "R"))] == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['hitsieve', '--help']; from hitsieve.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'h5py', 'hdf5plugin', 'pyarrow', 'fabio', 'pydantic', 'hitsieve._core'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "did you mean run?"),
        (["--versoin"], "unknown command or flag --versoin"),
        (["run"], "usage: hitsieve run PATHS... [OPTIONS]; for example: hitsieve run lyso_master.h5 -o out"),
        (["run", NOTHING, "--min-spotz", "3"], "Did you mean --min-spots?"),
        (["run", NOTHING, "--snr", "-1"], "--snr: input should be greater than 0, not '-1'"),
        (["run", NOTHING, "--snr", "many"], "--snr: input should be a valid number"),
        (["run", NOTHING, "--algorithm", "radail"], "--algorithm: input should be 'radial' or 'dispersion'"),
        (["run", NOTHING, "--workers", "-1"], "--workers: input should be greater than or equal to 0"),
        (["run", NOTHING, "--workers", "1.6"], '--workers: unable to convert "1.6" into int'),
        (["run", NOTHING, "--min-spots", "2.6"], "--min-spots: input should be a valid integer"),
        (["explain", NOTHING, "2.5"], 'IMAGE: unable to convert "2.5" into int'),
        (["explain", NOTHING, "0x10"], 'IMAGE: unable to convert "0x10" into int'),
        (["cell", NOTHING, "--max-hits", "2.6"], '--max-hits: unable to convert "2.6" into int'),
        (["cell", NOTHING, "--max-hits", "0"], 'invalid value "0" for --max-hits'),
        (["cell", NOTHING, "--workers", "1e1"], '--workers: unable to convert "1e1" into int'),
        (["simulate", "folder", "--images", "2.6"], "--images: input should be a valid integer"),
        (["run", NOTHING, "--d-min", "3", "--d-max", "2"], "d_min 3.0 is not below d_max 2.0"),
        (["run", NOTHING, "--config", "no-such-file.toml"], "no-such-file.toml cannot be read: No such file"),
        (["run", NOTHING, "--set"], "--set requires an argument"),
        (["campaign", "folder"], "campaign needs --output (for example: hitsieve campaign /data/archive -o sieved)"),
        (["restore", "hits.h5", "misses.h5"], "restore needs --output (for example: hitsieve restore "),
        (["restore", "hits.h5", "misses.h5", "-o"], "parameter -o requires an argument"),
        (["verify"], "usage: hitsieve verify HITS [OPTIONS]; for example: hitsieve verify out/lyso_hits.h5"),
        (["simulate"], "usage: hitsieve simulate OUTPUT [OPTIONS]; for example: hitsieve simulate sim"),
        (["simulate", "folder", "--detector", "eiger"], "--detector: unknown detector 'eiger'; there are"),
        (["simulate", "folder", "--preset", "strong"], 'Choose from: "weak"'),
        (["simulate", "folder", "--pump", "dark"], "pump pattern 'dark' is not NAME:IMAGES"),
    ],
)
def test_wrong_usage(hitsieve: Hitsieve, tmp_path: Path, arguments: list[str], says: str) -> None:
    result = hitsieve(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert says in one_line_error(result.stderr)
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[spots]\nsnrr = 3\n", "unknown key spots.snrr, did you mean spots.snr?"),
        ("[sports]\n", "unknown key sports, did you mean spots?"),
        ("min_spots = 3\n", "unknown key min_spots, did you mean verdict.min_spots?"),
        ("min_spot = 3\n", "unknown key min_spot, did you mean verdict.min_spots?"),
        ("[spots]\nmin_spots = 3\n", "unknown key spots.min_spots, did you mean verdict.min_spots?"),
        ("[verdict]\nmax_spot = 3\n", "unknown key verdict.max_spot, did you mean spots.max_spots?"),
        ("[write]\nworkers = 3\n", "unknown key write.workers, did you mean workers?"),
        ("[verdict]\nzzz = 3\n", "unknown key verdict.zzz (known: rule, min_spots, "),
        ("[verdict]\nmin_spots = 0\n", "verdict.min_spots: input should be greater than or equal to 1, not 0"),
        ("[write]\noverwrite = 7\n", "write.overwrite: "),
        ("[verdict]\nd_min = 3.0\nd_max = 2.0\n", "verdict: d_min 3.0 is not below d_max 2.0"),
        ("spots = [\n", "is not TOML"),
    ],
)
def test_wrong_settings_file(hitsieve: Hitsieve, tmp_path: Path, text: str, says: str) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(text)
    result = hitsieve("run", NOTHING, "--config", config, cwd=tmp_path)
    assert result.returncode == 2
    line = one_line_error(result.stderr)
    assert str(config) in line
    assert says in line


def test_debug_adds_the_traceback(hitsieve: Hitsieve, tmp_path: Path) -> None:
    result = hitsieve("run", NOTHING, "--debug", cwd=tmp_path)
    assert result.returncode == 3
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("hitsieve: error: ")
