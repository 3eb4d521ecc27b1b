"""Brings one run to SciCat: the raw dataset, the dataset with its hits, files, a picture, the archive job.

Every step first looks whether it is done. Whatever stopped it, the same call again completes it, and doubles nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from hitsieve.catalogue.scicat import lookup
from hitsieve.catalogue.scicat.address import NO_SCICAT, quoted
from hitsieve.catalogue.scicat.answers import NotPermitted, Refused, Unavailable
from hitsieve.catalogue.scicat.archiving import UNREAD, ask_to_archive
from hitsieve.catalogue.scicat.bodies import MEASURED, RUN, SOURCE, Body
from hitsieve.catalogue.scicat.client import SciCat
from hitsieve.catalogue.scicat.contents import Contents, created
from hitsieve.catalogue.scicat.journal import Journal
from hitsieve.catalogue.scicat.plan import Files, OtherContent, Plan, Progress, Registered, Report
from hitsieve.errors import HitsieveError, SourceError

_log = logging.getLogger(__name__)
DATASETS = "/api/v4/datasets"
_RACES = 5
"""Most times that a change is made again because somebody else changed the dataset meanwhile."""
_INGESTOR = "for runs to come give --ingestor and a --facility, or a group that the account is in by --access-groups"
_Made = tuple[Registered, Body | None]
"""A dataset, and what it says where it was there already and may be read."""


def ingest(client: SciCat, plan: Plan, *, journal: Journal | None = None, progress: Progress | None = None) -> Report:
    """Bring to SciCat what is not there yet of a run.

    Parameters
    ----------
    client, plan
    journal : Journal, optional
        What was sent before, for accounts that may not look.
    progress : callable, optional
        Called with the number of steps done and of all, after each.

    Returns
    -------
    Report

    Raises
    ------
    Unavailable
        The server does not answer: the same call later goes on.
    Refused
        It refuses a request.
    OtherContent
        It has something else there already, which was left as it is.
    SourceError
        Files that are to be listed are gone.
    """
    client.login()
    ingestion = _Ingestion(client, plan, journal or Journal(), progress)
    try:
        return ingestion.run()
    except HitsieveError:
        # There is no report to say them.
        for text in ingestion.report.warnings:
            _log.warning("%s", text)
        raise


class _Ingestion:
    def __init__(self, client: SciCat, plan: Plan, journal: Journal, progress: Progress | None) -> None:
        self._client = client
        self._plan = plan
        self._journal = journal
        self._progress = progress
        self._done, parts = 0, (plan.raw, plan.derived)
        # Too many files are refused here, before anything is made.
        self._total = 5 + sum(len(plan.blocks(part.folder, part.files)) for part in parts)
        self._contents = Contents(client, plan, journal, self._step)
        self._unread: set[str] = set()
        self.report = Report()

    def run(self) -> Report:
        report, plan = self.report, self._plan
        report.raw = self._raw()
        self._step()
        report.derived = self._derived(report.raw.pid)
        self._step()
        self._bring(report.derived, plan.derived)
        self._pictures(report)
        if plan.archive:
            report.archive = ask_to_archive(self._client, report.raw.pid, plan.facts, self._warn)
        self._step()
        return report

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))

    def _warn(self, text: str) -> None:
        if text not in self.report.warnings:
            self.report.warnings.append(text)

    # The raw dataset

    def _raw(self) -> Registered:
        plan = self._plan
        if plan.raw_pid is not None:
            return self._named(plan.raw_pid)
        found = self._find_raw()
        if found is not None:
            return self._known_raw(found)
        registered, there = self._remembered("raw") or self._make_raw()
        if there is not None:
            return self._known_raw(there)
        self._bring(registered, plan.raw)
        return registered

    def _make_raw(self) -> _Made:
        plan = self._plan
        if plan.record.verdict_on is not None:
            what = f"{plan.record.place}: is another verdict on a run whose raw data are not in SciCat"
            raise OtherContent(what, mend=f"ingest the run first, {plan.record.verdict_on}, or name it with --raw")
        if plan.raw.lacking:
            mend = "name the raw dataset with --raw if it is in SciCat, or give the files back"
            raise SourceError(plan.raw.lacking, mend=mend)
        return self._create("raw", plan.raw_body(), self._find_raw)

    def _named(self, pid: str) -> Registered:
        """The raw dataset that the user names."""
        try:
            found = lookup.dataset(self._client, pid)
        except NotPermitted:
            self._warn(f"{pid}: the account may not read it, so nothing is told there of the hits")
            return Registered(pid, "left alone")
        if found is None:
            raise OtherContent(f"{pid}: there is no such dataset in SciCat", mend="name another with --raw")
        if found.get("type") != "raw":
            what = f"{pid}: is a dataset of type {found.get('type')}, not raw"
            raise OtherContent(what, mend="name another with --raw")
        return self._known_raw(found)

    def _known_raw(self, found: Body) -> Registered:
        plan, pid = self._plan, str(found["pid"])
        registered = Registered(pid, "there", ours=lookup.is_ours(found))
        if plan.record.verdict_on is None and self._annotate(found, plan.raw_metadata(), keep=MEASURED):
            registered.did = "changed"
        if registered.ours and found.get("sourceFolder") == plan.raw.folder and not plan.raw.lacking:
            self._bring(registered, plan.raw)
        return registered

    def _find_raw(self) -> Body | None:
        """The raw dataset of the run: that of its source file, or the one of its folder if it tells of no other run."""
        plan = self._plan
        folder, file = plan.raw.folder, plan.raw_metadata()[SOURCE]["value"]
        found = lookup.raw_datasets(self._client, folder)
        same = lookup.of_source(found, file)
        others = [one for one in found if not lookup.is_ours(one) and one not in same]
        if not found and not plan.new_raw:
            same = lookup.raw_datasets_of(self._client, plan.record.id)
        if not same and plan.new_raw:
            return None
        free = [one for one in others if lookup.value_of(one, SOURCE) is None]
        chosen = same or free
        if len(chosen) > 1:
            pids = ", ".join(str(one["pid"]) for one in chosen)
            raise OtherContent(
                f"{folder}: SciCat has {len(chosen)} raw datasets for it: {pids}", mend="name one with --raw"
            )
        if not chosen and others:
            told = lookup.value_of(others[0], SOURCE)
            what = f"{folder}: its raw dataset {others[0]['pid']} carries the facts of another run, of {told}"
            raise OtherContent(what, mend="name the raw dataset of this run with --raw, or make one with --new-raw")
        return chosen[0] if chosen else None

    # The dataset with the hits

    def _derived(self, raw_pid: str) -> Registered:
        plan = self._plan
        found = self._find_derived()
        if found is None:
            body = plan.derived_body(raw_pid)
            registered, found = self._remembered("derived") or self._create("derived", body, self._find_derived)
            if found is None:
                return registered
        registered = Registered(str(found["pid"]), "there", ours=True)
        if self._annotate(found, plan.derived_body(raw_pid)["scientificMetadata"], keep=()):
            registered.did = "changed"
        if found.get("inputDatasets") is not None and raw_pid not in found["inputDatasets"]:
            self._warn(f"{registered.pid}: is derived from {found['inputDatasets']} in SciCat, not from {raw_pid}")
        if found.get("sourceFolder", plan.derived.folder) != plan.derived.folder:
            self._warn(f"{registered.pid}: its files are in {found['sourceFolder']} by SciCat")
        return registered

    def _find_derived(self) -> Body | None:
        found = lookup.derived_datasets(self._client, self._plan.record.id)
        if len(found) > 1:
            pids = ", ".join(str(one["pid"]) for one in found[1:])
            self._warn(f"{found[0]['pid']}: SciCat has this run more than once, also as {pids}")
        return found[0] if found else None

    # What both need

    def _remembered(self, role: str) -> _Made | None:
        """The dataset that this run has by the journal, where no look finds it; None where there is none."""
        pid = self._journal.made(role)
        if pid is None:
            return None
        registered, found = self._existing(pid)
        return (registered, found) if found is not None or pid in self._unread else None

    def _create(self, role: str, body: Body, find: Callable[[], Body | None]) -> _Made:
        """Make a dataset; also gives it where it was there already, under the identifier that was chosen for it."""
        pid = str(body.get("pid", ""))
        step = created(pid or f"that is {role}")
        was_open, looks = self._journal.is_open(step), 0

        def look() -> Body | None:
            nonlocal looks
            looks += 1
            return find()

        if not self._journal.is_done(step):
            self._journal.begin(step)
        try:
            made = self._client.post(DATASETS, body, landed=look)
        except Refused as error:
            self._not_made(step, error, lost=was_open or error.tries > 1, taken=error.status == 409 and bool(pid))
            return self._existing(pid)
        except Unavailable as error:
            if not was_open and not error.sent:
                self._journal.forget(step)
            raise
        if not isinstance(made, dict) or not isinstance(made.get("pid"), str) or not made["pid"]:
            what = f"{self._client.url}: answers POST {DATASETS}, but not as SciCat does"
            raise Refused(what, status=200, mend=NO_SCICAT)
        registered = Registered(made["pid"], "created", ours=True)
        self._journal.remember(role, registered.pid)
        self._journal.finish(created(registered.pid))
        if registered.pid != pid:
            # SciCat chose the identifier: whatever is made again would have another one.
            self._journal.forget(step)
            self._read_back(registered.pid, in_doubt=was_open or looks > 0)
        self._step()
        return registered, None

    def _not_made(self, step: str, error: Refused, *, lost: bool, taken: bool) -> None:
        """Note that a dataset was refused; raised again unless there is one under the identifier that was chosen."""
        if lost and taken:
            # An earlier request made it, and its answer was lost.
            self._journal.finish(step)
        elif not lost and not self._journal.is_done(step):
            self._journal.forget(step)
        if not taken:
            raise error

    def _read_back(self, pid: str, *, in_doubt: bool) -> None:
        """Say at once that the account cannot see what it makes: a look will never find it."""
        try:
            if lookup.dataset(self._client, pid) is not None:
                return
        except NotPermitted:
            pass
        what = f"{pid}: was made, but the account cannot read it: only the outbox knows that it is there"
        if in_doubt:
            what += ", and it may be there twice, for the answer to an earlier request was lost"
        self._warn(f"{what} ({_INGESTOR})")

    def _existing(self, pid: str) -> _Made:
        try:
            return Registered(pid, "there", ours=True), lookup.dataset(self._client, pid)
        except NotPermitted:
            self._unread.add(pid)
            mend = UNREAD if self._plan.ingestor else _INGESTOR
            self._warn(f"{pid}: is in SciCat, but the account cannot read it: its facts were not compared ({mend})")
            return Registered(pid, "there", ours=True), None

    def _annotate(self, found: Body, wanted: Mapping[str, Body], *, keep: tuple[str, ...]) -> bool:
        """Add what a dataset does not tell, and leave what it tells unless it is to be replaced; whether it changed."""
        for _ in range(_RACES):
            patch = self._patch(found, wanted, keep)
            pid, read = str(found["pid"]), found.get("updatedAt")
            if not patch:
                return False
            try:
                path = f"{DATASETS}/{quoted(pid)}"
                self._client.patch(path, {"scientificMetadata": patch}, unmodified_since=read)
            except NotPermitted as error:
                what = f"{pid}: the account may not change it: the hit rate stands in the dataset of the hits only"
                self._warn(f"{what} ({error.status})")
                return False
            except Refused as error:
                if error.status != 412:
                    raise
                _log.info("%s: was changed by somebody else meanwhile; reading it again", pid)
                found = lookup.dataset(self._client, pid) or found
            else:
                return True
        raise Unavailable(f"{found['pid']}: others change it all the time, {_RACES} times in a row")

    def _patch(self, found: Body, wanted: Mapping[str, Body], keep: tuple[str, ...]) -> dict[str, Any]:
        """What is to be added to scientificMetadata."""
        plan, pid = self._plan, found["pid"]
        there = found.get("scientificMetadata") or {}
        other = lookup.value_of(found, RUN)
        source, own = lookup.value_of(found, SOURCE), wanted.get(SOURCE, {}).get("value")
        if other not in (None, plan.record.id) and own is not None and source not in (None, own):
            what = f"{pid}: carries the facts of a run of other images, of {source}; this one is of {own}"
            raise OtherContent(what, mend="nothing was changed; name the raw dataset of this run with --raw")
        if other not in (None, plan.record.id) and not plan.replace:
            what = f"{pid}: carries the facts of another run of hitsieve on the same images, {other}"
            raise OtherContent(what, mend="nothing was changed; --replace puts those of this run in their place")
        patch: dict[str, Any] = {}
        kept = []
        for key, told in wanted.items():
            if key not in there:
                patch[key] = dict(told)
            elif not _same(there[key], told):
                if plan.replace and key not in keep:
                    patch[key] = dict(told)
                else:
                    kept.append(key)
        if other not in (None, plan.record.id):
            # What only the other run told would be taken for a fact of this one.
            patch |= {key: None for key in there if key in _own_keys(there, wanted) and key not in keep}
        if kept:
            self._warn(f"{pid}: says otherwise, and was left so: {', '.join(kept)}")
        return patch

    def _bring(self, registered: Registered, files: Files) -> None:
        if files.lacking:
            self._warn(files.lacking)
            return
        if twice := self._contents.bring_files(registered, files):
            self._warn(f"{registered.pid}: SciCat lists {twice:,} of its files more than once")

    def _pictures(self, report: Report) -> None:
        """A picture is no reason to fail."""
        for one in (report.derived, report.raw) if self._plan.picture is not None else ():
            if one is None or not one.ours:
                continue
            try:
                did = self._contents.bring_picture(one.pid)
            except Refused as error:
                self._warn(f"{one.pid}: no picture: {error.what}")
                continue
            report.picture = did if report.picture is None else report.picture


def _same(there: Any, told: Body) -> bool:
    """Whether a value in SciCat, which may have gained its SI form, is what is told."""
    return isinstance(there, dict) and all(there.get(name) == value for name, value in told.items())


def _own_keys(there: Mapping[str, Any], wanted: Mapping[str, Body]) -> set[str]:
    """Keys that only a run of hitsieve tells, and this one does not."""
    from hitsieve.catalogue.record import homes

    known = {home.key for home in homes() if home.key}
    begun = tuple(
        f"{name}_" for name in ("hit_rate", "hit_rate_low", "hit_rate_high", "indexing_rate", "n_images", "n_hits")
    )
    ours = {key for key in there if key in known or key.startswith(begun)}
    return ours - set(wanted)
