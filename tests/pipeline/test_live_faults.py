"""Random faults on the way: whatever happens, every image that came is in the outputs of its series, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.settings import RunSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, StreamSettings, simulate
from hitsieve.testing.stream import StreamedSeries, StreamSender
from pipeline.streaming import Receiving, kept_chunks

N = 24
FEW, MANY = 6, 200


def into(folder: Path) -> RunSettings:
    rooms = {"write": {"output": folder}, "verdict": {"min_spots": 8, "second_look": 0}, "index": {"indexing": "off"}}
    return RunSettings.model_validate(rooms | {"catalogue": {"no_catalogue": True}, "workers": 2})


@pytest.mark.parametrize("n_series", [FEW, pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_nothing_is_lost_or_doubled(tmp_path: Path, n_series: int) -> None:
    about = {"name": "source", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 8}
    master = simulate(tmp_path / "source", SimulateSettings.model_validate(about)).master
    stored = pipeline.run([master], into(tmp_path / "stored")).outputs
    wanted, chunks = pq.read_table(stored.images)["state"].to_pylist(), kept_chunks(stored.hits)
    with open_run(master) as opened:
        series = StreamedSeries.of(opened)
    random = np.random.default_rng(n_series)
    sent: list[list[int]] = []
    with (
        StreamSender(["tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]) as sender,
        # One socket may be far ahead of the other: sockets hold many of these small messages.
        Receiving(sender.addresses, into(tmp_path / "out"), series=n_series, end_wait=60) as receiving,
    ):
        receiving.patience += 10.0 * n_series
        for number in range(n_series):
            faults = StreamSettings(
                lose=float(random.choice([0, 0.1, 0.5])),
                double=float(random.choice([0, 0.1, 0.5])),
                disorder=int(random.choice([0, 4, N])),
                # The last one ends: nothing would end it but a long silence.
                die_after=random.choice([None, int(random.integers(1, N))]) if number < n_series - 1 else None,
                fault_seed=number,
            )
            start = series.start | {"series_id": number, "series_unique_id": f"unique-{number}"}
            sent.append(sender.send(StreamedSeries(start, series.pieces, N), faults))
            if random.random() < 0.3:
                sender.raw(random.bytes(100))
    ended = {one.key.number: one for one in receiving.ended}
    assert sorted(ended) == list(range(n_series))
    for number, numbers in enumerate(sent):
        came = set(numbers)
        one = ended[number]
        assert one.received == len(came)
        if not came:
            assert one.failed
            continue
        states = pq.read_table(one.outputs[1])["state"].to_pylist()
        assert states == [state if i in came else "missing" for i, state in enumerate(wanted)]
        assert one.dropped == 0
        assert kept_chunks(one.outputs[0]) == {i: sha for i, sha in chunks.items() if i in came}
    # The second of a double may come after a series that was whole, and had ended.
    refused = Counter(kind for kind, _ in receiving.seen.refusals)
    assert refused["doubled"] == sum(one.doubled for one in receiving.ended)
    assert refused["doubled"] + refused["late"] == sum(len(numbers) - len(set(numbers)) for numbers in sent)
