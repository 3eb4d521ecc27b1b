"""Hit-only files are proven against their hashes and their source."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from making import make_run, opened, write_run

from hitsieve.errors import VerificationError
from hitsieve.pipeline.verify import verify

HITS = [2, 3, 9, 17, 23]


def _flip(path: Path, dataset: str, row: int) -> None:
    with h5py.File(path) as handle:
        place = handle[dataset].id.get_chunk_info(row).byte_offset
        middle = place + handle[dataset].id.get_chunk_info(row).size // 2
    content = bytearray(path.read_bytes())
    content[middle] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("style", ["vds", "strided", "external", "single"])
@pytest.mark.parametrize("packing", ["bslz4", "gzip"])
def test_whole_file_agrees(tmp_path: Path, style: str, packing: str) -> None:
    master = make_run(tmp_path / "in", style, packing)
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    (tmp_path / "in").rename(tmp_path / "moved")
    for source_path in (None, tmp_path / "moved" / master.name):
        report = verify(outputs.hits, source_path)
        assert report.failures == ()
        assert report.ok
        assert (report.n_hits, report.n_audit) == (5, 3)


@pytest.mark.parametrize(("group", "dataset"), [("hits", "entry/data/data"), ("audit", "entry/hit_finding/audit/data")])
def test_one_flipped_bit_is_found(tmp_path: Path, group: str, dataset: str) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    _flip(outputs.hits, dataset, 1)
    (failure,) = verify(outputs.hits).failures
    assert (failure.group, failure.row) == (group, 1)
    assert "SHA-256" in failure.reason


def test_changed_source_is_found(tmp_path: Path) -> None:
    master = make_run(tmp_path / "in", "vds")
    with opened(master) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    _flip(tmp_path / "in" / "test_data_000002.h5", "entry/data/data", 1)
    (failure,) = verify(outputs.hits, master).failures
    assert failure.source_image == 9
    assert "differs from" in failure.reason
    (tmp_path / "in" / "test_data_000001.h5").unlink()
    reasons = {failure.source_image: failure.reason for failure in verify(outputs.hits, master).failures}
    assert {2, 3, 9} <= set(reasons)


def test_mixed_packings_agree(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "external")
    make_run(tmp_path / "two", "external", "bszstd")
    (tmp_path / "two" / "test_data_000002.h5").replace(tmp_path / "one" / "test_data_000002.h5")
    with opened(one) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    assert verify(outputs.hits, one).ok


def test_not_a_hit_only_file(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(VerificationError, match="cannot be opened"):
        verify(tmp_path / "text.h5")
    with pytest.raises(VerificationError, match="is not a hit-only file"):
        verify(make_run(tmp_path, "single"))


def test_bytes_of_the_audit_count(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    with h5py.File(outputs.hits, "r+") as handle:
        hashes = handle["entry/hit_finding/sha256"]
        values = hashes[()]
        values[0] = b"0" * 64
        hashes[...] = values
    assert [failure.row for failure in verify(outputs.hits).failures] == [0]
    assert np.all(values[1:] != b"0" * 64)
