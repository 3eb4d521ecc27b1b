"""The main job as one Python call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve import pipeline
from hitsieve.settings import RunSettings

if TYPE_CHECKING:
    from hitsieve.model import Run
    from hitsieve.pipeline import Progress, RunReport


def run(
    paths: str | Path | Sequence[str | Path],
    *,
    output: str | Path | None = None,
    settings: RunSettings | None = None,
    progress: Callable[[Progress], None] | None = None,
    opened: Callable[[Run], None] | None = None,
) -> RunReport:
    """Flag every image of a stored run and write the hits.

    Parameters
    ----------
    paths
        A master file, or one or many data files or images.
    output
        Folder for the outputs; wins over ``settings.write.output``.
    settings
        All settings; the defaults if absent.
    progress
        Called after every batch of images; of those that are looked at first, with none done.
    opened
        Called with the run once it is open, before anything is searched; `Run.problems` says what it lacks.

    Returns
    -------
    RunReport
        The summary, the paths of the outputs, and what the source lacks.

    Raises
    ------
    HitsieveError
        With what was wrong, where, and the mend; no output is left behind.
    """
    chosen = settings or RunSettings()
    if output is not None:
        chosen = chosen.model_copy(update={"write": chosen.write.model_copy(update={"output": Path(output)})})
    named = [paths] if isinstance(paths, str | Path) else paths
    return pipeline.run([Path(path) for path in named], chosen, progress=progress, opened=opened)
