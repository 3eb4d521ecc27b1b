"""`hitsieve ingest`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from hitsieve.catalogue.scicat import Errand, Facts, Outbox, checked_url, default_outbox
from hitsieve.cli.account import account
from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.sent import (
    entry_as_json,
    print_entries,
    print_report,
    print_sent,
    print_warnings,
    report_as_json,
    sent_as_json,
)
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SettingsError

if TYPE_CHECKING:
    from hitsieve.catalogue.scicat import Entry
    from hitsieve.catalogue.scicat.outbox import State
    from hitsieve.pipeline.ingest import Progress

FACTS = Group("Facts: what SciCat is told beyond the record of the run")
SERVER = Group("Server: where SciCat is, and who asks")
OUTBOX = Group("Outbox: what could not be sent waits there")
URL = "HITSIEVE_SCICAT"
"""Variable that names the server."""

ServerSwitch = Annotated[bool, Parameter(negative=(), show_default=False, group=SERVER)]


def ingest(
    results: Path | None = None,
    /,
    *,
    facility: str = "generic",
    facts_file: Annotated[Path | None, Parameter(name="--facts")] = None,
    raw: str | None = None,
    new_raw: Switch = False,
    archive: Switch = False,
    replace: Switch = False,
    checksums: Literal["hits", "all", "none"] = "hits",
    no_picture: Switch = False,
    dry_run: Switch = False,
    json: AsJson = False,
    scicat: Annotated[str | None, Parameter(group=SERVER)] = None,
    token_file: Annotated[Path | None, Parameter(group=SERVER)] = None,
    ingestor: ServerSwitch = False,
    patience: Annotated[float, Parameter(validator=Number(gte=0), group=SERVER)] = 60.0,
    insecure: ServerSwitch = False,
    pending: Annotated[bool, Parameter(negative=(), show_default=False, group=OUTBOX)] = False,
    waiting: Annotated[bool, Parameter(name="--list", negative=(), show_default=False, group=OUTBOX)] = False,
    forget: Annotated[bool, Parameter(negative=(), show_default=False, group=OUTBOX)] = False,
    outbox: Annotated[Path | None, Parameter(group=OUTBOX)] = None,
    facts: Annotated[Facts, Parameter(name="*", group=FACTS)] = Facts(),  # noqa: B008 - frozen
    messages: Messages = Messages(),  # noqa: B008
) -> int:
    """Register a finished run in SciCat: the raw data with their hit rate, and the hits as a dataset of their own.

    Twice gives one: what is there is completed, never doubled and never overwritten. What cannot be sent now waits in
    the outbox. Who asks is told by HITSIEVE_SCICAT_TOKEN, by HITSIEVE_SCICAT_USER and HITSIEVE_SCICAT_PASSWORD, or by
    --token-file; else user and password are asked for on the terminal.

    Parameters
    ----------
    results
        An output of hitsieve run or rethink, or the folder with those of one run.
    facility
        Whose conventions hold: generic or psi.
    facts_file
        TOML file with facts; by default <stem>_facts.toml or hitsieve-facts.toml beside the results, else beside the
        source. Flags win over it.
    raw
        Identifier of the raw dataset, where it cannot be found by its folder.
    new_raw
        Make a raw dataset of this run, though its folder is one already.
    archive
        Also ask for the raw data to be archived.
    replace
        Put the facts of this run in the place of those of another run of hitsieve on the same images.
    checksums
        Of which files SHA-256 are sent: those of the results (hits), also those of the source (all), or none.
    no_picture
        Attach no picture of a hit.
    dry_run
        Print what would be sent as JSON, and send nothing. Needs no server and no password.
    json
        Print what was done as JSON on stdout, and nothing else there.
    scicat
        URL of SciCat's backend; by default what HITSIEVE_SCICAT names.
    token_file
        File that holds a token, and that nobody but you may read.
    ingestor
        The account is the facility's ingestor: identifiers are chosen, by the prefix of the facility.
    patience
        Longest time (s) that is spent on one request that the server does not answer.
    insecure
        Allow http to another computer, where anybody on the way can read the password.
    pending
        Send all that waits for the server that is named, or for the only one that anything waits for.
    waiting
        Show what waits, and what was refused.
    forget
        Take RESULTS out of the outbox; what was sent stays in SciCat.
    outbox
        File of the outbox; by default what HITSIEVE_OUTBOX names, else outbox.sqlite beside the local catalogue.
    """
    messages.set_up_logging()
    place = (outbox or default_outbox()).absolute()
    _check(results, pending=pending, waiting=waiting, forget=forget)
    if waiting:
        return _list(place, as_json=json)
    if pending:
        named = scicat or os.environ.get(URL)
        return _pending(place, named, (token_file, patience), as_json=json, quiet=messages.quiet)
    if results is None:
        raise SettingsError("ingest needs RESULTS", mend="for example: hitsieve ingest out --scicat URL")
    if forget:
        return _forget(results, place, quiet=json or messages.quiet)
    errand = Errand(
        server="",
        run="",
        place="",
        facility=facility,
        facts=facts,
        facts_file=str(facts_file.absolute()) if facts_file else None,
        raw_pid=raw,
        new_raw=new_raw,
        archive=archive,
        replace=replace,
        ingestor=ingestor,
        insecure=insecure,
        checksums=checksums,
        picture=not no_picture,
    )
    quiet = json or messages.quiet
    if dry_run:
        return _dry_run(results, errand, quiet=quiet)
    errand = errand.model_copy(update={"server": _server(scicat, insecure=insecure)})
    return _ingest(results, errand, place, (token_file, patience), as_json=json, quiet=quiet)


def _check(results: Path | None, **asked: bool) -> None:
    """Refuse what makes no sense together."""
    given = [f"--{'list' if name == 'waiting' else name}" for name, value in asked.items() if value]
    if len(given) > 1:
        raise SettingsError(f"{' and '.join(given)} exclude each other", mend="give one")
    if results is not None and given and given != ["--forget"]:
        raise SettingsError(f"{given[0]} takes no RESULTS", mend="leave them out")


def _server(named: str | None, *, insecure: bool) -> str:
    url = named or os.environ.get(URL)
    if not url:
        raise SettingsError("no SciCat is named", mend=f"give its URL with --scicat or {URL}, or --dry-run")
    return checked_url(url, insecure=insecure)


def _ingest(
    results: Path,
    errand: Errand,
    place: Path,
    asking: tuple[Path | None, float],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from hitsieve.pipeline.ingest import Connection, errand_of, ingest

    errand = errand_of(results, errand)
    token_file, patience = asking
    connection = Connection(account(token_file), patience)
    with Outbox(place) as outbox, _kept(), _progress(wanted=not quiet) as progress:
        report = ingest(errand, outbox, connection, progress=progress)
    print_warnings(report.warnings)
    if as_json:
        _print_json(report_as_json(report))
    elif not quiet:
        print_report(report)
    return 0


def _waiting_server(place: Path, named: str | None) -> str | None:
    """The server that something waits for; None where nothing does."""
    servers = {entry.errand.server for entry in _kept_in(place, "waiting")}
    if named is not None:
        servers &= {checked_url(named, insecure=True)}
    if len(servers) > 1:
        # The password of one is no business of the others.
        what = f"{place}: what waits is for {len(servers)} servers: {', '.join(sorted(servers))}"
        raise SettingsError(what, mend="name one with --scicat")
    return servers.pop() if servers else None


def _pending(place: Path, named: str | None, asking: tuple[Path | None, float], *, as_json: bool, quiet: bool) -> int:
    from hitsieve.pipeline.ingest import Connection, ingest_pending

    server = _waiting_server(place, named)
    if server is None:
        if as_json:
            _print_json([])
        elif not quiet:
            print(f"nothing waits in {place}" + (f" for {named}" if named else ""))
        return 0
    token_file, patience = asking
    connection = Connection(account(token_file), patience)
    with Outbox(place) as outbox, _kept(), _progress(wanted=not (quiet or as_json)) as progress:
        done = ingest_pending(outbox, server, connection, progress=progress)
    for one in done:
        print_sent(one, quiet=quiet or as_json)
    if as_json:
        _print_json([sent_as_json(one) for one in done])
    return max((one.error.exit_code for one in done if one.error is not None), default=0)


def _kept_in(place: Path, *states: State) -> list[Entry]:
    """Entries of the outbox, which is not made only to be looked into."""
    if not place.exists():
        return []
    with Outbox(place) as outbox:
        return outbox.entries(*states)


def _list(place: Path, *, as_json: bool) -> int:
    entries = _kept_in(place, "waiting", "refused")
    if as_json:
        _print_json([entry_as_json(entry) for entry in entries])
    else:
        print_entries(entries, place)
    return 0


def _forget(results: Path, place: Path, *, quiet: bool) -> int:
    from hitsieve.pipeline.planning import summary_of

    wanted = str(summary_of(results)) if results.exists() else str(results.absolute())
    entries = [entry for entry in _kept_in(place, "waiting", "refused") if entry.errand.place == wanted]
    for entry in entries:
        with Outbox(place) as outbox:
            outbox.drop(entry.key)
    if not quiet:
        print(f"{len(entries)} taken out of {place}")
    return 0


def _dry_run(results: Path, errand: Errand, *, quiet: bool) -> int:
    from hitsieve.pipeline.ingest import errand_of
    from hitsieve.pipeline.planning import plan_of

    with _progress(wanted=not quiet) as progress:
        plan, told = plan_of(errand_of(results, errand), progress=lambda done, total: progress("hashing", done, total))
    print_warnings(told)
    bodies = plan.shown()
    if plan.picture is not None:
        # Nobody reads a picture as letters.
        bodies["attachment"]["thumbnail"] = f"data:image/png;base64,... ({len(plan.picture):,} bytes)"
    _print_json(bodies)
    return 0


def _print_json(value: Any) -> None:
    import json as encoder

    print(encoder.dumps(value, indent=2))


@contextmanager
def _progress(*, wanted: bool) -> Iterator[Progress]:
    """Bytes that are hashed, then requests that are answered."""
    with shown_count("working", wanted=wanted) as show:
        yield stoppable(None if show is None else lambda _, done, total: show(done, total))


@contextmanager
def _kept() -> Iterator[None]:
    """Say what becomes of a run that is stopped on its way."""
    try:
        yield
    except KeyboardInterrupt:
        print("hitsieve: what was not sent waits in the outbox (hitsieve ingest --pending sends it)", file=sys.stderr)
        raise
