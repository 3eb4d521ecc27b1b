"""`/runs/ID/facts`: what is known of a run as a dataset, where it came from, and its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from hitsieve.catalogue import Home, Record, homes
from hitsieve.errors import HitsieveError
from hitsieve.serve import words
from hitsieve.serve.commands import TOOLS, command, file_path, origin_of
from hitsieve.serve.pages import page
from hitsieve.serve.runs import Runs

SECTIONS = {
    "Rates": (
        *("n_images", "n_hits", "n_misses", "n_unreadable", "n_missing", "hit_rate", "n_indexed", "n_lattices"),
        *("indexing_rate", "rule", "min_spots", "false_hit_rate", "lost_share", "lost_share_high"),
    ),
    "Images": (
        *("cell_origin", "geometry_residual", "resolution", "resolution_best"),
        *("n_spots_hits", "background", "ice_fraction", "saturated_fraction", "n_jet_stops", "n_without_jet"),
    ),
    "Measurement": (
        *("title", "sample_name", "sample_id", "experiment", "instrument", "facility", "start_time", "end_time"),
        *("detector", "distance", "wavelength", "photon_energy", "pump"),
    ),
    "Provenance": (
        *("source_path", "n_files", "source_bytes", "place", "date", "program", "version", "verdict_on"),
        *("hit_bytes", "miss_bytes", "n_audit", "hits_digest", "seconds", "id"),
    ),
}
"""Fields of the record, as they stand together; intervals stand with their rates, and the cell is one line."""
_HOMES: Mapping[str, Home] = {home.field: home for home in homes()}
KINDS = {
    "hits": "hits only, NXmx",
    "annotated": "master over the original images",
    "images": "table, a row an image",
    "summary": "numbers of the run",
    "pump": "hits of one pump state",
    "misses": "all misses",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a section."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file of a run, as it is now."""

    name: str
    kind: str
    size: int | None
    """Bytes; None where it is not there, or not to be shown."""
    sha256: str | None
    path: str
    """On this server."""
    commands: Mapping[str, str]


def router(runs: Runs) -> APIRouter:
    """Routes of datasets."""
    routes = APIRouter()

    @routes.get("/runs/{identity}/facts")
    def facts(request: Request, identity: str) -> Response:
        record = runs.record(identity)
        lost: HitsieveError | None = None
        names = {file.name: file.kind for file in record.files}
        try:
            served = runs.served(identity)
            if served.outputs.misses is not None:
                names[served.outputs.misses.name] = "misses"
        except HitsieveError as error:
            lost = error
        context = {
            "record": record,
            "sections": {title: list(_facts(record, fields)) for title, fields in SECTIONS.items()},
            "files": [_file(runs, record, name, kind, request) for name, kind in names.items()],
            "settings": rooms_of(record.settings),
            "lost": lost,
        }
        return page(request, "facts.html", context)

    return routes


def _facts(record: Record, fields: tuple[str, ...]) -> Iterator[Fact]:
    if "cell_origin" in fields and record.cell is not None:
        a, b, c, alpha, beta, gamma = (words.number(value, 5) for value in record.cell)
        text = f"{a}, {b}, {c} Å, {alpha}, {beta}, {gamma}° {record.centring or ''}"
        yield Fact("Cell", text.rstrip(), "a, b, c, alpha, beta, gamma and centring of the cell that was looked for")
    for field in fields:
        value, home = getattr(record, field), _HOMES[field]
        if value is not None and value != ():
            low, high = (getattr(record, f"{field}_{end}", None) for end in ("low", "high"))
            interval = f" ({words.percent(low)} to {words.percent(high)})" if low is not None else ""
            yield Fact(home.about.human, _said(value, home) + interval, home.meaning)


def _said(value: Any, home: Home) -> str:
    """A value with its unit."""
    if home.share:
        return words.percent(value)
    if home.about.unit == "bytes":
        return f"{words.size(value)} ({value:,} bytes)"
    if home.kind == "time":
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, tuple):
        return ", ".join(value)
    text = f"{value:,}" if isinstance(value, int) else f"{value:.5g}" if isinstance(value, float) else str(value)
    return f"{text} {home.about.unit}".rstrip()


def _file(runs: Runs, record: Record, name: str, kind: str, request: Request) -> ShownFile:
    known = next((file for file in record.files if file.name == name), None)
    size: int | None = None
    # What cannot be had is listed all the same.
    with suppress(HitsieveError, OSError, ValueError):
        size = runs.allowed(Path(record.place).with_name(name), of=record).stat().st_size
    path = file_path(record, name)
    token = bool(request.app.state.token)
    commands: dict[str, str] = {tool: command(origin_of(request) + path, name, tool, token=token) for tool in TOOLS}
    same = known is not None and known.size == size
    return ShownFile(name, KINDS[kind], size, known.sha256 if known and same else None, path, commands)


def rooms_of(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Settings by room, as text; those of a room within a room have its name before theirs."""
    rooms: dict[str, dict[str, str]] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rooms[name] = dict(_texts(value))
        else:
            rooms.setdefault("run", {})[name] = _plain(value)
    return rooms


def _texts(room: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in room.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", text) for inner, text in _texts(value))
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return words.NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or words.NOTHING
    return str(value)
