"""The server's searches."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request

from hitsieve.testing.scicat.bodies import Lifecycle, NewDataset, Technique
from hitsieve.testing.scicat.changing import shown
from hitsieve.testing.scicat.matching import fullquery, matches
from hitsieve.testing.scicat.refusal import Refusal
from hitsieve.testing.scicat.store import Account, Document, Store, may_read

_OWN = {"_id", "pid", "createdAt", "updatedAt", "createdBy", "updatedBy", "version", "datasetId", "id"}
_FIELDS = _OWN | set(NewDataset.model_fields) | set(Lifecycle.model_fields) | set(Technique.model_fields)
_WORDS = "where include limits fields limit skip sort"
_OPERATORS = "$in $or $and $nor $match $eq $gt $gte $lt $lte $ne $nin $not $exists $regex $options"
_ALLOWED = _FIELDS | set(_WORDS.split()) | set(_OPERATORS.split())
_FREE = {"scientificMetadata", "jobParameters", "jobParams", "jobResultObject"}
"""Fields below which any name is allowed."""


def add_searches(app: FastAPI, store: Store) -> None:
    """Add the endpoints that find data sets, blocks and jobs; before those of one data set, whose paths they share."""
    _add_v3(app, store)
    _add_v4(app, store)

    @app.get("/api/v3/origdatablocks")
    async def blocks(request: Request) -> list[Document]:
        filters = _parsed(request, "filter")
        with store.held():
            account = store.account(request.headers.get("authorization"))
            seen = [block for block in store.blocks if may_read(account, store.datasets[block["datasetId"]])]
            return _page(seen, filters.get("where") or {}, filters.get("limits") or {}, 100)

    @app.get("/api/v4/jobs")
    async def jobs(request: Request) -> list[Document]:
        filters = _parsed(request, "filter")
        with store.held():
            account = _somebody(store, request)
            own = [job for job in store.jobs if job.get("ownerGroup") in account.groups or _made(job, account)]
            return _page(own, filters.get("where") or {}, filters.get("limits") or {}, 100)


def _add_v3(app: FastAPI, store: Store) -> None:
    @app.get("/api/v3/datasets/fullquery")
    async def full(request: Request) -> list[Document]:
        fields, limits = _parsed(request, "fields"), _parsed(request, "limits")
        with store.held():
            account = store.account(request.headers.get("authorization"))
            if account is None:
                fields["isPublished"] = True
            elif not fields.get("isPublished"):
                fields["userGroups"] = [*fields.get("userGroups", ()), *account.groups]
            return _page(list(store.datasets.values()), fullquery(fields), limits, 100, api=3)

    @app.get("/api/v3/datasets")
    async def many(request: Request) -> list[Document]:
        filters = _parsed(request, "filter")
        with store.held():
            account = store.account(request.headers.get("authorization"))
            seen = [dataset for dataset in store.datasets.values() if may_read(account, dataset)]
            return _page(seen, filters.get("where") or {}, filters.get("limits") or {}, 100, api=3)


def _add_v4(app: FastAPI, store: Store) -> None:
    def found(request: Request, *, public: bool, limit: int = 10) -> list[Document]:
        filters = _checked(_parsed(request, "filter"))
        if public:
            seen = [dataset for dataset in store.datasets.values() if dataset["isPublished"]]
        else:
            account = _somebody(store, request)
            seen = [dataset for dataset in store.datasets.values() if may_read(account, dataset)]
        page = _page(seen, filters.get("where") or {}, filters.get("limits") or {}, limit)
        names = filters.get("fields")
        return [{name: one[name] for name in ("_id", *names) if name in one} for one in page] if names else page

    @app.get("/api/v4/datasets/public")
    async def public(request: Request) -> list[Document]:
        with store.held():
            return found(request, public=True)

    @app.get("/api/v4/datasets")
    async def many(request: Request) -> list[Document]:
        with store.held():
            return found(request, public=False)

    @app.get("/api/v4/datasets/findOne")
    async def first(request: Request) -> Document | None:
        with store.held():
            return next(iter(found(request, public=False)), None)

    @app.get("/api/v4/datasets/public/count")
    async def count_public(request: Request) -> Document:
        with store.held():
            return {"count": len(found(request, public=True, limit=len(store.datasets) or 1))}

    @app.get("/api/v4/datasets/count")
    async def count(request: Request) -> Document:
        with store.held():
            return {"count": len(found(request, public=False, limit=len(store.datasets) or 1))}


def _page(seen: list[Document], where: Document, limits: Document, limit: int, *, api: int = 4) -> list[Document]:
    """Those of the documents that a query finds, in its order, of its page."""
    found = [document for document in seen if matches(document, where)]
    order = _order(limits)
    if not order and api == 4:
        order = {"createdAt": "desc"}
    for name, direction in reversed(order.items()):
        found.sort(key=lambda one: (name in one, one.get(name), one["_order"]), reverse=direction == "desc")
    start = int(limits.get("skip") or 0)
    return [shown(one, api=api) for one in found[start : start + int(limits.get("limit") or limit)]]


def _order(limits: Document) -> dict[str, str]:
    if isinstance(limits.get("sort"), dict):
        return dict(limits["sort"])
    name, _, direction = str(limits.get("order") or "").partition(":")
    return {name: direction} if name and direction in ("asc", "desc") else {}


def _parsed(request: Request, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(request.query_params.get(name) or "{}")
    except ValueError as error:
        raise Refusal(400, f"Invalid JSON in filter: {error}") from None
    if not isinstance(parsed, dict):
        raise Refusal(400, f"{name} must be an object")
    return parsed


def _checked(filters: Document) -> Document:
    """Refuse names that version 4 does not know, but those below free tables and within lists."""
    for key in _flat(filters):
        free = False
        for part in key.split("."):
            if not free and part not in _ALLOWED:
                raise Refusal(400, f"Property {key} should not exist in the filter object")
            free = free or part in _FREE
    return filters


def _flat(table: Document, start: str = "") -> list[str]:
    keys = []
    for name, value in table.items():
        keys += _flat(value, f"{start}{name}.") if isinstance(value, dict) else [f"{start}{name}"]
    return keys


def _somebody(store: Store, request: Request) -> Account:
    account = store.account(request.headers.get("authorization"))
    if account is None:
        raise Refusal(403, "Unauthorized access")
    return account


def _made(document: Document, account: Account) -> bool:
    return bool(document["createdBy"] == account.username)
