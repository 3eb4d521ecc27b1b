"""Peak memory of the command, for a run and for one ten times as long."""

from __future__ import annotations

import numpy as np

from benchmarks import child
from benchmarks.answers import column
from benchmarks.bench import Bench
from benchmarks.data import rearranged
from benchmarks.table import Row

REACH_MB, REACH_SHARE = 400, 0.1
TIMES = 10


def peaks(bench: Bench) -> list[Row]:
    """The longer run has the same images ten times over."""
    run = bench.main
    longer = rearranged(run, "tenfold", [range(len(run))] * TIMES)
    folders = bench.folder("once"), bench.folder("tenfold")
    once, tenfold = (
        1e-6 * float(child.call("memory", master=master, output=output)["bytes"])
        for master, output in zip((run.master, longer), folders, strict=True)
    )
    states = column(folders[0] / f"{run.settings.name}_images.parquet", "state")
    repeated = column(folders[1] / "tenfold_images.parquet", "state")
    bench.report.check(
        f"an image has the same state each of {TIMES} times in one run",
        np.array_equal(repeated, np.tile(states, TIMES)),
        f"{len(repeated)} images",
    )
    growth = tenfold / once - 1.0
    reach = f"<= {REACH_MB} MB, equal within {REACH_SHARE:.0%}"
    measured = f"{once:.0f} and {tenfold:.0f} MB ({growth:+.1%})"
    met = max(once, tenfold) <= REACH_MB and abs(growth) <= REACH_SHARE
    what = f"peak memory, {len(run)} and {TIMES * len(run)} images"
    return [Row(what, measured, reach, met, {"mb": once, "mb_tenfold": tenfold})]
