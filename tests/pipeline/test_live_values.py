"""What images bring along reaches the outputs; what is found reaches other programs, in either form."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import cbor2
import h5py
import pyarrow.parquet as pq
import pytest
import zmq

from hitsieve.model import SeriesKey
from hitsieve.pipeline.live import Ended, Verdict
from hitsieve.pipeline.live.publish import Publisher
from hitsieve.settings import SourceSettings
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.stream import StreamSender
from hitsieve.write import read_proof
from pipeline.streaming import Receiving, into, series_of

N = 24
PLACE = "entry/instrument/detector/detectorSpecific/image_values"


def test_values_of_images_are_in_hits_and_misses_and_tell_pump_states(tmp_path: Path) -> None:
    about = {"name": "source", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 11}
    master = simulate(tmp_path / "source", SimulateSettings.model_validate(about)).master
    series = series_of(master, 1)
    pumped = into(tmp_path / "out").model_copy(update={"source": SourceSettings(pump_dataset=f"/{PLACE}/laser")})
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, pumped, series=1) as receiving,
    ):
        sender.raw(cbor2.dumps(series.start))
        for i in range(N):
            values = {"laser": i % 2, "pulse": 10**15 + i, "user_data": {"shot": i}, "unit_cell": f"cell {i}"}
            sender.raw(cbor2.dumps(cbor2.loads(series.image(i)) | values))
        sender.raw(series.end)
    (ended,) = receiving.ended
    hits, table, _, misses, proof = ended.outputs
    pump = pq.read_table(table)["pump"].to_pylist()
    assert [pump[i] == pump[0] for i in range(N)] == [i % 2 == 0 for i in range(N)]
    seen = []
    for path in (hits, misses):
        with h5py.File(path) as file:
            images = file["entry/hit_finding/source_image"][()].tolist()
            kept = file[PLACE]
            assert kept["pulse"][()].tolist() == [10**15 + i for i in images]
            assert [json.loads(text) for text in kept["user_data"].asstr()[()]] == [{"shot": i} for i in images]
            # NeXus has fields of this name too, which are one for all images.
            assert kept["unit_cell"].asstr()[()].tolist() == [f"cell {i}" for i in images]
            assert kept["start_time"][()].tolist() == [i / 1000 for i in images]
            seen += images
    assert sorted(seen) == list(range(N))
    # They are among what is proven before what was received goes.
    assert read_proof(proof).deletion is not None
    assert not (tmp_path / "out" / "received").exists()


@pytest.mark.parametrize("form", ["json", "cbor"])
def test_results_are_published_in_either_form(form: Literal["json", "cbor"]) -> None:
    key = SeriesKey(3, "ä👍")
    odd = Path(os.fsdecode(b"/out/\xff_hits.h5"))
    read = json.loads if form == "json" else cbor2.loads
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber, Publisher("tcp://127.0.0.1:*", form) as told:
        subscriber.setsockopt(zmq.RCVTIMEO, 60_000)
        subscriber.subscribe(b"")
        subscriber.connect(told.address)
        # A subscriber is known some time after it has connected.
        while not subscriber.poll(20):
            told.refused("bad", "first")
        told.judged(Verdict("name", key, 7, "hit", n_spots=9, background=0.5, seconds=0.25))
        told.ended(Ended("name", key, "its end came", {"hit": 1}, outputs=(odd,)))
        messages = []
        while not messages or messages[-1]["type"] != "end":
            messages.append(read(subscriber.recv()))
    image, end = messages[-2:]
    found = {"n_spots": 9, "background": 0.5, "resolution": None}
    assert image.items() >= {"type": "image", "image_id": 7, **found}.items()
    assert (image["series_unique_id"], image["sequence"] + 1) == ("ä👍", end["sequence"])
    assert end["counts"] == {"hit": 1}
    (output,) = end["outputs"]
    assert output.endswith("_hits.h5")
