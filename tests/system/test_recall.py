"""Which files of a run hold hits is known from its outputs, also where the files are on tape."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import hitsieve as package
from hitsieve.testing import Simulated
from hitsieve.write import open_results

from .conftest import Hitsieve


@pytest.fixture
def results(mine: Simulated, tmp_path: Path) -> Path:
    """A run of four files, of which none is there any more."""
    package.run(mine.master, output=tmp_path / "out")
    for path in (mine.master, *mine.data_files):
        path.unlink()
    return tmp_path / "out"


def hits_of_files(mine: Simulated, results: Path) -> dict[str, int]:
    with open_results(results) as stored:
        hit = stored.column("state") == 1
        file = stored.column("source_file")
    return {str(path): int(np.count_nonzero(hit[file == i])) for i, path in enumerate(mine.data_files)}


def test_files_are_listed_by_their_hits(hitsieve: Hitsieve, mine: Simulated, results: Path) -> None:
    wanted = hits_of_files(mine, results)
    done = hitsieve("recall", results, "--json")
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)
    assert {file["path"]: file["hits"] for file in files} == wanted
    assert [file["hits"] for file in files] == sorted(wanted.values(), reverse=True)
    assert all(file["images"] == 10 == file["hits"] + file["misses"] and file["bytes"] is None for file in files)
    rows = list(csv.DictReader(io.StringIO(hitsieve("recall", results, "--csv").stdout)))
    assert [(row["path"], int(row["hits"])) for row in rows] == [(file["path"], file["hits"]) for file in files]
    table = hitsieve("recall", results).stdout.splitlines()
    holding = sum(n > 0 for n in wanted.values())
    assert table[-1] == f"{holding} of 4 files hold the {sum(wanted.values())} hits"


def test_plain_lists_are_for_other_tools(hitsieve: Hitsieve, mine: Simulated, results: Path) -> None:
    wanted = hits_of_files(mine, results)
    most = max(wanted.values())
    listed = hitsieve("recall", results, "--list", "--at-least", str(most)).stdout.splitlines()
    assert set(listed) == {path for path, n in wanted.items() if n >= most}
    assert set(hitsieve("recall", results, "--list").stdout.splitlines()) == {path for path, n in wanted.items() if n}
    none = hitsieve("recall", results, "--list", "--without-hits").stdout.splitlines()
    assert set(none) == {path for path, n in wanted.items() if not n}
    for flags in (("--json", "--csv"), ("--without-hits", "--at-least", "2")):
        done = hitsieve("recall", results, *flags)
        assert (done.returncode, "exclude each other" in done.stderr) == (2, True)
