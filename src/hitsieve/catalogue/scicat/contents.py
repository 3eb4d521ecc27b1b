"""Brings files and pictures to a dataset: each once, whatever happened before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hitsieve.catalogue.scicat import lookup
from hitsieve.catalogue.scicat.address import quoted
from hitsieve.catalogue.scicat.answers import NotPermitted, Refused, Unavailable
from hitsieve.catalogue.scicat.bodies import Body, attachment
from hitsieve.catalogue.scicat.client import SciCat
from hitsieve.catalogue.scicat.journal import Journal
from hitsieve.catalogue.scicat.plan import Did, Files, OtherContent, Plan, Registered

BLOCKS = "/api/v3/origdatablocks"
_UNSEEN = "let the account read them, by a group in --access-groups that it is in"


def created(pid: str) -> str:
    """The step of making a dataset."""
    return f"dataset {pid}"


def _listing(pid: str) -> str:
    """The step of listing files where it could be seen what was there; done, all of them are."""
    return f"files of {pid}"


class Contents:
    """Files and pictures of the datasets of one run.

    Parameters
    ----------
    client, plan, journal
    step : callable
        Called after each request.
    """

    def __init__(self, client: SciCat, plan: Plan, journal: Journal, step: Callable[[], None]) -> None:
        self._client = client
        self._plan = plan
        self._journal = journal
        self._step = step

    def bring_files(self, registered: Registered, files: Files) -> int:
        """List the files in the dataset, in blocks, as far as they are not there.

        Returns
        -------
        int
            How many were listed more than once before.

        Raises
        ------
        OtherContent
            The dataset has one of them with another size, or what it has cannot be seen.
        """
        pid = registered.pid
        try:
            listed = lookup.files_of(self._client, pid)
        except NotPermitted:
            self._bring_unseen(registered, files)
            return 0
        have = dict(listed)
        for file in files.files:
            if have.get(file.path, file.size) != file.size:
                what = f"{pid}: {file.path} has {have[file.path]:,} bytes in SciCat, {file.size:,} in {files.folder}"
                raise OtherContent(what, mend="nothing was changed; see which of the two is right")
        missing = tuple(file for file in files.files if file.path not in have)
        registered.n_listed = len(files.files) - len(missing)
        # Who may look now may not be let to look the next time, with a token that fails.
        if missing:
            self._journal.begin(_listing(pid))
        for block in self._plan.blocks(pid, missing):
            self._post(registered, block, landed=lambda block=block: self._find(pid, block))  # type: ignore[misc]
        self._journal.finish(_listing(pid))
        return sum(n > 1 for n in Counter(path for path, _ in listed).values())

    def bring_picture(self, pid: str) -> Did:
        """Attach the picture, where none of its caption is there.

        Raises
        ------
        Refused
            The server takes no picture.
        """
        plan, path = self._plan, f"/api/v3/datasets/{quoted(pid)}/attachments"
        if plan.picture is None:
            return "left alone"
        step = f"picture of {pid}"
        try:
            if plan.caption in lookup.captions_of(self._client, pid):
                return "there"
        except NotPermitted:
            if self._journal.is_done(step):
                return "there"
            if self._journal.is_open(step) or not self._journal.is_done(created(pid)):
                return "left alone"
        body = attachment(plan.caption, plan.picture, plan.facts)
        self._send(step, path, body, landed=lambda: self._picture_there(pid))
        return "created"

    def _picture_there(self, pid: str) -> bool | None:
        try:
            return self._plan.caption in lookup.captions_of(self._client, pid) or None
        except NotPermitted:
            return None

    def _bring_unseen(self, registered: Registered, files: Files) -> None:
        """Send the blocks of a dataset that the account may not read, if it is certain that they are not there."""
        pid = registered.pid
        if self._journal.is_done(_listing(pid)):
            registered.n_listed = len(files.files)
            return
        begun = self._journal.is_open(_listing(pid)) or not self._journal.is_done(created(pid))
        for number, block in enumerate(self._plan.blocks(pid, files.files)):
            step = f"block {number} of {pid}"
            if self._journal.is_done(step):
                registered.n_listed += len(block["dataFileList"])
                continue
            if begun or self._journal.is_open(step):
                what = f"{pid}: the account may not see which files are listed there"
                raise OtherContent(f"{what}, and they may be: none was sent", mend=_UNSEEN)
            self._post(registered, block, step=step)

    def _post(
        self,
        registered: Registered,
        block: Body,
        *,
        step: str = "",
        landed: Callable[[], bool | None] | None = None,
    ) -> None:
        self._send(step, BLOCKS, block, landed=landed)
        registered.n_blocks += 1
        registered.n_files += len(block["dataFileList"])

    def _send(self, step: str, path: str, body: Body, *, landed: Callable[[], bool | None] | None) -> None:
        if step:
            self._journal.begin(step)
        try:
            self._client.post(path, body, landed=landed)
        except (Refused, Unavailable) as error:
            if step and not (isinstance(error, Unavailable) and error.sent):
                self._journal.forget(step)
            raise
        if step:
            self._journal.finish(step)
        self._step()

    def _find(self, pid: str, block: Body) -> bool | None:
        """True where all files of a block are in the dataset."""
        have = {path for path, _ in lookup.files_of(self._client, pid)}
        return all(file["path"] in have for file in block["dataFileList"]) or None
