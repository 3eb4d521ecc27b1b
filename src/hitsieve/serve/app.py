"""The application: doors, pages and answers, put together."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from hitsieve.errors import HitsieveError, SettingsError
from hitsieve.serve import catalogue, checksums, downloads, facts, image, live, report, run, subset
from hitsieve.serve.doors import Doors
from hitsieve.serve.packed import script
from hitsieve.serve.pages import STATIC, plotly_js
from hitsieve.serve.refusals import refuse, status_of
from hitsieve.serve.runs import Runs
from hitsieve.serve.tokens import Token
from hitsieve.settings import ServeSettings

OWN = ("127.0.0.1", "::1", "localhost")
"""Names of this computer for itself."""
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104
"""Addresses that stand for all that this computer has."""


def create_app(settings: ServeSettings, *, token: str | None = None) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    settings : ServeSettings
    token : str, optional
        What a visitor must show.

    Raises
    ------
    SettingsError
        Visitors from other computers could come in, and nothing asks who they are.
    """
    check_doors(settings, token)
    secret = None if token is None else Token(token, settings.base_path)
    doors = Middleware(Doors, token=secret, hosts=_hosts(settings, token), base=settings.base_path)
    # The pages that FastAPI makes by itself load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, middleware=[doors])
    app.state.base = settings.base_path
    app.state.live = settings.live
    app.state.token = token is not None
    _add_refusals(app)
    # Without it the pages would stay without charts, and not say why.
    plotly_js()
    runs = Runs(settings)
    for room in (catalogue, facts, run, report, image, subset, downloads, checksums):
        app.include_router(room.router(runs))
    app.include_router(live.router(runs, settings.live, settings.live_spool))

    @app.get("/static/plotly.min.js", include_in_schema=False)
    def plotly(request: Request) -> Response:
        return script(plotly_js(), request)

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        # Browsers ask for it by themselves, where what they show is no page.
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def check_doors(settings: ServeSettings, token: str | None) -> None:
    """Refuse to let everybody in.

    Raises
    ------
    SettingsError
    """
    if settings.host not in OWN and token is None and not settings.behind_proxy:
        raise SettingsError(
            f"at {settings.host or 'all addresses'} other computers could read all runs, and nothing asks who they are",
            mend="give a token with --token-file or HITSIEVE_TOKEN, or --behind-proxy where a proxy asks",
        )


def _hosts(settings: ServeSettings, token: str | None) -> frozenset[str] | None:
    if token is not None and not settings.allow_host:
        # Who is led here by another name has no cookie for it.
        return None
    given = () if settings.host in EVERYWHERE else (settings.host,)
    return frozenset(name.lower() for name in (*OWN, *given, *settings.allow_host))


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(HitsieveError)
    async def known(request: Request, error: HitsieveError) -> Response:
        return refuse(request, status_of(error), error.what, error.mend)

    @app.exception_handler(HTTPException)
    async def nowhere(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return refuse(request, 404, "this address leads nowhere", mend="start from the first page")
        return refuse(request, error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def nonsense(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        return refuse(request, 400, f"{name}: {first['msg'].lower()}", mend="see the pages, or the reference")
