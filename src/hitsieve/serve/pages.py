"""Templates become pages."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

import hitsieve
from hitsieve.errors import SettingsError
from hitsieve.serve import marks, words

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
    made.filters |= {"line": marks.line_of, "along": marks.said_of, "share": marks.share_of}
    made.globals["version"] = hitsieve.__version__
    # Of a page that stands for itself.
    made.globals["base"] = ""
    return made


_TEMPLATES = _environment()


def render(name: str, context: Mapping[str, Any]) -> str:
    """Text of a template; whatever is put into it is escaped."""
    return _TEMPLATES.get_template(name).render(context)


def page(request: Request, name: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """Answer with a page, made from a template that extends base.html."""
    state = request.app.state
    shared = {"path": request.scope["path"], "base": state.base, "live": state.live, "token": state.token}
    return HTMLResponse(render(name, shared | dict(context)), status)


def plotly_js() -> Path:
    """The script that draws, as the package plotly ships it.

    Raises
    ------
    SettingsError
        The package is not installed.
    """
    found = importlib.util.find_spec("plotly")
    places = found.submodule_search_locations if found else None
    for place in places or ():
        path = Path(place) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    raise SettingsError("the package plotly, which draws the charts, is not installed", mend="pip install plotly")
