"""The example files are what the definition says, and the listings are what the files are."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from definitions.agreement import compare, definition, lacking
from definitions.conftest import HOME
from definitions.test_nxdl import BASE, addition

KINDS = ("hits", "misses", "annotated")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files and listings, made as the README says."""
    folder = tmp_path_factory.mktemp("examples")
    command = [sys.executable, HOME / "examples" / "make.py", folder]
    there = os.environ | {"HITSIEVE_CATALOGUE": str(folder / "catalogue.sqlite")}
    done = subprocess.run(command, env=there, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_examples_are_no_runs_of_the_users(examples: Path) -> None:
    assert not (examples / "catalogue.sqlite").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_example_agrees_with_the_definition(examples: Path, kind: str) -> None:
    with h5py.File(examples / f"example_{kind}.h5") as file:
        process = file["entry/hit_finding"]
        assert compare(process, definition(BASE), len(process["state"])).problems == []
        assert lacking(process, addition()) == []
        assert process["holds"].asstr()[()] == ("all" if kind == "annotated" else kind)


@pytest.mark.parametrize("kind", KINDS)
def test_listing_is_that_of_the_file(examples: Path, kind: str) -> None:
    """But for values and lengths, which are another run's."""
    listed, made = (
        [re.sub(r"\[[\d, ]+\]", "[]", line.partition(" = ")[0]) for line in text.splitlines()]
        for text in (
            (HOME / "examples" / f"example_{kind}.txt").read_text(encoding="utf-8"),
            (examples / f"example_{kind}.txt").read_text(encoding="utf-8"),
        )
    )
    assert listed == made, "make the listings again: python definitions/examples/make.py FOLDER"


def test_listing_names_no_folder_of_the_maker(examples: Path) -> None:
    for kind in KINDS:
        assert str(examples) not in (examples / f"example_{kind}.txt").read_text(encoding="utf-8")


def test_readme_reads_an_example(examples: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (HOME / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=examples, capture_output=True, text=True, timeout=240, check=True
    )
    said = done.stdout.splitlines()
    assert said[0].startswith(f"{len(said) - 1} hits, ")
    assert all("lattices, [[" in line and "example_data_00000" in line for line in said[1:])


def test_maker_is_importable_without_making() -> None:
    spec = importlib.util.spec_from_file_location("make", HOME / "examples" / "make.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.KINDS == KINDS
