"""The routes for those who run the node: whether it is alive, ready, and what it does."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from idnode.access import Kind
from idnode.operations.exposition import MEDIA_TYPE, exposition
from idnode.settings import MetricsFor
from idnode.store.base import StoreError
from idnode.web.models import HealthAnswer, ReadyAnswer
from idnode.web.problems import forbidden, unauthenticated
from idnode.web.requests import AnyCaller, NodeOf

router = APIRouter(tags=["node"])


@router.get("/healthz")
async def healthz() -> HealthAnswer:
    """The node answers."""
    return HealthAnswer(status="ok")


@router.get("/readyz", responses={503: {"model": ReadyAnswer, "description": "It isn't; the reasons"}})
async def readyz(response: Response, node: NodeOf) -> ReadyAnswer:
    """Whether requests should be sent here."""
    reasons = []
    if node.panel.is_leaving():
        reasons.append("it is being stopped")
    try:
        await node.store.enterprise("")
        node.store.refresh()
    except StoreError:
        reasons.append("the store can't be read")
    if reasons:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return ReadyAnswer(ready=not reasons, reasons=reasons)


@router.get("/metrics", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def metrics(node: NodeOf, caller: AnyCaller) -> Response:
    """What the node has done, as OpenMetrics; of all its workers."""
    if node.settings.operations.metrics is MetricsFor.ADMIN and caller.kind is not Kind.ADMIN:
        raise unauthenticated() if caller.kind is Kind.ANYBODY else forbidden("this is the administrator's")
    return Response(exposition(await node.panel.reports()), media_type=MEDIA_TYPE)
