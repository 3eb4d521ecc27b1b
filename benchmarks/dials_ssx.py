"""Runs in DIALS' Python: `dials.ssx_index` on the arguments given; the last line is the CPU seconds of indexing alone.

Debian's DIALS lacks the extension module that estimates mosaicity (Nave's model), without which its stills indexer
fails on every image. That step is replaced by one that accepts every reflection and prefers no candidate. It comes
after orientation and cell are found; where it rejects outliers in a full DIALS, here it does not.
"""

import sys
import time
from typing import Any

from dials.algorithms.indexing import nave_parameters, stills_indexer  # type: ignore[import-not-found]
from dials.array_family import flex  # type: ignore[import-not-found]
from dials.command_line import ssx_index  # type: ignore[import-not-found]
from dxtbx.model import MosaicCrystalSauter2014  # type: ignore[import-not-found]


class NoMosaicity:
    """Stands for the mosaicity model."""

    green_curve_area = 1.0

    def __init__(
        self, params: Any, experiments: Any, reflections: Any, refinery: Any, graph_verbose: Any = None
    ) -> None:
        self.experiments = experiments
        self.nv_acceptance_flags = flex.bool(len(reflections), True)

    def __call__(self) -> Any:
        """Give each crystal some mosaicity."""
        for experiment in self.experiments:
            experiment.crystal = MosaicCrystalSauter2014(experiment.crystal)
            experiment.crystal.set_half_mosaicity_deg(0.1)
            experiment.crystal.set_domain_size_ang(1000)
        return self.experiments.crystals()

    def ewald_proximal_volume(self, number: int = 0) -> float:
        """Say the same of every candidate."""
        return 0.0


def main() -> None:
    """Index, and tell the time."""
    nave_parameters.NaveParameters = stills_indexer.NaveParameters = NoMosaicity
    seconds = []
    index = ssx_index.index

    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return index(*arguments, **named)
        finally:
            seconds.append(time.process_time() - start)

    ssx_index.index = timed
    ssx_index.run(sys.argv[1:])
    print(sum(seconds))


main()
