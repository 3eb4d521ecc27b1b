"""What the sender sends, however it makes its messages, is what each message is by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cbor2
import zmq

from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.stream import StreamedSeries, StreamSender

N, TIMES = 3, 40
PATIENCE = 60_000


def test_images_that_are_sent_over_and_over_are_each_what_they_were(tmp_path: Path) -> None:
    settings = {"detector": "test-256k", "images": N, "hit_fraction": 0.5}
    made = simulate(tmp_path, SimulateSettings.model_validate(settings))
    with open_run(made.master) as opened:
        held = StreamedSeries.of(opened, 70_000, N * TIMES)
        read = StreamedSeries.of(opened, 70_000, N * TIMES, at_once=False)
        one_by_one = [read.image(i) for i in range(read.n_images)]
    assert [held.image(i) for i in range(held.n_images)] == one_by_one
    assert all(held.in_place(i) == image for i, image in enumerate(one_by_one))
    wanted = [cbor2.dumps(held.start), *one_by_one, held.end]
    context = zmq.Context()
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.RCVTIMEO, PATIENCE)
    try:
        with StreamSender(["tcp://127.0.0.1:*"]) as sender, ThreadPoolExecutor(1) as pool:
            socket.connect(sender.addresses[0])
            # Twice: the second series is made where the end of the first may still lie.
            sending = pool.submit(lambda: [sender.send(held) for _ in range(2)])
            came = [socket.recv() for _ in range(2 * len(wanted))]
            assert sending.result() == [list(range(N * TIMES))] * 2
    finally:
        context.destroy(linger=0)
    assert came == [*wanted, *wanted]
