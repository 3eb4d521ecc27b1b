"""The record of a run says what its summary and its files say, and stands where the table of homes says."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from hitsieve.catalogue import CELL_FIELDS, Record, homes
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.record import record_of
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.settings import VerdictSettings
from hitsieve.write import Outputs

SCALES = {"distance": 1e3}
"""What a value in the file is multiplied with."""


@pytest.fixture(scope="module")
def record(finished: RunReport) -> Record:
    return record_of(finished.outputs, finished.summary, checksums=True)


def test_numbers_are_those_of_the_summary(finished: RunReport, record: Record) -> None:
    summary = finished.summary
    for name in Record.model_fields:
        if name in type(summary).model_fields and name not in ("rule", "pump"):
            assert getattr(record, name) == getattr(summary, name), name
    assert summary.index is not None
    assert summary.pump is not None
    assert summary.hit_rate_interval == (record.hit_rate_low, record.hit_rate_high)
    assert record.cell == summary.index.cell.parameters
    assert record.pump == ("dark", "light")
    assert [state.hit_rate for state in record.pump_states] == [state.hit_rate for state in summary.pump.states]
    assert record.sample_name == "lysozyme"
    assert record.title == "small (simulated)"
    assert record.wavelength == 1.0
    assert record.photon_energy == pytest.approx(12.3984, abs=1e-4)


def test_every_field_stands_where_the_table_says(finished: RunReport, record: Record) -> None:
    """The places in NXmx are those of a real file, and hold the same values."""
    seen = set()
    with h5py.File(finished.outputs.hits) as file:
        for home in homes():
            value = getattr(record, home.field)
            if not home.about.nxmx or value is None or home.field == "sample_name" or value in ((), {}):
                continue
            path, row = re.fullmatch(r"(.*?)(?:\[(\d)\])?", home.about.nxmx).groups()  # type: ignore[union-attr]
            item = file[path]
            stored = json.loads(item["data"].asstr()[()]) if isinstance(item, h5py.Group) else item[()]
            stored = stored if row is None else stored[int(row)]
            if isinstance(value, int | float):
                assert np.asarray(stored).ravel()[0] * SCALES.get(home.field, 1) == pytest.approx(value), home.field
            elif home.kind == "time":
                assert stored.decode() == value.isoformat()
            elif home.kind == "names":
                assert [text.decode() for text in stored] == list(value)
            else:
                assert (stored.decode() if isinstance(stored, bytes) else stored) == value, home.field
            seen.add(home.field)
    assert {"hit_rate", "hit_rate_low", "title", "distance", "pump", "settings", "n_audit", *CELL_FIELDS} <= seen


def test_keys_of_scicat_are_flat_and_each_field_has_a_name() -> None:
    keys = [home.scicat for home in homes() if home.scicat and not home.scicat.startswith("/")]
    assert len(keys) == len(set(keys))
    for home in homes():
        assert not re.search(r"[.\[\]<>$]", home.scicat), home.scicat
        assert home.about.human
        assert home.meaning


def test_files_are_listed_with_size_and_checksum(finished: RunReport, record: Record) -> None:
    folder = Path(record.place).parent
    assert {file.name for file in record.files} == {path.name for path in folder.iterdir()}
    for file in record.files:
        content = (folder / file.name).read_bytes()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [file.kind for file in record.files].count("pump") == 2
    quick = record_of(finished.outputs, finished.summary)
    assert {file.sha256 for file in quick.files} == {None}
    assert quick.id == record.id


def test_a_file_of_misses_is_listed_where_it_is_of_the_run(finished: RunReport, tmp_path: Path) -> None:
    """One that an earlier run left under the same name is no file of this run."""
    copy = Outputs.of(Path(shutil.copytree(finished.outputs.summary.parent, tmp_path / "copy")), "small")
    (tmp_path / "copy" / "small_misses.h5").write_bytes(b"12345")
    assert finished.summary.miss_bytes is None
    left = record_of(copy, finished.summary)
    assert ("misses" in {file.kind for file in left.files}, left.miss_bytes) == (False, None)
    kept = record_of(copy, finished.summary.model_copy(update={"miss_bytes": 4}), checksums=True)
    (file,) = (file for file in kept.files if file.kind == "misses")
    assert (file.name, file.size, kept.miss_bytes) == ("small_misses.h5", 5, 4)
    assert file.sha256 == hashlib.sha256(b"12345").hexdigest()


def test_digest_of_hits_is_of_their_chunks(finished: RunReport, record: Record, tmp_path: Path) -> None:
    with h5py.File(finished.outputs.hits) as file:
        hashes = file["entry/hit_finding/sha256"][()].tolist()
    assert record.hits_digest == hashlib.sha256(b"".join(hashes)).hexdigest()
    copy = Path(shutil.copytree(finished.outputs.summary.parent, tmp_path / "copy"))
    again = record_of(Outputs.of(copy, "small"), finished.summary)
    assert (again.id, again.hits_digest) == (record.id, record.hits_digest)
    assert again.place != record.place


def test_another_verdict_is_another_run_of_the_same_measurement(
    finished: RunReport, record: Record, tmp_path: Path
) -> None:
    request = RethinkRequest(VerdictSettings(min_spots=30), tmp_path)
    report = rethink(finished.outputs.summary, request)
    other = record_of(Outputs.of(tmp_path, "small"), report.summary)
    assert other.id != record.id
    assert other.verdict_on == record.place
    assert (other.title, other.start_time) == (record.title, record.start_time)
    assert other.hits_digest is None
    assert {file.kind for file in other.files} == {"images", "summary"}


def test_record_is_frozen_and_survives_json(record: Record) -> None:
    assert Record.model_validate_json(record.model_dump_json()) == record
    with pytest.raises(ValidationError):
        record.hit_rate = 0.5  # type: ignore[misc]
