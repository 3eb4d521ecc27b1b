"""The server's endpoints, as far as an ingestor and a search need them."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from hitsieve.testing.scicat.asking import add_searches
from hitsieve.testing.scicat.bodies import (
    Credentials,
    DatasetChange,
    Lifecycle,
    NewAttachment,
    NewBlock,
    NewDataset,
    NewJob,
    RelationshipV4,
    RelationshipV5,
    read,
)
from hitsieve.testing.scicat.changing import change, check_unmodified, new_dataset, shown, with_lifecycle
from hitsieve.testing.scicat.refusal import Refusal
from hitsieve.testing.scicat.store import Account, Document, Store, may_change, may_read

LIMIT = 16 * 1024 * 1024
"""Most bytes of a body."""
MERGE_PATCH = "application/merge-patch+json"


def make_app(store: Store) -> FastAPI:
    """Make the application over a store."""
    app = FastAPI(title="SciCat, imitated", openapi_url=None)

    @app.exception_handler(Refusal)
    async def refuse(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(refusal.body, refusal.status)

    @app.exception_handler(404)
    async def nowhere(request: Request, _: Exception) -> JSONResponse:
        refusal = Refusal(404, f"Cannot {request.method} {request.url.path}")
        return JSONResponse(refusal.body, refusal.status)

    _add_login(app, store)
    add_searches(app, store)
    _add_datasets(app, store)
    _add_files(app, store)
    _add_jobs(app, store)
    return app


async def body_of(request: Request) -> Any:
    """The JSON body of a request.

    Raises
    ------
    Refusal
        500: it is too large; 400: it is no JSON.
    """
    raw = await request.body()
    if len(raw) > LIMIT:
        raise Refusal(500, "request entity too large")
    kind = request.headers.get("content-type", "").split(";")[0]
    if kind not in ("application/json", MERGE_PATCH):
        return {}
    try:
        return json.loads(raw or b"{}")
    except ValueError as error:
        raise Refusal(400, str(error)) from None


def known(store: Store, request: Request) -> Account:
    """Who asks, where nobody may not.

    Raises
    ------
    Refusal
        401 or 403.
    """
    account = store.account(request.headers.get("authorization"))
    if account is None:
        raise Refusal(403, "Forbidden resource")
    return account


def _add_login(app: FastAPI, store: Store) -> None:
    @app.post("/api/v3/auth/login", status_code=201)
    async def login(request: Request) -> Document:
        given = read(Credentials, await body_of(request))
        with store.held():
            return store.login(given.username, given.password)

    @app.get("/api/v3/users/my/self")
    async def whoami(request: Request) -> Document:
        account = known(store, request)
        return {"id": account.username, "username": account.username, "email": account.email}

    @app.get("/api/v3/health")
    async def health() -> Document:
        return {"status": "ok", "info": {}, "error": {}, "details": {}}


def _add_datasets(app: FastAPI, store: Store) -> None:
    @app.post("/api/v4/datasets", status_code=201)
    async def create(request: Request) -> Document:
        body = await body_of(request)
        with store.held():
            account = known(store, request)
            given = read(NewDataset, body)
            _check_relationships(given.relationships, store.version)
            return shown(store.add_dataset(new_dataset(given), account))

    @app.get("/api/v3/datasets/{pid}")
    async def one_v3(request: Request, pid: str) -> Document:
        with store.held():
            return shown(_readable(store, request, pid), api=3)

    @app.get("/api/v4/datasets/{pid}")
    async def one_v4(request: Request, pid: str) -> Document:
        with store.held():
            known(store, request)
            return shown(_readable(store, request, pid))

    @app.patch("/api/v4/datasets/{pid}")
    async def patch(request: Request, pid: str) -> Document:
        body = await body_of(request)
        with store.held():
            account = known(store, request)
            given = read(DatasetChange, body)
            _check_relationships(given.relationships, store.version)
            dataset = store.dataset(unquote(pid))
            if not may_change(account, dataset):
                raise Refusal(403, "Unauthorized access")
            # Compared whole: with a charset behind it, it is no merge patch to the server.
            merging = request.headers.get("content-type") == MERGE_PATCH
            changed = change(dataset, body, merge=merging)
            check_unmodified(dataset, request.headers.get("if-unmodified-since"), store.version)
            dataset |= changed | {"updatedAt": store.stamps(account)["updatedAt"], "updatedBy": account.username}
            return shown(dataset)

    @app.patch("/api/v4/datasets/{pid}/datasetlifecycle")
    async def patch_lifecycle(request: Request, pid: str) -> Document:
        body = await body_of(request)
        with store.held():
            account = known(store, request)
            given = read(Lifecycle, body)
            if not given.model_fields_set:
                raise Refusal(400, "dataset lifecycle DTO must not be empty")
            dataset = store.dataset(unquote(pid))
            if not may_change(account, dataset):
                raise Refusal(403, "Unauthorized access")
            merged: Document = with_lifecycle(dataset["datasetlifecycle"] | body)
            dataset |= {"datasetlifecycle": merged, "updatedAt": store.stamps(account)["updatedAt"]}
            return merged


def _add_files(app: FastAPI, store: Store) -> None:
    async def add(request: Request, api: int) -> Document:
        body = await body_of(request)
        with store.held():
            account = known(store, request)
            given = read(NewBlock, body)
            return shown(store.add_block(given.model_dump(exclude_none=True), account, api=api))

    @app.post("/api/v3/origdatablocks", status_code=201)
    async def add_v3(request: Request) -> Document:
        return await add(request, 3)

    @app.post("/api/v4/origdatablocks", status_code=201)
    async def add_v4(request: Request) -> Document:
        return await add(request, 4)

    @app.get("/api/v3/datasets/{pid}/origdatablocks")
    async def blocks(request: Request, pid: str) -> list[Document]:
        with store.held():
            dataset = _readable(store, request, pid)
            return [shown(block) for block in store.of_dataset(store.blocks, dataset["pid"])]

    @app.get("/api/v3/datasets/{pid}/datablocks")
    async def packages(request: Request, pid: str) -> list[Document]:
        with store.held():
            dataset = _readable(store, request, pid)
            return [shown(block) for block in store.of_dataset(store.packages, dataset["pid"])]

    @app.post("/api/v3/datasets/{pid}/attachments", status_code=201)
    async def attach(request: Request, pid: str) -> Document:
        body = await body_of(request)
        with store.held():
            account = known(store, request)
            given = read(NewAttachment, body)
            return shown(store.add_attachment(given.model_dump(exclude_none=True), unquote(pid), account))

    @app.get("/api/v3/datasets/{pid}/attachments")
    async def attachments(request: Request, pid: str) -> list[Document]:
        with store.held():
            dataset = _readable(store, request, pid)
            return [shown(one) for one in store.of_dataset(store.attachments, dataset["pid"])]


def _add_jobs(app: FastAPI, store: Store) -> None:
    @app.post("/api/v4/jobs", status_code=201)
    async def create(request: Request) -> Document:
        body = await body_of(request)
        with store.held():
            account = known(store, request)
            given = read(NewJob, body)
            job = _job(store, given.model_dump(exclude_none=True), account)
            store.jobs.append(job)
            return shown(job)

    @app.get("/api/v4/jobs/{number}")
    async def one(request: Request, number: str) -> Document:
        with store.held():
            known(store, request)
            found = next((job for job in store.jobs if job["id"] == number), None)
            if found is None:
                raise Refusal(404, "Job not found")
            return shown(found)


def _job(store: Store, given: Document, account: Account) -> Document:
    if given["type"] not in ("archive", "retrieve", "public"):
        raise Refusal(400, f"Invalid job type: {given['type']}")
    group = given.get("ownerGroup")
    datasets = _listed(store, given["jobParams"].get("datasetList"))
    if not account.privileged and group not in account.groups:
        raise Refusal(403, "Invalid new job. User needs to belong to job owner group.")
    if not all(dataset["ownerGroup"] in {group, *account.groups} for dataset in datasets):
        raise Refusal(403, "User does not have access to all datasets, cannot create job.")
    needed = {"archive": "archivable", "retrieve": "retrievable"}.get(given["type"])
    for dataset in datasets:
        if needed and dataset["datasetlifecycle"].get(needed) is not True:
            raise Refusal(400, f'Invalid request. Invalid value for "datasetlifecycle.{needed}"')
    if given["type"] == "archive":
        for dataset in datasets:
            state = {"archivable": False, "archiveStatusMessage": "scheduledForArchiving"}
            dataset["datasetlifecycle"] = dataset["datasetlifecycle"] | state
    return {
        **given,
        "id": str(uuid.uuid4()),
        "ownerUser": given.get("ownerUser", account.username),
        "contactEmail": given.get("contactEmail", account.email),
        "statusCode": "jobSubmitted",
        "statusMessage": "Job submitted.",
        **store.stamps(account),
    }


def _listed(store: Store, wanted: Any) -> list[Document]:
    """The data sets that a job is about."""
    if not isinstance(wanted, list) or not all(
        isinstance(one, dict) and set(one) == {"pid", "files"} for one in wanted
    ):
        raise Refusal(422, "Invalid dataset list.")
    if not wanted:
        raise Refusal(422, "List of passed datasets is empty.")
    lost = [one["pid"] for one in wanted if one["pid"] not in store.datasets]
    if lost:
        raise Refusal(422, f"Datasets with pid {','.join(lost)} do not exist.")
    return [store.datasets[one["pid"]] for one in wanted]


def _readable(store: Store, request: Request, pid: str) -> Document:
    account = store.account(request.headers.get("authorization"))
    dataset = store.dataset(unquote(pid), lost=f"dataset: {unquote(pid)} not found")
    if not may_read(account, dataset):
        raise Refusal(403, "Unauthorized access")
    return dataset


def _check_relationships(given: list[RelationshipV4 | RelationshipV5] | None, version: str) -> None:
    """The form of relationships is another in each version."""
    wanted = RelationshipV4 if version == "v4" else RelationshipV5
    if not all(isinstance(one, wanted) for one in given or ()):
        raise Refusal(400, ["relationships.0: has the form of another version"])
