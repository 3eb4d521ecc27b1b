"""`hitsieve simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from hitsieve.cli.options import Messages
from hitsieve.cli.progress import shown_count
from hitsieve.cli.screen import number_of
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SettingsError
from hitsieve.testing import SimulateSettings, StreamSettings
from hitsieve.testing import simulate as make

SIMULATION = Group("Simulation: what the run is like")
STREAM = Group("Stream: how the run is sent")


class StreamFlags(StreamSettings):
    """Stream settings, with a flag that has no opposite."""

    no_start: Annotated[bool, Parameter(negative=())] = False
    """The start is lost."""


def simulate(
    output: Path,
    /,
    *,
    preset: Annotated[Literal["weak"] | None, Parameter(group=SIMULATION)] = None,
    settings: Annotated[SimulateSettings, Parameter(name="*", group=SIMULATION)] = SimulateSettings(),  # noqa: B008
    stream: Annotated[tuple[str, ...], Parameter(group=STREAM)] = (),
    replay: Annotated[bool, Parameter(negative=(), show_default=False, group=STREAM)] = False,
    sending: Annotated[StreamFlags, Parameter(name="*", group=STREAM)] = StreamFlags(),  # noqa: B008
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Write a simulated run, with its truth beside it, or send a run as a detector does.

    Parameters
    ----------
    output
        Folder for the master file, the data files and the truth; made if absent. With --replay, a stored run.
    preset
        weak: half of the images are hits, of 10 to 60 spots of 10 to 250 photons, over a flat background of 0.5 counts
        a pixel; other flags win over it.
    stream
        Send the run as DECTRIS Stream2 from this address, such as tcp://*:31001, where hitsieve live may connect to;
        may be given more than once.
    replay
        Simulate nothing: send the images of the stored run that is named.
    """
    messages.set_up_logging()
    chosen = SimulateSettings.weak(**settings.model_dump(exclude_unset=True)) if preset == "weak" else settings
    if replay:
        if not stream:
            raise SettingsError("a stored run is to be sent, but not where from", mend="give --stream tcp://*:31001")
        master = output
    else:
        with shown_count("simulating", wanted=not messages.quiet) as progress:
            made = make(output, chosen, progress=stoppable(progress))
        master = made.master
        if not messages.quiet:
            for path in (made.master, *made.data_files, made.truth, made.truth_spots):
                print(path, flush=True)
    if stream:
        _send(master, stream, StreamSettings.model_validate(sending.model_dump()), wanted=not messages.quiet)
    return 0


def _send(master: Path, addresses: tuple[str, ...], settings: StreamSettings, *, wanted: bool) -> None:
    try:
        from hitsieve.testing.stream import StreamedSeries, StreamSender
    except ModuleNotFoundError as error:
        raise SettingsError(f"sending needs {error.name}", mend="pip install cbor2 prometheus-client pyzmq") from None
    from hitsieve.source import open_run

    with (
        open_run(master) as opened,
        StreamSender(addresses) as sender,
        shown_count("sending", wanted=wanted) as progress,
    ):
        # A stored run may be larger than memory.
        series = StreamedSeries.of(opened, settings.series_id, at_once=False)
        sent = sender.send(series, settings, progress=stoppable(progress))
    if wanted:
        print(f"{number_of(len(sent), 'image')} sent")
