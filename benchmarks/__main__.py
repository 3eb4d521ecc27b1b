"""`python -m benchmarks`: one table, what | measured | reach | met."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    answers,
    campaign,
    cluster,
    copying,
    gpu,
    indexing,
    indexing_peers,
    ingesting,
    keeping,
    live,
    memory,
    pages,
    peers,
    search,
    serving,
    speed,
    viewing,
)
from benchmarks.bench import Bench
from benchmarks.machine import OtherPrograms, facts
from benchmarks.table import Row
from hitsieve.testing import SimulateSettings

PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "run": speed.over_decoding,
    "workers": speed.two_workers,
    "cluster": cluster.cluster,
    "gpu": gpu.gpu,
    "index-speed": speed.indexing_too,
    "copy": copying.copied,
    "keep": keeping.kept,
    "memory": memory.peaks,
    "live": live.live,
    "answers": answers.hits_and_blanks,
    "weak": answers.weak_set,
    "search": search.search,
    "serve": serving.serving,
    "view": viewing.viewing,
    "ingest": ingesting.ingesting,
    "pages": pages.pages,
    "campaign": campaign.campaign,
    "help": speed.help_text,
    "agree": answers.agreement,
    "index": indexing.indexing,
    "peers": peers.peers,
    "indexing-peers": indexing_peers.indexing,
}
SMOKE = (
    "run",
    "workers",
    "index-speed",
    "copy",
    "keep",
    "memory",
    "live",
    "answers",
    "weak",
    "search",
    "serve",
    "view",
    "ingest",
    "pages",
    "campaign",
    "agree",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; 1 where answers do not agree that must."""
    options = parse(arguments)
    bench = make_bench(options)
    bench.work.mkdir(parents=True, exist_ok=True)
    # Runs are entered into a catalogue, as a user's are, but not into the user's.
    os.environ["HITSIEVE_CATALOGUE"] = str(bench.work / "catalogue.sqlite")
    bench.report.facts.update(facts(bench))
    others = OtherPrograms()
    for name in options.rows or (SMOKE if options.smoke else tuple(PARTS)):
        start = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        bench.report.rows += PARTS[name](bench)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    bench.report.facts["other programs"] = f"{others}; above 5 % they blur the ratios"
    print(bench.report.markdown())
    for path in bench.report.write(bench.work):
        print(path, file=sys.stderr)
    return 0 if bench.report.agrees else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "hitsieve-benchmarks", help="working folder; kept")
    add("--rows", type=_names, default=(), help=f"some of {','.join(PARTS)}; default: all")
    add("--images", type=int, default=1000, help="images of the timed run")
    add("--weak-images", type=int, default=400, help="images of the weak set")
    add("--rounds", type=int, default=5, help="times that jobs take turns")
    add("--peer-images", type=int, default=20, help="images of the timed run that peers search")
    add("--weak-peer-images", type=int, default=40, help="images of the weak set that peers search")
    add("--reference-images", type=int, default=4, help="images compared with the plain NumPy finder")
    add("--om-python", default=sys.executable, help="Python of the environment where OM is installed")
    add("--long", action="store_true", help="as many simulated spot lists as the reported numbers come from")
    add("--smoke", action="store_true", help="few images of a tiny detector, one round: does it work at all?")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.images, options.weak_images, options.rounds = 30, 30, 1
    return options


def make_bench(options: argparse.Namespace) -> Bench:
    """The bench of these options."""
    detector = "test-256k" if options.smoke else "jungfrau-4m"
    hit_fraction = 0.3 if options.smoke else 0.05
    return Bench(
        work=options.work.resolve(),
        main_settings=SimulateSettings(
            name="main",
            images=options.images,
            detector=detector,
            dtype="i16",
            hit_fraction=hit_fraction,
        ),
        weak_settings=SimulateSettings.weak(images=options.weak_images, detector=detector, dtype="i16"),
        rounds=options.rounds,
        peer_images=options.peer_images,
        weak_peer_images=options.weak_peer_images,
        reference_images=options.reference_images,
        om_python=options.om_python,
        long=options.long,
        smoke=options.smoke,
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no {', '.join(unknown)} among {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
