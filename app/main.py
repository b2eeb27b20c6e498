"""The web front end."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_swagger import patch_fastapi
from starlette.middleware.cors import CORSMiddleware

from app.api import problems
from app.api.documented import DocumentedAPI
from app.api.front import REQUEST_ID, FrontMiddleware
from app.api.routers import (
    catalog,
    concepts,
    deletions,
    erasures,
    evaluations,
    generations,
    health,
    imports,
    jobs,
    lineages,
    users,
    versions,
)
from app.db.schema import check_schema
from app.db.session import make_engine
from app.domain.errors import NotReadyError
from app.logs import configure_logging
from app.metrics.serving import serve_metrics
from app.services.context import open_services
from app.settings import Settings, get_settings
from app.version import VERSION

# In the order of the OpenAPI document, and in which routes are tried: nothing is asked more often than how a job goes.
_ROUTERS = (
    jobs,
    concepts,
    lineages,
    versions,
    imports,
    erasures,
    generations,
    evaluations,
    deletions,
    catalog,
    users,
    health,
)

_DESCRIPTION = """Teaches one diffusion model concept after concept, and shows what each costs the earlier ones.

Upload **concepts**, teach them one after another into a **lineage**, and draw pictures from any of its versions.
Training and drawing are **jobs**: a POST answers 202 with one, and `GET /v1/jobs/{id}` tells how far it is.
Errors are problem details (RFC 9457). A resource of somebody else is as unknown as one that never was: 404."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application over the services that the settings, by default the environment's, name."""
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            yield

    app = DocumentedAPI(
        title="Palimpsest",
        version=VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    # FastAPI's own page loads Swagger UI from a CDN; this one works without the internet, and keeps no key.
    patch_fastapi(app, redirect_from_root_to_docs=False, swagger_ui_parameters={"displayRequestDuration": True})
    problems.install(app)
    if settings.cors_origins:
        _allow_pages_of(settings.cors_origins, app)
    app.add_middleware(FrontMiddleware)
    for module in _ROUTERS:
        app.include_router(module.router)
    return app


def _allow_pages_of(origins: Sequence[str], app: FastAPI) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", REQUEST_ID],
        expose_headers=["ETag", "Location", "Retry-After", REQUEST_ID],
    )


def serve() -> FastAPI:
    """The application of a process of its own: `uvicorn --factory app.main:serve`."""
    configure_logging()
    settings = get_settings()
    try:
        _check_schema(settings)
        serve_metrics(settings)
    except NotReadyError as error:
        sys.exit(f"palimpsest: {error.detail}")
    return create_app(settings)


def _check_schema(settings: Settings) -> None:
    if settings.database_url is not None:
        engine = make_engine(settings.database_url)
        check_schema(engine)
        engine.dispose()


def _operation_id(route: APIRoute) -> str:
    """The function's name: clients that are generated from `/openapi.json` get readable methods."""
    return route.name
