"""`hitsieve live`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

from cyclopts import Group, Parameter

from hitsieve.cli.config import read_settings
from hitsieve.cli.options import CATALOGUE, INDEX, SOURCE, SPOTS, VERDICT, WRITE, Messages, Whole
from hitsieve.cli.run import CatalogueFlags, WriteFlags
from hitsieve.cli.stopping import say, stopped_once
from hitsieve.errors import SettingsError
from hitsieve.settings import IndexSettings, LiveSettings, SourceSettings, SpotSettings, VerdictSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

    from hitsieve.model import SeriesKey
    from hitsieve.pipeline.live import Ended, Load, Verdict, Watcher

LIVE = Group("Live: how the stream is received, and who is told")
FAILED = 4
_STOPS = (
    "stopping: the series that are open end with what was received",
    "stopped at once; what was received stays in the spool folder",
)
_log = logging.getLogger(__name__)


class LiveWriteFlags(WriteFlags):
    """Write settings, as a stream needs them."""

    misses: Literal["sample", "keep"] = "keep"
    """keep: write all misses, and the bytes of unreadable images, to a file of their own: with the hits they are all
    that was received; sample: keep only a random sample of the misses, in the hit-only file; the others are lost."""
    overwrite: Annotated[bool, Parameter(parse=False)] = False


class LiveFlags(LiveSettings):
    """Live settings, with a flag that has no opposite."""

    keep_received: Annotated[bool, Parameter(negative=())] = False
    """Keep the received images, an NXmx master with data files for each series, and the annotated master over them."""
    parts: Annotated[bool, Parameter(negative=())] = False
    """Write hits while a series comes: for each thousand images, once all of them have come, a file
    NAME_part_000001_hits.h5, by spots alone. They stay; the hits of the whole series come at its end all the same."""


def live(
    addresses: tuple[str, ...],
    /,
    *,
    config: Path | None = None,
    workers: Whole | None = None,
    source: Annotated[SourceSettings, Parameter(name="*", group=SOURCE)] = SourceSettings(),  # noqa: B008 - frozen
    spots: Annotated[SpotSettings, Parameter(name="*", group=SPOTS)] = SpotSettings(),  # noqa: B008
    index: Annotated[IndexSettings, Parameter(name="*", group=INDEX)] = IndexSettings(),  # noqa: B008
    verdict: Annotated[VerdictSettings, Parameter(name="*", group=VERDICT)] = VerdictSettings(),  # noqa: B008
    write: Annotated[LiveWriteFlags, Parameter(name="*", group=WRITE)] = LiveWriteFlags(),  # noqa: B008
    catalogue: Annotated[CatalogueFlags, Parameter(name="*", group=CATALOGUE)] = CatalogueFlags(),  # noqa: B008
    stream: Annotated[LiveFlags, Parameter(name="*", group=LIVE)] = LiveFlags(),  # noqa: B008
    messages: Messages = Messages(),  # noqa: B008
) -> int:
    """Receive series from a detector, flag their images as they come, and write the hits of each.

    May be started before the detector. When a series has ended, its outputs are those of hitsieve run --misses keep,
    named after the series (series_000017_hits.h5, ...), but for the annotated master, which needs the received images:
    they are removed once hits and misses are proven to hold all of them, unless they are to be kept. Ctrl-C or SIGTERM
    ends the series that are open with what was received; a second one stops at once, and what was received stays in
    the spool folder.

    Parameters
    ----------
    addresses
        Sockets that send DECTRIS Stream2 or Jungfraujoch messages, such as tcp://host:31001; name all over which a
        detector spreads its images.
    config
        TOML file with settings, a table per room; flags win over it.
    workers
        Worker threads; 0: one a core.
    """
    messages.set_up_logging()
    rooms: dict[str, BaseModel] = {"source": source, "spots": spots, "index": index, "verdict": verdict, "write": write}
    rooms["catalogue"] = catalogue
    settings = read_settings(config, rooms, workers)
    chosen = LiveSettings.model_validate(stream.model_dump())
    try:
        from hitsieve.pipeline.live import losing_nothing, receive
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"hitsieve live needs {error.name}", mend="pip install cbor2 prometheus-client pyzmq"
        ) from None
    kept = losing_nothing(settings, chosen).write.misses
    if chosen.veto != "off":
        _log.warning("--veto: of the misses only a random sample is written, the others are lost for good")
    elif kept == "sample" and not chosen.keep_received:
        _log.warning("--misses sample: of the misses only a random sample is kept, the others are lost for good")
    tells = _Tells(quiet=messages.quiet)
    with ExitStack() as stack, stopped_once(*_STOPS) as stop:
        watchers: list[Watcher] = [tells, *_asked_for(chosen, stack)]
        ended = receive(
            addresses, settings, chosen, watchers=watchers, stop=stop, ready=lambda: tells.waiting(addresses)
        )
    return FAILED if any(series.failed for series in ended) else 0


def _asked_for(chosen: LiveSettings, stack: ExitStack) -> Iterator[Watcher]:
    # Counted before published: who is told of an image or a series finds it in the metrics.
    if chosen.metrics is not None:
        from hitsieve.pipeline.live.metrics import Metrics

        yield stack.enter_context(Metrics(chosen.metrics))
    if chosen.publish is not None:
        from hitsieve.pipeline.live.publish import Publisher

        yield stack.enter_context(Publisher(chosen.publish, chosen.publish_format))


class _Tells:
    """Says on stdout what became of each series, and on stderr that it has begun."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def waiting(self, addresses: tuple[str, ...]) -> None:
        self._say(f"waiting for series from {', '.join(addresses)}", sys.stderr)

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        announced = "an unknown number of" if n_images is None else f"{n_images:,}"
        self._say(f"{name}: {key} has begun, {announced} images", sys.stderr)

    def arrived(self, size: int) -> None:
        pass

    def judged(self, verdict: Verdict) -> None:
        pass

    def ended(self, ended: Ended) -> None:
        for problem in ended.problems:
            _log.warning("%s", problem)
        if ended.failed:
            _log.error("%s: no outputs (%s): %s", ended.name, ended.why, ended.failed)
            return
        counts = ", ".join(f"{n:,} {state}" for state, n in ended.counts.items())
        extra = "".join(
            f", {n:,} {what}"
            for what, n in (
                ("dropped", ended.dropped),
                ("doubled", ended.doubled),
                ("not judged when they came", ended.later),
            )
            if n
        )
        self._say(f"{ended.name}: {ended.why}; {counts}{extra}; {ended.outputs[0]}", sys.stdout)

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        pass

    def load(self, load: Load) -> None:
        pass

    def _say(self, text: str, where: TextIO) -> None:
        if not self._quiet:
            say(text, where)
