"""Hit-only files are proven against their hashes and their source."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from making import images, make_run, opened, write_run

from hitsieve.cli.verify import verify as command
from hitsieve.errors import SourceError, VerificationError
from hitsieve.pipeline.verify import verify
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

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
    assert failure.compared
    (tmp_path / "in" / "test_data_000001.h5").unlink()
    findings = {failure.source_image: failure for failure in verify(outputs.hits, master).failures}
    assert {2, 3, 9} <= set(findings)
    assert (findings[2].finding, findings[9].finding) == ("unreadable", "differs")
    assert "could not be compared" in findings[2].reason


def test_mixed_packings_agree(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "external")
    make_run(tmp_path / "two", "external", "bszstd")
    (tmp_path / "two" / "test_data_000002.h5").replace(tmp_path / "one" / "test_data_000002.h5")
    with opened(one) as source:
        outputs = write_run(source, tmp_path / "out", HITS)
    assert verify(outputs.hits, one).ok


def _written(folder: Path, style: str = "vds") -> tuple[Path, Path]:
    """Master and hit-only file of a run."""
    master = make_run(folder / "in", style)
    with opened(master) as source:
        return master, write_run(source, folder / "out", HITS).hits


def test_data_files_as_the_source(tmp_path: Path) -> None:
    master, hits = _written(tmp_path)
    files = sorted(master.parent.glob("test_data_*.h5"))
    assert verify(hits, files).ok
    assert verify(str(hits), [str(file) for file in files]).ok
    report = verify(hits, files[:1])
    assert {failure.finding for failure in report.failures} == {"absent"}
    assert {2, 3} & {failure.source_image for failure in report.failures} == set()
    assert not report.another_run


def test_files_of_other_settings_are_compared_all_the_same(tmp_path: Path) -> None:
    paths = []
    for k, distance in enumerate((0.1, 0.2)):
        paths.append(make_run(tmp_path / f"in{k}", "single", n=6 + k).rename(tmp_path / f"part_{k}.h5"))
        with h5py.File(paths[-1], "a") as handle:
            handle["entry/instrument/detector/distance"][...] = distance
            del handle["entry/instrument/detector/depends_on"], handle["entry/instrument/detector/module"]
    with open_run(paths, SourceSettings(set=("distance=0.15",))) as source:
        hits = write_run(source, tmp_path / "out", [1, 8]).hits
    assert verify(hits, paths).ok


def test_another_run(tmp_path: Path) -> None:
    _, hits = _written(tmp_path)
    shorter = make_run(tmp_path / "same_names", "vds", n=9)
    other = make_run(tmp_path / "other", "single", n=6).rename(tmp_path / "else.h5")
    for strange in (shorter, other):
        report = verify(hits, strange)
        assert report.another_run
        assert len(report.failures) == 8


def test_images_as_the_source(tmp_path: Path) -> None:
    paths = [tmp_path / f"shot_{i:05d}.cbf" for i in range(6)]
    for path, values in zip(paths, images(6, "i4"), strict=True):
        CbfImage(data=values).write(str(path))
    with open_run(paths) as source:
        hits = write_run(source, tmp_path / "out", [1, 4]).hits
    assert verify(hits, paths).ok
    CbfImage(data=images(6, "i4")[1] + 1).write(str(paths[1]))
    findings = {failure.source_image: failure.finding for failure in verify(hits, paths[:4]).failures}
    assert findings[1] == "differs"
    assert findings[4] == "absent"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"", "is empty"), (b"no", "not an HDF5 file"), (2000, "truncated")]
)
def test_file_that_cannot_be_read(tmp_path: Path, content: bytes | int | None, words: str) -> None:
    path = tmp_path / "a_hits.h5"
    if isinstance(content, int):
        path.write_bytes(_written(tmp_path)[1].read_bytes()[:content])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=words) as caught:
        verify(path)
    assert str(path) in str(caught.value)
    assert "errno" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_not_a_hit_only_file(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="is not a hit-only file") as caught:
        verify(make_run(tmp_path, "single"))
    assert caught.value.exit_code == 5


def _said(capsys: pytest.CaptureFixture[str], hits: Path, *sources: Path) -> str:
    with pytest.raises(VerificationError) as caught:
        command(hits, source=list(sources))
    return capsys.readouterr().err + str(caught.value)


def test_the_command_tells_unknown_from_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    master, hits = _written(tmp_path)
    files = sorted(master.parent.glob("test_data_*.h5"))
    assert command(hits, source=files) == 0
    lacking = _said(capsys, hits, files[0])
    assert "has no such image" in lacking
    assert "--source may be repeated" in lacking
    assert "do not use" not in lacking
    _flip(files[1], "entry/data/data", 1)
    assert "1 of 8 images do not agree (do not use" in _said(capsys, hits, *files)
    stranger = _said(capsys, hits, make_run(tmp_path / "other", "vds", n=9))
    assert "this is another run" in stranger
    assert "\n" not in stranger


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
