"""The application: all routes but the hot ones, and every error as a problem document."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from idnode.store.base import StoreError
from idnode.web import (
    applications,
    documentation,
    enterprises,
    events,
    handle_keys,
    identifiers,
    jobs,
    keys,
    moving,
    operations,
    people,
    prefixes,
    resolver_description,
    subscriptions,
    templates,
    upward,
    usage,
)
from idnode.web.front import Front
from idnode.web.node import Node, store_problem
from idnode.web.openapi import describe
from idnode.web.problems import MEDIA_TYPE, Problem, not_found, unprocessable
from idnode.web.requests import permit
from idnode.web.snms import data as snms_data
from idnode.web.snms import templates as snms_templates
from idnode.web.snms.envelope import ROOTS, problem_response

_ABOUT = """Registers identifiers, resolves them, and keeps the trace of each product (EPCIS 2.0).

Besides what is listed here, every identifier has its own address, `/{prefix}/{suffix}` (a page, or JSON by `Accept`), and answers
the Handle JSON API at `/api/handles/{prefix}/{suffix}`, which also writes, lists and has sessions: who may do what there hangs on
the handle's own values. A GS1 key's address is a Digital Link: it redirects to the registered link of `linkType`, or answers the
linkset (`linkType=linkset`)."""


PARTS = (
    applications,
    enterprises,
    keys,
    handle_keys,
    prefixes,
    subscriptions,
    usage,
    identifiers,
    resolver_description,
    jobs,
    templates,
    events,
    snms_data,
    snms_templates,
    moving,
    people,
    documentation,
    operations,
    upward,
)


def make_app(node: Node) -> Front:
    """The whole node as one ASGI application."""
    application = FastAPI(
        title=node.settings.name.en,
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(permit)],
    )
    application.state.node = node
    for part in PARTS:
        application.include_router(part.router)
    application.openapi = lambda: describe(application)  # type: ignore[method-assign]
    _add_error_answers(application)
    return Front(node, application, _first_segments())


def _first_segments() -> frozenset[str]:
    """Of all paths of the application."""
    return frozenset(getattr(route, "path", "/").split("/")[1] for part in PARTS for route in part.router.routes)


def _add_error_answers(application: FastAPI) -> None:
    @application.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return _answer(request, problem)

    @application.exception_handler(StoreError)
    async def _store(request: Request, error: StoreError) -> Response:
        return _answer(request, store_problem(error))

    @application.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.NOT_FOUND:
            return _answer(request, not_found(f"there is no {request.url.path[:200]}"), status)
        return _answer(request, Problem(status, str(error.detail), headers=error.headers))

    @application.exception_handler(RequestValidationError)
    async def _parameters(request: Request, error: RequestValidationError) -> Response:
        mistakes = [("/" + "/".join(map(str, each["loc"])), str(each["msg"])) for each in error.errors()[:20]]
        return _answer(request, unprocessable("; ".join(f"{at}: {why}" for at, why in mistakes[:3]), mistakes))

    @application.exception_handler(Exception)
    async def _fault(request: Request, _: Exception) -> Response:
        # The framework raises it on to the server, which logs it; the client learns nothing of what is inside.
        mistake = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the node made a mistake; nothing is wrong with the request")
        return _answer(request, mistake)


def _answer(request: Request, problem: Problem, status: HTTPStatus | None = None) -> Response:
    """A problem; for tools of second-level nodes in their envelope, with `status` where that is HTTP's affair."""
    if request.url.path.startswith(ROOTS):
        return problem_response(problem, status)
    return Response(problem.body(), problem.status, problem.headers, MEDIA_TYPE)
