"""What is heard of running series, whatever is published at the address."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest
import zmq

from hitsieve.errors import SettingsError
from hitsieve.model import SeriesKey
from hitsieve.pipeline.live import Ended, Verdict
from hitsieve.pipeline.live.following import Following
from hitsieve.pipeline.live.heard import KEPT, MOST_SERIES, STATES, Heard
from hitsieve.pipeline.live.publish import Publisher
from pipeline.streaming import until
from ports import free_port

KEY = {"name": "series_000001", "series_id": 1, "series_unique_id": "a"}
NOW = 1_000_000.25


def message(kind: str, /, **values: Any) -> list[bytes]:
    return [json.dumps({"type": kind, **KEY, **values}).encode()]


def image(number: int, state: str = "hit", **values: Any) -> list[bytes]:
    about = {"n_spots": 30, "n_spots_counted": 20, "n_saturated": 0, "background": 1.5, "resolution": 2.0}
    more = {"min_spots": 8, "final": False, "seconds": 0.01, "reason": ""}
    return message("image", image_id=number, state=state, **(about | more | values))


END = {
    "why": "its end came", "counts": {"hit": 1, "miss": 2}, "min_spots": 9, "received": 3, "doubled": 0, "later": 0,
    "dropped": 0, "outputs": ["/a/b_hits.h5"], "problems": [], "failed": "",
}  # fmt: skip


def only(heard: Heard, now: float = NOW) -> dict[str, Any]:
    (series,) = heard.told(now=now)["series"]
    return dict(series)


def test_a_series_from_start_to_end() -> None:
    heard = Heard()
    heard.take(message("start", number_of_images=40), NOW)
    for number in range(30):
        heard.take(image(number, "hit" if number % 3 == 0 else "miss", seconds=number / 100), NOW + number / 10)
    found = only(heard, NOW + 3)
    assert (found["announced"], found["from_start"], found["judged"]) == (40, True, 30)
    assert found["counts"] == {"hit": 10, "miss": 20, "unreadable": 0, "missing": 0, "later": 0}
    assert found["hit_rate"] == pytest.approx(1 / 3)
    assert found["images_per_second"] == pytest.approx(10)
    assert found["lag"] == pytest.approx([0.15, 0.28], abs=0.011)
    assert sum(found["each_second"]) == 28
    assert (found["bin_size"], len(found["bins"])) == (1, 30)
    assert found["last_hit"]["image_id"] == 27
    assert found["end"] is None
    heard.take(message("end", **END), NOW + 4)
    found = only(heard, NOW + 5)
    assert found["end"]["counts"] == {"hit": 1, "miss": 2}
    assert found["end"]["outputs"] == ["/a/b_hits.h5"]
    assert (heard.name_of(found["number"]), heard.name_of(99)) == ("series_000001", None)


@pytest.mark.parametrize("n", [1, 100, 101, 999, 10_000, 10_050, 23_456])
def test_the_last_verdicts_are_binned_as_they_came(n: int) -> None:
    heard, states = Heard(), [STATES[(i * 7 + i // 100) % 3] for i in range(n)]
    for number, state in enumerate(states):
        heard.take(image(number, state), NOW)
    found = only(heard)
    size, bins = found["bin_size"], found["bins"]
    kept = sum(map(sum, bins))
    assert len(bins) <= 100 and (kept == n or KEPT - size < kept <= KEPT)
    assert (n - kept) % size == 0
    for place, counts in enumerate(bins):
        first = n - kept + place * size
        assert counts == [states[first : first + size].count(state) for state in STATES]


def test_series_that_share_a_name_are_told_apart() -> None:
    heard = Heard()
    heard.take(image(5), NOW)
    heard.take(message("start", number_of_images=9), NOW + 1)
    heard.take(image(0, "miss"), NOW + 2)
    heard.take(message("end", **END), NOW + 3)
    heard.take(image(0), NOW + 4)
    found = {series["number"]: series for series in heard.told(now=NOW + 5)["series"]}
    assert [found[k]["judged"] for k in range(3)] == [1, 1, 1]
    assert [found[k]["lost"] for k in range(3)] == [True, False, False]
    assert [found[k]["from_start"] for k in range(3)] == [False, True, False]
    assert heard.told()["order"] == [2, 1, 0]


def test_only_what_changed_is_told_again() -> None:
    heard = Heard()
    for name in "abc":
        heard.take(message("start", name=name, number_of_images=None), NOW)
        heard.take(message("end", name=name, **END), NOW)
    since = heard.changes
    assert len(heard.told(-1)["series"]) == 3 and heard.told(since)["series"] == []
    heard.take(message("start", name="d", number_of_images=None), NOW)
    assert [series["name"] for series in heard.told(since)["series"]] == ["d"]
    for k in range(3 * MOST_SERIES):
        heard.take(message("start", name=str(k), number_of_images=None), NOW)
    assert len(heard.told(-1)["series"]) == MOST_SERIES


def test_what_was_missed_is_counted() -> None:
    heard = Heard()
    for sequence in (4, 5, 9, 0, 1):
        heard.take(image(sequence, sequence=sequence), NOW)
    assert heard.n_missed == 3
    assert not only(heard)["lost"]
    heard.take(message("refused", kind="bad", what="?", sequence=0), NOW)
    assert only(heard)["lost"]
    heard.take(image(9), NOW)
    assert not only(heard)["lost"] and only(heard, NOW + 1000)["lost"]
    assert heard.refused == {"bad": 1, "late": 0, "doubled": 0}


def test_cbor_says_the_same() -> None:
    heard = Heard()
    for frames in (message("start", number_of_images=7), image(3, "miss"), image(4, resolution=None)):
        heard.take([cbor2.dumps(json.loads(frames[0]))], NOW)
    assert heard.n_foreign == 0
    assert (only(heard)["announced"], only(heard)["judged"], only(heard)["last_hit"]["image_id"]) == (7, 2, 4)


HOSTILE = [
    [cbor2.dumps({"type": "image"})],
    [cbor2.dumps([1])],
    [b"\xa1\xd8\x1c\x80"],
    [b"\xbf" * 100],
    [b"\xfb"],
    [b""],
    [b"\xff\xfe"],
    [b"null"],
    [b"[]"],
    [b"1e999"],
    [b"[" * 100_000],
    [b"9" * 100_000],
    image(1) * 2,
    [],
    message("unknown"),
    message("image"),
    image(-1),
    image(10**30),
    image(1, "great"),
    image(1, "hit", background=float("nan")),
    image(1, "hit", seconds="soon"),
    image(1, "hit", n_spots=True),
    image(1, "hit", n_spots=1.5),
    image(1, "hit", name=["x"]),
    image(1, "hit", sequence=-1),
    message("start", number_of_images=-3),
    message("start", number_of_images={}),
    message("refused", kind="rude", what=""),
    message("end"),
    message("end", **{**END, "counts": [1]}),
    message("end", **{**END, "outputs": 7}),
    message("end", **{**END, "outputs": [7]}),
]


@pytest.mark.parametrize("frames", HOSTILE)
def test_what_is_no_message_is_counted_and_changes_nothing(frames: list[bytes]) -> None:
    heard = Heard()
    heard.take(image(0), NOW)
    before = {name: value for name, value in heard.told(now=NOW).items() if name != "n_foreign"}
    heard.take(frames, NOW)
    after = heard.told(now=NOW)
    assert after.pop("n_foreign") == 1
    assert after == before


def test_texts_are_cut_and_plain() -> None:
    heard = Heard()
    heard.take(message("start", name="<b>\x1b[31m" + "x" * 9999, number_of_images=1), NOW)
    assert only(heard)["name"].startswith("<b> [31mxxx") and len(only(heard)["name"]) == 300


def test_a_publisher_is_followed_and_found_again() -> None:
    key, port = SeriesKey(7, "u"), free_port()
    with Following(f"tcp://127.0.0.1:{port}") as following:
        assert not following.told()["connected"]
        for time in range(2):
            with Publisher(f"tcp://127.0.0.1:{port}") as publisher:
                until(lambda: following.told()["connected"])

                def hear(publisher: Publisher = publisher, time: int = time) -> bool:
                    # Whoever has just connected misses what is published meanwhile.
                    publisher.judged(Verdict(f"s{time}", key, 3, "hit", n_spots=9, n_spots_counted=9, seconds=0.1))
                    return any(series["name"] == f"s{time}" for series in following.told()["series"])

                until(hear)
                publisher.ended(Ended(f"s{time}", key, "its end came", {"hit": 1}))
                until(lambda time=time: following.told()["series"][time]["end"] is not None)
            until(lambda: not following.told()["connected"])
        assert [series["name"] for series in following.told()["series"]] == ["s0", "s1"]
        assert following.told()["n_foreign"] == 0


def test_foreign_publishers_do_no_harm() -> None:
    context, port = zmq.Context(), free_port()
    try:
        with Following(f"tcp://127.0.0.1:{port}") as following:
            sender = context.socket(zmq.PUB)
            sender.bind(f"tcp://127.0.0.1:{port}")

            def hear() -> bool:
                for frames in HOSTILE:
                    if frames:
                        sender.send_multipart(frames)
                return bool(following.told()["n_foreign"] > 50)

            until(hear)
            sender.send(b"x" * (2 << 20))  # cut off, and connected again
            until(lambda: sender.send_multipart(image(4)) is None and following.told()["changes"] > 0)
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("address", ["nonsense", "tcp://host.invalid:1", "tcp://127.0.0.1:99999", "tcp://"])
def test_addresses_that_cannot_be_are_refused(address: str) -> None:
    with pytest.raises(SettingsError):
        Following(address)
