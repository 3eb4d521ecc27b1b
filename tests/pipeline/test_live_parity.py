"""The same images through a file and through a stream: the same flags, spots and hit files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.live import Ended
from hitsieve.settings import RunSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, StreamSettings, simulate
from hitsieve.testing.stream import StreamedSeries, StreamSender
from pipeline.streaming import Receiving, kept_chunks, peaks

pytestmark = pytest.mark.lasting

Kind = tuple[str, str]
KINDS: list[Kind] = [
    (dtype, compression) for dtype in ("u16", "u32", "i16", "i32") for compression in ("bslz4", "bszstd", "lz4")
] + [("u16", "none")]
FEW, MANY = 48, 1000


def settings(folder: Path) -> RunSettings:
    rooms = {"write": {"output": folder, "misses": "keep"}, "verdict": {"second_look": 0}}
    return RunSettings.model_validate(rooms | {"catalogue": {"no_catalogue": True}, "workers": 2})


@pytest.fixture(scope="module", params=[FEW, pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def both(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[Kind, tuple[Ended, RunReport]]:
    """Runs of each kind, received as series one after the other, and read from their files."""
    n = request.param
    # Where there are few, each type and each compression, but not with each other.
    kinds = KINDS if n == MANY else KINDS[::2]
    folder = tmp_path_factory.mktemp("parity")
    masters = []
    for number, (dtype, compression) in enumerate(kinds):
        about = {"name": f"run{number}", "detector": "test-256k", "images": n, "images_per_file": 40, "seed": number}
        kind = {"hit_fraction": 0.3, "dtype": dtype, "compression": compression}
        masters.append(simulate(folder, SimulateSettings.model_validate(about | kind)).master)
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, settings(folder / "stream"), series=len(kinds)) as receiving,
    ):
        # The last images come long before the last series is sieved.
        receiving.patience += 2.0 * n
        for number, master in enumerate(masters):
            with open_run(master) as opened:
                series = StreamedSeries.of(opened, number)
            sender.send(series, StreamSettings(disorder=6, fault_seed=number))
    reports = [pipeline.run([master], settings(folder / "file")) for master in masters]
    return dict(zip(kinds, zip(receiving.ended, reports, strict=True), strict=True))


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_same_from_file_and_stream(both: dict[Kind, tuple[Ended, RunReport]], kind: Kind) -> None:
    if kind not in both:
        pytest.skip("long: run with --long")
    ended, report = both[kind]
    number = list(both).index(kind)
    n = report.summary.n_images
    assert not ended.failed
    assert (ended.key.number, ended.received, ended.doubled) == (number, n, 0)
    summary = report.summary
    assert ended.counts == {"hit": summary.n_hits, "miss": summary.n_misses, "unreadable": 0, "missing": 0}
    assert 0 < summary.n_hits < n
    hits, table, _, misses, _ = ended.outputs
    assert kept_chunks(hits) == kept_chunks(report.outputs.hits)
    assert report.outputs.misses is not None
    assert kept_chunks(misses) == kept_chunks(report.outputs.misses)
    own, other = peaks(hits), peaks(report.outputs.hits)
    assert own.keys() == other.keys()
    assert all(np.array_equal(own[name], other[name]) for name in own)
    rows, wanted = pq.read_table(table), pq.read_table(report.outputs.images)
    for name in set(wanted.column_names) - {"file", "row"}:
        assert rows[name].equals(wanted[name]), name


def test_what_was_received_is_gone_and_nothing_else_is_left(both: dict[Kind, tuple[Ended, RunReport]]) -> None:
    outputs = {path for ended, _ in both.values() for path in ended.outputs}
    (folder,) = {ended.outputs[0].parent for ended, _ in both.values()}
    assert set(folder.rglob("*")) == outputs
