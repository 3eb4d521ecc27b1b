"""What the server holds, and who may see and change it."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from hitsieve.testing.scicat.refusal import Refusal

Version = Literal["v4", "v5"]
Document = dict[str, Any]
PREFIX = "20.500.12269"
"""Of the pids that the server makes."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in."""

    username: str
    password: str
    groups: tuple[str, ...] = ()
    privileged: bool = False
    """A facility's ingestor: it creates for any group, but reads and changes only what its own groups may."""
    chooses_pids: bool = True
    """It may give the pid of a data set that it creates."""

    @property
    def email(self) -> str:
        """Its address."""
        return f"{self.username}@example.org"


ACCOUNTS = (
    Account("user", "secret", ("p12345",)),
    Account("ingestor", "secret", ("ingestor",), privileged=True),
)
"""Who may log in where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Session:
    """A token that was given out."""

    account: Account
    until: float
    """Of `time.monotonic()`."""


@dataclass(slots=True)
class Store:
    """All that a server holds. Routes hold `lock` while they read or change it."""

    version: Version = "v5"
    accounts: tuple[Account, ...] = ACCOUNTS
    token_seconds: float = 3600.0
    ahead: float = 0.0
    """Seconds by which the server's clock is before that of this computer."""
    datasets: dict[str, Document] = field(default_factory=dict)
    """By pid."""
    blocks: list[Document] = field(default_factory=list)
    """Original data blocks, in order."""
    packages: list[Document] = field(default_factory=list)
    """Data blocks: what an archive made of data sets."""
    attachments: list[Document] = field(default_factory=list)
    jobs: list[Document] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    """By token."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def login(self, username: str, password: str) -> Document:
        """Give out a token.

        Raises
        ------
        Refusal
            401: there is no such account, or the password is another.
        """
        for account in self.accounts:
            if account.username == username and account.password == password:
                token = secrets.token_urlsafe(24)
                self.sessions[token] = Session(account, time.monotonic() + self.token_seconds)
                user = {"username": username, "email": account.email, "authStrategy": "local"}
                return {
                    "access_token": token,
                    "id": token,
                    "expires_in": int(self.token_seconds),
                    "ttl": int(self.token_seconds),
                    "created": self.now(),
                    "userId": username,
                    "user": user,
                }
        raise Refusal(401, "Unauthorized")

    def account(self, authorization: str | None) -> Account | None:
        """Who asks; None for nobody.

        A token that is none is nobody's, and in version 4 so is one that has expired: lists of version 3 then show
        public data only, without a word.

        Raises
        ------
        Refusal
            401: the token has expired, in version 5.
        """
        session = self.sessions.get((authorization or "").removeprefix("Bearer ").strip())
        if session is None or session.until > time.monotonic():
            return None if session is None else session.account
        if self.version == "v5":
            raise Refusal(401, "SESSION_EXPIRED")
        return None

    def expire_tokens(self) -> None:
        """Let every token expire now."""
        with self.lock:
            for token, session in self.sessions.items():
                self.sessions[token] = Session(session.account, 0.0)

    def dataset(self, pid: str, *, lost: str = "Dataset not found") -> Document:
        """One data set.

        Raises
        ------
        Refusal
            404: there is none.
        """
        found = self.datasets.get(pid)
        if found is None:
            raise Refusal(404, lost)
        return found

    def add_dataset(self, document: Document, account: Account) -> Document:
        """Enter a data set.

        Raises
        ------
        Refusal
            403, 409 or 500.
        """
        pid = document.get("pid") or ""
        own = document["ownerGroup"] in account.groups
        if not (account.privileged or (own and (account.chooses_pids or not pid))):
            raise Refusal(403, "Unauthorized access")
        if pid in self.datasets:
            raise Refusal(409, f"A dataset with pid {pid} already exists!")
        if not document.get("owner"):
            raise Refusal(500, "Something went wrong. Please try again later.")
        document["pid"] = pid or f"{PREFIX}/{uuid.uuid4()}"
        document |= {"_id": document["pid"], **self.stamps(account)}
        self.datasets[document["pid"]] = document
        return document

    def add_block(self, block: Document, account: Account, *, api: int) -> Document:
        """Enter a block of files; sizes and counts grow, also where the same block is there already.

        Raises
        ------
        Refusal
            404 or 403.
        """
        pid = block["datasetId"]
        dataset = self.dataset(pid, lost=f"Dataset: {pid} not found for attaching an origdatablock")
        if not may_change(account, dataset) and not (account.privileged and api == 3):
            raise Refusal(403, "Unauthorized access")
        for name in ("ownerGroup", "accessGroups", "instrumentGroup"):
            block[name] = dataset.get(name)
        block |= {"_id": str(uuid.uuid4()), **self.stamps(account)}
        self.blocks.append(block)
        dataset["size"] += block["size"]
        dataset["numberOfFiles"] += len(block["dataFileList"])
        dataset["updatedAt"] = self.now()
        return block

    def add_attachment(self, attachment: Document, pid: str, account: Account) -> Document:
        """Enter a picture.

        Raises
        ------
        Refusal
            404 or 403.
        """
        dataset = self.dataset(pid, lost=f"dataset: {pid} not found")
        if not may_change(account, dataset) and not account.privileged:
            raise Refusal(403, "Unauthorized access")
        made = {"id": str(uuid.uuid4()), **attachment, "datasetId": pid, "ownerGroup": dataset["ownerGroup"]}
        self.attachments.append(made | self.stamps(account))
        return self.attachments[-1]

    def of_dataset(self, documents: Sequence[Document], pid: str) -> list[Document]:
        """Blocks or attachments of a data set."""
        return [document for document in documents if document["datasetId"] == pid]

    def stamps(self, account: Account) -> Document:
        """Who and when."""
        time_now = self.now()
        name = account.username
        return {
            "createdBy": name,
            "updatedBy": name,
            "createdAt": time_now,
            "updatedAt": time_now,
            "_order": next(self._numbers),
        }

    def now(self) -> str:
        """The time as the server writes it: UTC, milliseconds."""
        moment = datetime.now(timezone.utc) + timedelta(seconds=self.ahead)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @contextmanager
    def held(self) -> Iterator[Store]:
        """The store, while nobody else changes it."""
        with self.lock:
            yield self


def in_utc(text: str) -> str:
    """A time as the server keeps it."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    moment = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def may_read(account: Account | None, document: Document) -> bool:
    """Whether somebody sees a data set."""
    if document.get("isPublished"):
        return True
    if account is None:
        return False
    groups = {document["ownerGroup"], *(document.get("accessGroups") or ())}
    return bool(groups & set(account.groups)) or account.email in (document.get("sharedWith") or ())


def may_change(account: Account, document: Document) -> bool:
    """Whether somebody may change a data set: its owners alone."""
    return document["ownerGroup"] in account.groups
