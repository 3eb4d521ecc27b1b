"""`hitsieve demo`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hitsieve.cli.options import Messages
from hitsieve.cli.progress import shown, shown_count
from hitsieve.cli.screen import print_outputs, print_summary
from hitsieve.cli.stopping import stoppable

if TYPE_CHECKING:
    from hitsieve.pipeline import RunReport
    from hitsieve.settings import RunSettings
    from hitsieve.testing import Simulated, SimulateSettings

IMAGES = 400
JET_STOP = (150, 270)


def demo(
    *,
    output: Annotated[Path, Parameter(alias="-o")] = Path("hitsieve-demo"),
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Simulate a small run, sieve it, and compare with the truth.

    The run has 400 images of a JUNGFRAU 4M, 8 % of them hits while the jet runs; it stops once.

    Parameters
    ----------
    output
        Folder for all files; made if absent. Files of an earlier demo in it are replaced.
    """
    messages.set_up_logging()

    from hitsieve import pipeline
    from hitsieve.testing import simulate
    from hitsieve.testing.score import score

    settings = _simulation()
    say = _silent if messages.quiet else print
    say(f"Simulating {IMAGES} images of a JUNGFRAU 4M into {output}; the jet stops once ...", flush=True)
    with shown_count("simulating", wanted=not messages.quiet) as counted:
        made = simulate(output, settings, progress=stoppable(counted))
    say("Sieving them ...\n", flush=True)
    with shown(wanted=not messages.quiet) as progress:
        report = pipeline.run([made.master], _settings(output), progress=stoppable(progress))
    if not messages.quiet:
        _print_report(made, report)
        print(f"\nAgainst the truth: {score(made.truth, report.outputs.images)}.")
        _print_next(made, report)
    return 0


def _settings(output: Path) -> RunSettings:
    """A catalogue of its own: the user's is for runs that were measured."""
    from hitsieve.settings import CatalogueSettings, RunSettings, WriteSettings

    return RunSettings(
        write=WriteSettings(output=output, overwrite=True),
        catalogue=CatalogueSettings(catalogue=output / "catalogue.sqlite"),
    )


def _simulation() -> SimulateSettings:
    from hitsieve.testing import SimulateSettings

    first, last = JET_STOP
    return SimulateSettings(
        name="demo", images=IMAGES, hit_fraction=0.08, jet_stops=(f"{first}:{last}",), seed=1, overwrite=True
    )


def _print_report(made: Simulated, report: RunReport) -> None:
    print_summary(report.summary)
    print_outputs(report.outputs)
    print(f"{'source':<12}{made.master}")
    print(f"{'truth':<12}{made.truth}")


def _print_next(made: Simulated, report: RunReport) -> None:
    folder = report.outputs.hits.parent
    named = (report.outputs.hits, made.master, folder / "strict", folder / "catalogue.sqlite")
    hits, master, strict, catalogue = (quote(str(path)) for path in named)
    print("\nTry next:")
    print(f"  hitsieve verify {hits} --source {master}")
    print(f"  hitsieve explain {hits} 12")
    print(f"  hitsieve rethink {hits} -o {strict} --rule both --min-spots 20")
    print(f"  hitsieve search 'hit_rate > 1 %' --catalogue {catalogue}")
    print("  hitsieve run --help")


def _silent(text: str, *, flush: bool = False) -> None:
    """Say nothing."""
