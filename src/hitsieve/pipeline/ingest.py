"""Brings finished runs to SciCat, through the outbox: what cannot be sent now waits there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitsieve.catalogue.scicat import (
    Credentials,
    Entry,
    Errand,
    Journal,
    NotPermitted,
    Outbox,
    Report,
    SciCat,
    Unavailable,
    hide,
    read_facility,
)
from hitsieve.catalogue.scicat import ingest as send
from hitsieve.errors import HitsieveError, OutputError, ServerError, SettingsError
from hitsieve.pipeline.planning import facts_of, plan_of, read_run, summary_of

_WAITS = "it waits in the outbox: hitsieve ingest --pending sends it"
Progress = Callable[[Literal["hashing", "sending"], int, int], None]


class Taken(OutputError):
    """Another process is at the same errand."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How servers are talked to."""

    credentials: Credentials | None
    patience: float
    """Longest time (s) that is spent on one request that a server does not answer."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one errand."""

    errand: Errand
    report: Report | None
    """None where it failed, or another process is at it."""
    error: HitsieveError | None = None


def errand_of(run: Path, errand: Errand) -> Errand:
    """The errand for a run, with what the run says filled in.

    Parameters
    ----------
    run : Path
        Any output of it, or the folder that holds them.
    errand : Errand
        `run` and `place` in it have no meaning.

    Raises
    ------
    SourceError
        There is no such run.
    MetadataError, SettingsError
        Facts are lacking, or wrong.
    """
    place = summary_of(run)
    _, _, record = read_run(place)
    made = errand.model_copy(update={"run": record.id, "place": str(place)})
    if errand.ingestor and read_facility(errand.facility).pid_prefix is None:
        what = f"facility {errand.facility} has no prefix by which an ingestor chooses identifiers"
        raise SettingsError(what, mend="give another --facility, or leave out --ingestor")
    # What lacks is said before anything waits for it.
    facts_of(made, record)
    return made


def ingest(errand: Errand, outbox: Outbox, connection: Connection, *, progress: Progress | None = None) -> Report:
    """Bring a run to SciCat, or leave it in the outbox.

    Raises
    ------
    ServerError
        The server does not answer, and the errand waits; or it refuses.
    SourceError, MetadataError, SettingsError
        The run or the facts are not as they should be.
    OutputError
        Another process is at it, or the outbox cannot be written.
    """
    entries = outbox.entries("waiting", "refused", "sent")
    is_new = not any((one.errand.server, one.errand.run) == (errand.server, errand.run) for one in entries)
    entry = outbox.put(errand)
    try:
        return _send(entry, outbox, connection, progress, is_new=is_new)
    except ServerError as error:
        if any(one.key == entry.key for one in outbox.entries("waiting")):
            mend = "; ".join(filter(None, (error.mend, _WAITS)))
            raise ServerError(error.what, mend=mend) from error
        raise


def ingest_pending(
    outbox: Outbox, server: str, connection: Connection, *, progress: Progress | None = None
) -> list[Sent]:
    """Send all that waits for a server, the oldest first; what another process is at is passed over."""
    done: list[Sent] = []
    silent: HitsieveError | None = None
    for entry in outbox.entries("waiting"):
        if entry.errand.server != server:
            continue
        if silent is not None:
            done.append(Sent(entry.errand, None, silent))
            continue
        try:
            done.append(Sent(entry.errand, _send(entry, outbox, connection, progress)))
        except Taken:
            done.append(Sent(entry.errand, None))
        except HitsieveError as error:
            done.append(Sent(entry.errand, None, error))
            if any(one.key == entry.key for one in outbox.entries("waiting")):
                # The next one would wait as long for the same, or try the same wrong password.
                silent = error
    return done


def _send(
    entry: Entry, outbox: Outbox, connection: Connection, progress: Progress | None, *, is_new: bool = False
) -> Report:
    errand = entry.errand
    with outbox.claimed(entry.key) as mine:
        if not mine:
            what = f"{errand.place}: another process is bringing it to SciCat"
            raise Taken(what, mend="wait for it, then call hitsieve ingest again")
        # Another process may have sent more of it since.
        entries = outbox.entries("waiting", "refused", "sent")
        entry = next((one for one in entries if one.key == entry.key), entry)
        journal = Journal(entry.steps, lambda steps: outbox.remember(entry.key, steps))
        client = SciCat(errand.server, connection.credentials, patience=connection.patience, insecure=errand.insecure)
        with client:
            try:
                report = _ingest(errand, client, journal, progress)
            except HitsieveError as error:
                _settle(entry, outbox, client, error, is_new=is_new)
                raise
        outbox.settle(entry.key, "sent")
    return report


def _ingest(errand: Errand, client: SciCat, journal: Journal, progress: Progress | None) -> Report:
    # A wrong password is told before large files are hashed.
    client.login()
    plan, told = plan_of(errand, progress=_of("hashing", progress))
    report = send(client, plan, journal=journal, progress=_of("sending", progress))
    report.warnings[:0] = told
    return report


def _settle(entry: Entry, outbox: Outbox, client: SciCat, error: HitsieveError, *, is_new: bool) -> None:
    """Keep an errand that may do later; what was refused stays with its reason."""
    reason = hide(str(error), client.secrets())
    # Until a token has worked once it may have expired; after that, 403 says that the account lacks the right.
    unknown = isinstance(error, NotPermitted) and (error.status == 401 or not client.has_worked)
    later = unknown or isinstance(error, Unavailable)
    if not later and is_new and not client.has_worked:
        # Nothing of it was ever sent, and the user is told now.
        outbox.drop(entry.key)
    else:
        outbox.settle(entry.key, "waiting" if later else "refused", reason)


def _of(what: Literal["hashing", "sending"], progress: Progress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)
