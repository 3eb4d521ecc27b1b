"""`hitsieve simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from hitsieve.cli.options import Messages
from hitsieve.cli.progress import shown_count
from hitsieve.cli.stopping import stoppable
from hitsieve.testing import SimulateSettings
from hitsieve.testing import simulate as make

SIMULATION = Group("Simulation: what the run is like")


def simulate(
    output: Path,
    /,
    *,
    preset: Annotated[Literal["weak"] | None, Parameter(group=SIMULATION)] = None,
    settings: Annotated[SimulateSettings, Parameter(name="*", group=SIMULATION)] = SimulateSettings(),  # noqa: B008
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Write a simulated run, with its truth beside it.

    Parameters
    ----------
    output
        Folder for the master file, the data files and the truth; made if absent.
    preset
        weak: half of the images are hits, of 10 to 60 spots of 10 to 250 photons, over a flat background of 0.5 counts
        a pixel; other flags win over it.
    """
    messages.set_up_logging()
    chosen = SimulateSettings.weak(**settings.model_dump(exclude_unset=True)) if preset == "weak" else settings
    with shown_count("simulating", wanted=not messages.quiet) as progress:
        made = make(output, chosen, progress=stoppable(progress))
    if not messages.quiet:
        for path in (made.master, *made.data_files, made.truth, made.truth_spots):
            print(path)
    return 0
