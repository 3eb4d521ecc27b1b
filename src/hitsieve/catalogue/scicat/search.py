"""The search language over the sets of hits that are in SciCat, with the answers of the local catalogue.

The server finds those that may satisfy the query, page by page. What it finds is entered into a local catalogue that is
thrown away, and that is asked the query itself: there is one meaning of a query.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hitsieve.catalogue.found import Found
from hitsieve.catalogue.local import Catalogue
from hitsieve.catalogue.query import FIELDS, parse
from hitsieve.catalogue.record import CELL_FIELDS, Record
from hitsieve.catalogue.scicat import lookup
from hitsieve.catalogue.scicat.answers import Refused
from hitsieve.catalogue.scicat.asking import Where, where_of
from hitsieve.catalogue.scicat.bodies import MARK, RUN, Body, joint
from hitsieve.catalogue.scicat.client import SciCat
from hitsieve.errors import OutputError

_log = logging.getLogger(__name__)
PAGE = 500
"""Data sets of one answer."""
MOST = 1_000_000
"""Data sets after which a server is not believed."""
LONGEST = 4000
"""Letters of a query to the server; a longer one does not fit into a URL everywhere."""
_OWN: Where = {"type": "derived", "keywords": MARK, f"scientificMetadata.{RUN}.value": {"$exists": True}}
_WANTED = ["pid", "inputDatasets", "scientificMetadata", "createdAt"]


@dataclass(frozen=True, slots=True)
class FoundThere:
    """Runs that a query finds in SciCat."""

    runs: list[Found]
    """As the local catalogue gives them; `place` is the pid of the set of hits."""
    records: dict[str, Body]
    """What is told of each, by its id: the fields of a record, `pid` and `inputDatasets`."""
    n_unlike: int
    """Data sets that are not as hitsieve writes them, and were passed over."""


def search(client: SciCat, query: str, *, public: bool = False, page: int = PAGE) -> FoundThere:
    """Runs in SciCat that a query finds, those nearest to its first cell first, else the latest first.

    Parameters
    ----------
    client : SciCat
    query : str
    public : bool
        Nobody is logged in: ask for public data sets only.
    page : int
        Most data sets of one answer.

    Raises
    ------
    SettingsError
        The query is wrong, with its place.
    ServerError
        The server does not answer, or refuses.
    OutputError
        There is no space for what it answers.
    """
    where = where_of(parse(query))
    records, told, unlike = {}, {}, 0
    for dataset in _datasets(client, _joined(where), public=public, size=page):
        record = _record(dataset)
        if record is None:
            unlike += 1
        elif record.id not in records:
            records[record.id] = record
            told[record.id] = _told(record, dataset)
    return FoundThere(_asked(list(records.values()), query), told, unlike)


def _joined(where: Where) -> Where:
    whole = {**_OWN, "$and": [where]} if where else _OWN
    return whole if len(json.dumps(whole)) <= LONGEST else _OWN


def _datasets(client: SciCat, where: Where, *, public: bool, size: int) -> list[Body]:
    """All that the server finds, the latest first, each once."""
    path = "/api/v4/datasets/public" if public else "/api/v4/datasets"
    seen: dict[str, Body] = {}
    skip = 0
    while True:
        limits = {"limit": size, "skip": skip, "sort": {"pid": "asc"}}
        page = lookup.listed(client, path, {"filter": {"where": where, "fields": _WANTED, "limits": limits}})
        told = [one for one in page if one.get("pid")]
        added = {str(one["pid"]): one for one in told if str(one["pid"]) not in seen}
        # A server may give less at once than it is asked for, so that a short page is not the last.
        if not added:
            break
        seen |= added
        skip += len(page)
        if skip > MOST:
            what = f"{client.url}: finds more than {MOST:,} data sets of hitsieve, and no end of them"
            raise Refused(what, status=200, mend="ask a narrower question")
    return sorted(seen.values(), key=lambda one: str(one.get("createdAt", "")), reverse=True)


_SENT = tuple(
    (name, home.key, joint(name) if home.kind == "names" else None) for name, home in FIELDS.items() if home.key
)
"""Each field with its key, and what stands between the words of a list."""


def _record(dataset: Body) -> Record | None:
    """The record that was sent, as far as it was; None where hitsieve did not write it."""
    told = dataset.get("scientificMetadata")
    told = told if isinstance(told, dict) else {}
    values: dict[str, Any] = {"place": dataset["pid"]}
    for name, key, between in _SENT:
        quantity = told.get(key)
        value = quantity.get("value") if isinstance(quantity, dict) else None
        if value is not None:
            values[name] = value if between is None else tuple(str(value).split(between))
    try:
        if 0 < sum(name in values for name in CELL_FIELDS) < len(CELL_FIELDS):
            _log.info("%s: is not as hitsieve writes a set of hits: a part of its cell is lacking", dataset["pid"])
            return None
        return Record.model_validate(values)
    except ValidationError as error:
        wrong = ", ".join(str(part["loc"][0]) for part in error.errors())
        _log.info("%s: is not as hitsieve writes a set of hits: %s", dataset["pid"], wrong)
        return None


def _told(record: Record, dataset: Body) -> Body:
    """What is known of a run by what SciCat has."""
    fields: Body = record.model_dump(mode="json", include=set(FIELDS) - {"place"})
    return {"pid": dataset["pid"], "inputDatasets": dataset.get("inputDatasets") or []} | fields


def _asked(records: list[Record], query: str) -> list[Found]:
    """The answer of a local catalogue of these runs alone."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hitsieve-") as folder,
            Catalogue(Path(folder) / "found.sqlite", create=True) as catalogue,
        ):
            catalogue.add_all(records)
            return catalogue.search(query)
    except (OSError, OutputError) as error:
        what = f"what SciCat found cannot be looked through: {error}"
        raise OutputError(what, mend="name a folder with some space by TMPDIR") from error
