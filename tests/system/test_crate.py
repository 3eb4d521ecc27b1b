"""`hitsieve export --rocrate` as a user calls it: simulated and measured images, a full disk, no package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import nxmx
import pytest

from hitsieve.testing import Simulated

from .conftest import Hitsieve

SAID = ("--creator", "Carberry, Josiah <0000-0002-1825-0097>", "--license", "CC-BY-4.0", "--publisher", "Zenodo")


@pytest.fixture(scope="module")
def out(small: Simulated, hitsieve: Hitsieve, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crate") / "out"
    done = hitsieve("run", small.master, "-o", folder, "--quiet")
    assert done.returncode == 0, done.stderr
    return folder


def test_pack_unpack_verify(out: Path, small: Simulated, hitsieve: Hitsieve, tmp_path: Path) -> None:
    done = hitsieve("export", out, "--rocrate", "-o", tmp_path / "crate.zip", "--raw", "10.5072/raw", *SAID, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["path"] == str(tmp_path / "crate.zip")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", "crate.zip", "crate"], cwd=tmp_path, check=True)
    folder = tmp_path / "crate"
    checked = subprocess.run(["sha256sum", "--strict", "-c", "manifest-sha256.txt"], cwd=folder, check=False)
    assert checked.returncode == 0
    assert sorted(file["name"] for file in told["files"]) == sorted(path.name for path in folder.iterdir())
    proven = hitsieve("verify", folder / "small_hits.h5", "--source", small.master)
    assert proven.returncode == 0, proven.stderr
    assert told["n_hits"] == int(proven.stdout.split(": ")[1].split()[0])


def test_facts_file_and_default_place(out: Path, hitsieve: Hitsieve, tmp_path: Path) -> None:
    facts = tmp_path / "facts.toml"
    facts.write_text(
        "sample_id = 'HEIDI-7'\n[publication]\ntitle = 'Mine'\ncreators = [{ name = 'A, B' }]\nlicense = 'CC0-1.0'\n"
    )
    done = hitsieve("export", out, "--rocrate", "--facts", facts, "--publisher", "A facility")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "small_crate")
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        f"hitsieve: warning: {out}/small_crate: no ORCID iD is known of A, B",
        f"hitsieve: warning: {out}/small_crate: nothing says where the raw data are found",
    ]
    told = json.loads((out / "small_crate" / "datacite.json").read_text())
    assert told["titles"][0] == {"title": "Mine"}
    assert told["publisher"] == {"name": "A facility"}
    assert {"subject": "HEIDI-7"} in told["subjects"]
    entities = json.loads((out / "small_crate" / "ro-crate-metadata.json").read_text())["@graph"]
    assert [one["identifier"] for one in entities if one["@id"] == "#sample"] == ["HEIDI-7"]


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        ([], 2, "export needs --format or --rocrate"),
        (["--rocrate", "--format", "dials", "--only", "hits"], 2, "--rocrate and --format, --only exclude each other"),
        (["--format", "events", "--license", "CC0-1.0"], 2, "--format and --license exclude each other"),
        (["--rocrate"], 2, "lacks its creators (--creator), a licence (--license) and a publisher (--publisher)"),
        (["--rocrate", "--license", "CC BY"], 2, "--license: 'CC BY' is neither the address of a licence nor one of"),
        (["--rocrate", "--facts", "none.toml"], 2, "none.toml: cannot be read"),
    ],
)
def test_wrong_flags(out: Path, hitsieve: Hitsieve, flags: list[str], code: int, says: str) -> None:
    before = sorted(out.iterdir())
    done = hitsieve("export", out, *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("hitsieve: error: ")
    assert says in done.stderr
    assert sorted(out.iterdir()) == before


@pytest.mark.parametrize("name", ["crate", "crate.zip"])
def test_no_space(out: Path, hitsieve: Hitsieve, small_disk: Path, name: str) -> None:
    done = hitsieve("export", out, "--rocrate", "-o", small_disk / name, *SAID)
    assert done.returncode == 4
    assert " MB are free (free some space, " in done.stderr
    assert list(small_disk.iterdir()) == []


def test_without_the_package(out: Path) -> None:
    program = "import sys; sys.modules['rocrate.rocrate'] = None; from hitsieve.cli import main; main()"
    command = [sys.executable, "-c", program, "export", str(out), "--rocrate", *SAID]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("(pip install rocrate)\n")


def test_measured_images(data_dir: Path, hitsieve: Hitsieve, tmp_path: Path) -> None:
    source = data_dir / "images" / "dls_thaumatin_eiger2_4mroi.h5"
    assert hitsieve("run", source, "-o", tmp_path / "out", "--quiet").returncode == 0
    done = hitsieve("export", tmp_path / "out", "--rocrate", "--title", "Thaumatin", *SAID, "-o", tmp_path / "crate")
    assert done.returncode == 0, done.stderr
    hits = tmp_path / "crate" / f"{source.stem}_hits.h5"
    assert hitsieve("verify", hits, "--source", source).returncode == 0
    with h5py.File(hits) as file:
        detector = nxmx.NXmx(file).entries[0].instruments[0].detectors[0]
        assert len(detector.modules) > 0
    graph = json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text())["@graph"]
    values = {entity["@id"]: entity.get("value") for entity in graph}
    with h5py.File(source) as file:
        wavelength = float(file["entry/instrument/beam/incident_wavelength"][()])
    assert values["#wavelength"] == pytest.approx(wavelength)
