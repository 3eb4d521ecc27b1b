"""Templates become pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

import hitsieve
from hitsieve.serve import words

HERE = Path(__file__).parent
STATIC = HERE / "static"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= words.FILTERS
    made.globals["version"] = hitsieve.__version__
    return made


_TEMPLATES = _environment()


def render(name: str, context: Mapping[str, Any]) -> str:
    """Text of a template; whatever is put into it is escaped."""
    return _TEMPLATES.get_template(name).render(context)


def page(request: Request, name: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """Answer with a page, made from a template that extends base.html."""
    live = getattr(request.app.state, "live", None) if "app" in request.scope else None
    return HTMLResponse(render(name, {"path": request.url.path, "live": live, **context}), status)
