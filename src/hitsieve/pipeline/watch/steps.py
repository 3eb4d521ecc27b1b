"""What is done with a whole run, step by step. Each step may be begun again whatever became of it before."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from hitsieve.catalogue import Catalogue, default_catalogue
from hitsieve.catalogue.scicat import (
    PASSWORD,
    TOKEN,
    USER,
    Credentials,
    Errand,
    Facts,
    Outbox,
    checked_url,
    default_outbox,
    known_credentials,
    read_facility,
    wrong_facts,
)
from hitsieve.check import Severity
from hitsieve.errors import ServerError, SettingsError, VerificationError
from hitsieve.pipeline.apart import goes_on, is_asked_to_stop
from hitsieve.pipeline.check import check
from hitsieve.pipeline.claim import finished
from hitsieve.pipeline.ingest import Connection, errand_of, ingest
from hitsieve.pipeline.register import known_record
from hitsieve.pipeline.run import run
from hitsieve.pipeline.verify import verify
from hitsieve.pipeline.watch.finding import is_whole
from hitsieve.pipeline.watch.journal import Journal
from hitsieve.pipeline.watch.mending import Held, Later
from hitsieve.pipeline.watch.rows import RUN, STEPS, RunRow, is_folder, stamps_of
from hitsieve.pipeline.watch.settings import BeamlineSettings, ScicatSettings
from hitsieve.write import Outputs, Summary, remove_leftovers

Step = Callable[[RunRow, BeamlineSettings, Journal], str]
"""Does one step; what came of it, in words."""
_AGAIN = "put them back, or call hitsieve retry --again"


class Stopped(Exception):
    """Whoever started the watcher wants it to end."""


def steps_of(settings: BeamlineSettings) -> tuple[str, ...]:
    """Names of the steps that a run goes through once it is whole."""
    left_out = {"catalogue"} if settings.catalogue.no_catalogue else set()
    if settings.scicat.server is None:
        left_out.add("scicat")
    return tuple(name for name in STEPS[STEPS.index(RUN) :] if name not in left_out)


def outputs_of(row: RunRow, settings: BeamlineSettings) -> Outputs:
    """Files that a run leaves, but for those of single pump states."""
    assert row.folder is not None  # noqa: S101 - it is whole
    return Outputs.of(row.folder, row.stem, misses=settings.write.misses == "keep")


def _sieve(row: RunRow, settings: BeamlineSettings, journal: Journal) -> str:
    row = _as_it_is_now(row, settings, journal)
    outputs = outputs_of(row, settings)
    before = finished(outputs)
    _refuse_others(row, outputs, before, foreign=row.begun is None and not journal.others_begun(row))
    if before is not None and _is_of(before, row, journal):
        remove_leftovers(outputs, replaced=True)
        journal.count(row.key, before.n_images, before.n_hits)
        return f"{before.n_hits:,} of {before.n_images:,} images are hits; it was sieved before"
    overwrite = any(path.exists() for path in outputs)
    journal.own(row.key)
    write = settings.write.model_copy(update={"output": row.folder, "overwrite": overwrite})
    catalogue = settings.catalogue.model_copy(update={"no_catalogue": True})
    chosen = settings.run.model_copy(update={"write": write, "catalogue": catalogue})
    report = run(
        [row.path],
        chosen,
        step=_stop_where_asked,
        # Now it is known which pump states have files.
        opened=lambda found: remove_leftovers(Outputs.of_run(found, write)),
    )
    remove_leftovers(report.outputs, replaced=True)
    if not row.is_as_found and not row.as_it_is:
        # What is there now must not be found as if it were of this run.
        journal.own(row.key)
        raise Later(f"{row.path}: it, or a data file, changed while it was sieved", mend="it is sieved again")
    summary = report.summary
    journal.count(row.key, summary.n_images, summary.n_hits)
    told = f"; {len(report.problems)} remarks, first: {report.problems[0]}" if report.problems else ""
    return f"{summary.n_hits:,} of {summary.n_images:,} images are hits{told}"


def _as_it_is_now(row: RunRow, settings: BeamlineSettings, journal: Journal) -> RunRow:
    """The run, with its data files as they are now, should they have changed since it was found whole.

    Raises
    ------
    Later
        It is whole no more.
    """
    if row.as_it_is or row.is_as_found:
        return row
    whole = is_whole(row.path)
    files = stamps_of((row.path, *(path for path in whole.files if path != row.path)))
    lacks = whole.lacks or next((f"{row.path}: a data file is not there" for stamp in files if stamp is None), "")
    if lacks and settings.watch.incomplete == "hold":
        raise Later(lacks, mend="complete its files; or hitsieve retry --as-it-is")
    journal.renew(row.key, [stamp for stamp in files if stamp is not None])
    return journal.row(row.key) or row


def _refuse_others(row: RunRow, outputs: Outputs, before: Summary | None, *, foreign: bool) -> None:
    """Never replace what is not the watcher's own.

    Raises
    ------
    Held
        It would.
    """
    if before is not None and before.source.path != str(row.path.resolve()):
        what = f"{outputs.summary}: is of another run with the same name ({before.source.path})"
        raise Held(what, mend="have watch.output tell them apart, as with {inside}; then hitsieve retry")
    there = [path for path in outputs if path.exists()]
    if before is None and there and foreign:
        what = f"{there[0]}: is there, and is no output of this run that is whole"
        raise Held(what, mend="move it away, then hitsieve retry")


def _is_of(summary: Summary, row: RunRow, journal: Journal) -> bool:
    """Whether results that are there are of the run as it is now."""
    at = summary.date.timestamp()
    if row.begun is not None:
        return at >= row.begun
    return not journal.others_begun(row) and at >= max(stamp.seconds for stamp in row.files)


def _stop_where_asked() -> None:
    """Called wherever a step has got further."""
    goes_on()
    if is_asked_to_stop():
        raise Stopped


def _whole(row: RunRow, settings: BeamlineSettings) -> tuple[Outputs, Summary]:
    """Outputs of a run, all of which are there.

    Raises
    ------
    Held
        They are not, though their folder is.
    Later
        Their folder is not.
    """
    outputs = outputs_of(row, settings)
    summary = finished(outputs)
    if summary is None:
        folder = outputs.summary.parent
        if not is_folder(folder):
            raise Later(f"{folder}: is not there", mend="bring back the share that it is on")
        lost = next((path for path in outputs if not path.is_file()), outputs.summary)
        raise Held(f"{lost}: is gone, or damaged", mend=_AGAIN)
    return outputs, summary


def _check(row: RunRow, settings: BeamlineSettings, journal: Journal) -> str:
    del journal
    outputs, _ = _whole(row, settings)
    files = [outputs.hits, *([outputs.misses] if outputs.misses is not None else [])]
    found = check(files, progress=lambda *_: _stop_where_asked())
    said = []
    for checked in found:
        first = next((f"{one.place}: {one.what}" for one in checked.findings if one.severity is Severity.ERROR), None)
        if first is not None:
            said.append(f"{checked.count(Severity.ERROR)} errors in {checked.path.name}, first: {first}")
    n_warnings = sum(checked.count(Severity.WARNING) for checked in found)
    return "; ".join([*said, f"{n_warnings} warnings"])


def _verify(row: RunRow, settings: BeamlineSettings, journal: Journal) -> str:
    del journal
    outputs, _ = _whole(row, settings)
    n = 0
    for path in (outputs.hits, outputs.misses):
        if path is None:
            continue
        report = verify(path, row.path, step=_stop_where_asked)
        n += report.n
        if report.failures:
            first = report.failures[0]
            what = (
                f"{path}: {len(report.failures)} of {report.n} images are not as in {row.path}, first: {first.reason}"
            )
            raise VerificationError(what, mend="keep source and outputs, and find out which of them is damaged")
    return f"{n:,} stored images are as in the source"


def _enter(row: RunRow, settings: BeamlineSettings, journal: Journal) -> str:
    del journal
    outputs, summary = _whole(row, settings)
    place = settings.catalogue.catalogue or default_catalogue()
    with Catalogue(place, create=True) as catalogue:
        change = catalogue.add(known_record(outputs, summary))
    return " ".join(filter(None, (change.what, change.why and f"({change.why})", f"in {place}")))


def _register(row: RunRow, settings: BeamlineSettings, journal: Journal) -> str:
    del journal
    outputs, _ = _whole(row, settings)
    chosen = settings.scicat
    credentials = _credentials(chosen)
    errand = errand_of(outputs.summary, errand_for(chosen))
    with Outbox(chosen.outbox or default_outbox()) as outbox:
        try:
            report = ingest(errand, outbox, Connection(credentials, chosen.patience), progress=_stop_between)
        except ServerError as error:
            waits = any(one.errand.run == errand.run for one in outbox.entries("waiting"))
            raise (Later if waits else Held)(error.what, mend=error.mend) from error
    made = [f"{what} {one.pid}" for what, one in (("raw", report.raw), ("hits", report.derived)) if one is not None]
    return "; ".join((", ".join(made), *report.warnings))


def _credentials(chosen: ScicatSettings) -> Credentials:
    credentials = known_credentials(chosen.token_file)
    if credentials is None:
        mend = f"set {TOKEN}, or {USER} and {PASSWORD}, or scicat.token_file in the settings"
        raise SettingsError("who registers runs in SciCat is not known", mend=mend)
    return credentials


def check_scicat(chosen: ScicatSettings) -> None:
    """Tell at the start, not after the first run, what nobody could register runs with.

    Raises
    ------
    SettingsError
        The address, the facility or the facts make no sense, or there are no credentials.
    """
    if chosen.server is not None:
        _credentials(chosen)
        read_facility(errand_for(chosen).facility)


def errand_for(chosen: ScicatSettings) -> Errand:
    """What is asked of SciCat for any run."""
    return Errand(
        server=checked_url(chosen.server or "", insecure=chosen.insecure),
        run="",
        place="",
        facility=chosen.facility,
        facts=_facts(chosen),
        facts_file=str(chosen.facts_file) if chosen.facts_file else None,
        archive=chosen.archive,
        new_raw=chosen.new_raw,
        replace=chosen.replace,
        ingestor=chosen.ingestor,
        insecure=chosen.insecure,
        checksums=chosen.checksums,
    )


def _facts(chosen: ScicatSettings) -> Facts:
    try:
        return Facts.model_validate(chosen.facts)
    except ValidationError as error:
        raise SettingsError(f"scicat.facts: {wrong_facts(error)}") from error


def _stop_between(what: str, done: int, total: int) -> None:
    del what, done, total
    _stop_where_asked()


DO: dict[str, Step] = {"run": _sieve, "check": _check, "verify": _verify, "catalogue": _enter, "scicat": _register}
