"""`hitsieve run`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hitsieve.cli.cluster import ClusterFlags
from hitsieve.cli.config import read_settings
from hitsieve.cli.options import CATALOGUE, CLUSTER, INDEX, SOURCE, SPOTS, VERDICT, WRITE, AsJson, Messages, Whole
from hitsieve.cli.progress import shown
from hitsieve.cli.screen import Warnings, print_next, print_outputs, print_summary
from hitsieve.cli.stopping import stoppable
from hitsieve.settings import (
    CatalogueSettings,
    IndexSettings,
    SourceSettings,
    SpotSettings,
    VerdictSettings,
    WriteSettings,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from hitsieve.model import Run

_log = logging.getLogger(__name__)


class WriteFlags(WriteSettings):
    """Write settings, with the short flag of the output folder."""

    output: Annotated[Path, Parameter(alias="-o")] = Path()
    """Folder for the outputs; made if absent."""


class CatalogueFlags(CatalogueSettings):
    """Catalogue settings, with a flag that has no opposite."""

    no_catalogue: Annotated[bool, Parameter(negative=())] = False
    """Do not enter the run into any."""


def run(
    paths: tuple[Path, ...],
    /,
    *,
    config: Path | None = None,
    workers: Whole | None = None,
    engine: Literal["auto", "cpu", "gpu"] | None = None,
    json: AsJson = False,
    source: Annotated[SourceSettings, Parameter(name="*", group=SOURCE)] = SourceSettings(),  # noqa: B008 - frozen
    spots: Annotated[SpotSettings, Parameter(name="*", group=SPOTS)] = SpotSettings(),  # noqa: B008
    index: Annotated[IndexSettings, Parameter(name="*", group=INDEX)] = IndexSettings(),  # noqa: B008
    verdict: Annotated[VerdictSettings, Parameter(name="*", group=VERDICT)] = VerdictSettings(),  # noqa: B008
    write: Annotated[WriteFlags, Parameter(name="*", group=WRITE)] = WriteFlags(),  # noqa: B008
    catalogue: Annotated[CatalogueFlags, Parameter(name="*", group=CATALOGUE)] = CatalogueFlags(),  # noqa: B008
    cluster: Annotated[ClusterFlags, Parameter(name="*", group=CLUSTER)] = ClusterFlags(),  # noqa: B008
    messages: Messages = Messages(),  # noqa: B008
) -> int:
    """Flag every image of a stored run and write the hits.

    Leaves <stem>_hits.h5, <stem>_annotated.h5, <stem>_images.parquet and <stem>_summary.json in the output folder, with
    --misses keep <stem>_misses.h5 as well: all of them, or none. The run is then entered into the local catalogue,
    where hitsieve search finds it.

    Parameters
    ----------
    paths
        A NeXus/NXmx or DECTRIS master file, or one or many data files or images.
    config
        TOML file with settings, a table per room; flags win over it.
    workers
        Worker threads; 0: one a core.
    engine
        Who finds spots and lattices: cores (cpu), graphics cards (gpu), or cards where they can be used and the run is
        long (auto). What is found is the same.
    json
        Print the summary as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    rooms: dict[str, BaseModel] = {"source": source, "spots": spots, "index": index, "verdict": verdict, "write": write}
    rooms |= {"catalogue": catalogue, "cluster": cluster}
    settings = read_settings(config, rooms, workers, engine)

    from hitsieve import __version__, pipeline
    from hitsieve._core import cpu_features

    _log.info("version %s, kernels for %s", __version__, cpu_features())
    _log.debug("settings %s", settings.model_dump_json())
    warn = Warnings()
    with shown(wanted=not (json or messages.quiet)) as progress:
        step = stoppable(progress)
        report = pipeline.run(paths, settings, progress=step, opened=lambda found: _tell(found, warn))
    warn(report.problems)
    if json:
        print(report.summary.model_dump_json(indent=2))
    elif not messages.quiet:
        print_summary(report.summary)
        print_outputs(report.outputs)
        print_next(report.outputs)
    return 0


def _tell(found: Run, warn: Warnings) -> None:
    """Say what was opened and what it lacks, before any work: whoever forgot a mask need not wait for the end."""
    shape, dtype = found.detector.shape, found.dtype.name
    _log.info("%s: %s %s images, style %s, %d files", found.path, shape, dtype, found.style, len(found.files))
    warn(found.problems)
