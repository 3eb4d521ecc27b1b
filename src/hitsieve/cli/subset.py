"""`hitsieve subset`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.stopping import stoppable


def subset(
    hits: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    first: int | None = None,
    random: int | None = None,
    seed: int = 0,
    pump: str | None = None,
    d_max: float | None = None,
    min_lattices: int | None = None,
    overwrite: Switch = False,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Write some of the hits of a hit-only file as a hit-only file of their own.

    It has their images as they are stored, and all that is known of them; totals and rates stay those of the run.
    Hits are taken of which all that is given is true.

    Parameters
    ----------
    hits
        Hit-only file that hitsieve run wrote (<stem>_hits.h5).
    output
        File to write.
    first
        At most so many, the first in the order of the run.
    random
        At most so many, drawn at random, in the order of the run.
    seed
        Of --random: the same seed draws the same hits.
    pump
        Pump state of the hits.
    d_max
        Largest resolution estimate d in angstrom: 2.0 takes hits of 2.0 A and better.
    min_lattices
        Fewest lattices of a hit.
    overwrite
        Replace the file if it exists.
    json
        Print what was written as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.view.subset import Choice, SubsetRequest, write_subset

    choice = Choice(first=first, random=random, seed=seed, pump=pump, d_max=d_max, min_lattices=min_lattices)
    request = SubsetRequest(hits, output, choice, overwrite)
    with shown_count("writing (bytes)", wanted=not (json or messages.quiet)) as progress:
        chosen = write_subset(request, progress=stoppable(progress))
    if json:
        import json as encoder

        said = {"path": str(output), "n_hits": chosen.n_hits, "n_of": chosen.n_of, "n_bytes": chosen.n_bytes}
        print(encoder.dumps({**said, "choice": choice.given}, indent=2))
    elif not messages.quiet:
        print(f"{output}: {chosen.n_hits:,} of {chosen.n_of:,} hits, {chosen.n_bytes / 1e6:,.1f} MB")
    return 0
