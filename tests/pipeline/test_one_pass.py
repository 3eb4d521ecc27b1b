"""The core's pass over the kept files proves what a look at each image proves, and no more."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the filters
import pytest

import hitsieve as package
from hitsieve.pipeline.release import ReleaseReport, ReleaseRequest, release
from hitsieve.testing import SimulateSettings, simulate


@dataclass(frozen=True)
class Kept:
    """A run that is stored as the core reads it, and its outputs."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "run" / "small_data_000001.h5"

    @property
    def hits(self) -> Path:
        return self.folder / "out" / "small_hits.h5"

    @property
    def misses(self) -> Path:
        return self.folder / "out" / "small_misses.h5"

    @property
    def request(self) -> ReleaseRequest:
        return ReleaseRequest((self.folder / "run" / "small_master.h5",), self.hits, self.misses)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Never changed."""
    folder = tmp_path_factory.mktemp("kept")
    small = {"name": "small", "detector": "test-256k", "images": 12, "images_per_file": 7, "hit_fraction": 0.5}
    made = simulate(folder / "run", SimulateSettings.model_validate(small))
    package.run(
        made.master,
        output=folder / "out",
        settings=package.RunSettings(write=package.WriteSettings(misses="keep")),
    )
    return Kept(folder)


@pytest.fixture
def mine(kept: Kept, tmp_path: Path) -> Kept:
    """A copy of it, to do damage to."""
    shutil.copytree(kept.folder, tmp_path / "here")
    return Kept(tmp_path / "here")


def both_ways(mine: Kept, monkeypatch: pytest.MonkeyPatch) -> tuple[ReleaseReport, ReleaseReport]:
    """What the core finds in one pass, where the processor can, and what is found image by image."""
    found = release(mine.request)
    monkeypatch.setenv("HITSIEVE_CPU", "portable")
    return found, release(mine.request)


def test_both_ways_give_the_same_proof(mine: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = [report.proof for report in both_ways(mine, monkeypatch)]
    assert proofs[0] is not None
    assert proofs[1] is not None
    one, other = (json.loads(proof.model_dump_json(exclude={"date"})) for proof in proofs)
    assert one == other
    assert (one["n_bytes"], one["n_pixels"]) == (12, 0)
    files = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (mine.hits, mine.misses)}
    assert {file["path"]: file["sha256"] for file in one["kept"]} == files


def flip(path: Path, row: int) -> None:
    """Flip a bit of a stored chunk."""
    with h5py.File(path) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(row)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)


def flip_hit(kept: Kept) -> None:
    flip(kept.hits, 1)


def flip_miss(kept: Kept) -> None:
    flip(kept.misses, 2)


def flip_source(kept: Kept) -> None:
    flip(kept.data, 4)


def flip_both(kept: Kept) -> None:
    """The same wrong bytes on both sides: only the hash that was recorded tells."""
    with h5py.File(kept.misses) as file:
        row = int(file["entry/hit_finding/source_image"][0])
    flip(kept.misses, 0)
    flip(kept.data, row)


def other_hash(kept: Kept) -> None:
    with h5py.File(kept.hits, "r+") as file:
        file["entry/hit_finding/sha256"][0] = b"0" * 64


def not_verbatim(kept: Kept) -> None:
    """An image that is said to be packed anew is proven by its pixels."""
    with h5py.File(kept.misses, "r+") as file:
        file["entry/hit_finding/verbatim"][1] = False


def cut_source(kept: Kept) -> None:
    with h5py.File(kept.data) as file:
        last = file["entry/data/data"].id.get_chunk_info(6)
    os.truncate(kept.data, last.byte_offset + 10)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip_hit, "does not agree with its SHA-256"),
        (flip_miss, "does not agree with its SHA-256"),
        (flip_source, "image 4: its stored bytes are not those of the source"),
        (flip_both, "does not agree with its SHA-256"),
        (other_hash, "does not agree with its SHA-256"),
        (cut_source, ""),
        (not_verbatim, None),
    ],
)
def test_both_ways_tell_the_same_damage(
    mine: Kept, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Kept], None], says: str | None
) -> None:
    damage(mine)
    one, other = both_ways(mine, monkeypatch)
    assert one.reasons == other.reasons
    assert (one.proof is None) == (other.proof is None) == (says is not None)
    assert says is None or any(says in reason for reason in one.reasons), one.reasons
    assert not one.proof or (one.proof.n_bytes, one.proof.n_pixels) == (11, 1)
