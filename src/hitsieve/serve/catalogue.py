"""`/`: all datasets, found, sorted and shown in parts; `/commands`: how to fetch their hits; `/api/datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hitsieve.catalogue import Catalogue, Order, Part, Record, homes
from hitsieve.catalogue.conditions import Cell, Condition, Either, Every, Not
from hitsieve.catalogue.query import parse
from hitsieve.errors import SettingsError, SourceError
from hitsieve.serve.commands import TOOLS, Tool, origin_of, script
from hitsieve.serve.pages import page
from hitsieve.serve.refusals import status_of
from hitsieve.serve.runs import Runs

SIZES = (25, 50, 100, 200)
"""Datasets on a page."""
MOST_COMMANDS = 1000
"""Datasets of one script."""
LONGEST = 4000
"""Letters of a query."""
MOST_CONDITIONS = 50
"""Of a query: words that are looked for in texts take some 10 ms each among ten thousand datasets."""
MOST_CELLS = 10
"""Cells of a query: each takes some 30 ms among ten thousand datasets."""
MOST_PAGES = 10**6
COLUMNS = (
    ("stem", "Dataset", False),
    ("date", "Date (UTC)", True),
    ("n_images", "Images", True),
    ("n_hits", "Hits", True),
    ("hit_rate", "Hit rate", True),
    ("", "Along the run", True),
    ("indexing_rate", "Indexed", True),
    ("cell_a", "Cell", False),
    ("resolution", "Resolution", False),
    ("pump", "Pump states", False),
    ("hit_bytes", "Size of hits", True),
    ("", "Files", True),
)
"""Field to sort by, heading, and whether the largest come first."""
SLIDERS = ("hit_rate", "resolution", "n_images")
Text = Annotated[str, Query(max_length=LONGEST)]
PageNumber = Annotated[int, Query(ge=1, le=MOST_PAGES)]
PageSize = Annotated[int, Query(ge=1, le=SIZES[-1])]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the page says."""

    q: str
    sort: str
    """A field, with - before it where the largest come first."""
    page: int
    size: int

    @property
    def order(self) -> Order:
        """For the catalogue."""
        return Order(self.sort.removeprefix("-"), down=not self.sort or self.sort.startswith("-"))

    def link(self, **changed: Any) -> str:
        """Address of another page; what is as by default is left out."""
        values = {"q": self.q, "sort": self.sort, "page": self.page, "size": self.size} | changed
        plain = {"q": "", "sort": "", "page": 1, "size": SIZES[1]}
        return "/?" + urlencode({name: value for name, value in values.items() if value != plain[name]})


def router(runs: Runs) -> APIRouter:
    """Routes of the catalogue."""
    routes = APIRouter()

    @routes.get("/")
    def datasets(
        request: Request, q: Text = "", sort: Text = "", page: PageNumber = 1, size: PageSize = SIZES[1]
    ) -> Response:
        return _answer(runs, request, Asked(q, sort, page, size))

    @routes.get("/api/datasets")
    def found(q: Text = "", sort: Text = "", page: PageNumber = 1, size: PageSize = SIZES[1]) -> Response:
        asked = Asked(q, sort, page, size)
        with runs.catalogue() as catalogue:
            part = _part(catalogue, asked)
        records = [record.model_dump(mode="json", exclude={"settings"}) | _strain(far) for record, far in part.records]
        return JSONResponse({"n_found": part.n_found, "page": page, "size": size, "datasets": records})

    @routes.get("/commands")
    def commands(request: Request, q: Text = "", sort: Text = "", tool: Tool = "curl") -> Response:
        with runs.catalogue() as catalogue:
            part = _part(catalogue, Asked(q, sort, 1, MOST_COMMANDS))
        text = script([record for record, _ in part.records], part.n_found, tool, request)
        return PlainTextResponse(text)

    return routes


def _strain(far: float | None) -> dict[str, float]:
    return {} if far is None else {"strain": far}


def _part(catalogue: Catalogue, asked: Asked) -> Part:
    """What is asked for.

    Raises
    ------
    SettingsError
        The query is wrong, or would keep others waiting.
    """
    conditions = list(_conditions_of(parse(asked.q)))
    if len(conditions) > MOST_CONDITIONS:
        raise SettingsError(f"query: has {len(conditions)} conditions, at most {MOST_CONDITIONS} are answered here")
    n_cells = sum(isinstance(condition, Cell) for condition in conditions)
    if n_cells > MOST_CELLS:
        raise SettingsError(f"query: compares {n_cells} cells, at most {MOST_CELLS} are compared here")
    return catalogue.part(asked.q, asked.order, first=(asked.page - 1) * asked.size, most=asked.size)


def _conditions_of(condition: Condition) -> Iterator[Condition]:
    """Those that are joined in it."""
    if isinstance(condition, Every | Either):
        for part in condition.parts:
            yield from _conditions_of(part)
    elif isinstance(condition, Not):
        yield from _conditions_of(condition.part)
    else:
        yield condition


def _answer(runs: Runs, request: Request, asked: Asked) -> Response:
    """The page; a query that is wrong is shown with what is wrong, and its place."""
    problem: SettingsError | None = None
    status, part, told = 200, Part((), 0), _Told(0, dict.fromkeys(SLIDERS))
    try:
        with runs.catalogue() as catalogue:
            told = _Told.by(catalogue)
            part = _part(catalogue, asked)
    except SettingsError as error:
        status, problem = status_of(error), error
    except SourceError:
        # The first run makes it.
        if runs.place.exists():
            raise
    shown = [record for record, _ in part.records]
    context = {
        "asked": asked,
        "columns": COLUMNS,
        "extents": told.extents,
        "fields": _FIELDS,
        "last": max(1, -(-part.n_found // asked.size)),
        "n_found": part.n_found,
        "n_total": told.n_total,
        "origin": origin_of(request),
        "part": part,
        "place": runs.place,
        "problem": problem,
        "sizes": SIZES,
        "strained": any(strain is not None for _, strain in part.records),
        "tools": TOOLS,
        "top": _top(shown),
    }
    return page(request, "catalogue.html", context, status=status)


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said of the catalogue as a whole."""

    n_total: int
    extents: Mapping[str, tuple[float, float] | None]

    @classmethod
    def by(cls, catalogue: Catalogue) -> _Told:
        return cls(len(catalogue), catalogue.extents(SLIDERS))


def _top(records: list[Record]) -> float:
    """End of the axis of the hit rates that are shown together."""
    highest = max((record.hit_rate_high or record.hit_rate or 0.0 for record in records), default=0.0)
    return next(end for end in (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0) if highest <= end)


_FIELDS = [home for home in homes() if home.kind is not None]
