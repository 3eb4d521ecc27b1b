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
from hitsieve.catalogue.scicat.bodies import MEASURED, RUN, SOURCE, Body, archive_job
from hitsieve.catalogue.scicat.client import SciCat
from hitsieve.catalogue.scicat.contents import Contents, created
from hitsieve.catalogue.scicat.journal import Journal
from hitsieve.catalogue.scicat.plan import Files, OtherContent, Plan, Progress, Registered, Report
from hitsieve.errors import SourceError

_log = logging.getLogger(__name__)
DATASETS = "/api/v4/datasets"
_RACES = 5
"""Most times that a change is made again because somebody else changed the dataset meanwhile."""
_ON_TAPE = ("datasetonarchivedisk", "datasetontape", "datasetonarchivetape")
_UNREAD = "let the account read it, by a group in --access-groups that it is in"


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
    return _Ingestion(client, plan, journal or Journal(), progress).run()


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
            self._archive(report.raw.pid)
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
        if plan.record.verdict_on is not None:
            what = f"{plan.record.place}: is another verdict on a run whose raw data are not in SciCat"
            raise OtherContent(what, mend=f"ingest the run first, {plan.record.verdict_on}, or name it with --raw")
        if plan.raw.lacking:
            mend = "name the raw dataset with --raw if it is in SciCat, or give the files back"
            raise SourceError(plan.raw.lacking, mend=mend)
        body = plan.raw_body()
        registered, there = self._create(body, self._find_raw)
        if there is not None:
            return self._known_raw(there)
        self._bring(registered, plan.raw)
        return registered

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
            registered, found = self._create(plan.derived_body(raw_pid), self._find_derived)
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

    def _create(self, body: Body, find: Callable[[], Body | None]) -> tuple[Registered, Body | None]:
        """Make a dataset; also gives it where it was there already, under the identifier that was chosen for it."""
        pid = str(body.get("pid", ""))
        step, was_open = created(pid), self._journal.is_open(created(pid))
        if pid and not self._journal.is_done(step):
            self._journal.begin(step)
        try:
            made = self._client.post(DATASETS, body, landed=find)
        except Refused as error:
            if error.status != 409 or not pid:
                raise
            if was_open or error.tries > 1:
                # An earlier request made it, and its answer was lost.
                self._journal.finish(step)
            elif not self._journal.is_done(step):
                self._journal.forget(step)
            return self._existing(pid)
        except Unavailable as error:
            if pid and not was_open and not error.sent:
                self._journal.forget(step)
            raise
        if not isinstance(made, dict) or not made.get("pid"):
            what = f"{self._client.url}: answers POST {DATASETS}, but not as SciCat does"
            raise Refused(what, status=200, mend=NO_SCICAT)
        registered = Registered(str(made["pid"]), "created", ours=True)
        self._journal.finish(created(registered.pid))
        self._step()
        return registered, None

    def _existing(self, pid: str) -> tuple[Registered, Body | None]:
        try:
            return Registered(pid, "there", ours=True), lookup.dataset(self._client, pid)
        except NotPermitted:
            self._warn(f"{pid}: is in SciCat, but the account may not read it: its facts were not compared ({_UNREAD})")
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

    def _archive(self, pid: str) -> None:
        report = self.report
        try:
            found = lookup.dataset(self._client, pid) or {}
            job = lookup.archive_job(self._client, pid)
        except NotPermitted:
            report.archive = "left alone"
            self._warn(f"{pid}: the account may not see whether it is archived: no job was made ({_UNREAD})")
            return
        cycle = found.get("datasetlifecycle") or {}
        status = str(cycle.get("archiveStatusMessage", "")).lower()
        if job is not None or cycle.get("retrievable") or status in _ON_TAPE:
            report.archive = "there"
            return
        if cycle.get("archivable") is False:
            report.archive = "left alone"
            self._warn(
                f"{pid}: cannot be archived, SciCat says: {cycle.get('archiveStatusMessage') or 'not archivable'}"
            )
            return
        body = archive_job(pid, self._plan.facts)
        self._client.post("/api/v4/jobs", body, landed=lambda: lookup.archive_job(self._client, pid))
        report.archive = "created"


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
