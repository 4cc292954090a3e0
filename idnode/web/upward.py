"""Reports to the top-level node over HTTP: how they go, what was refused, and what a person can do about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms
from idnode.upward.books import Aside, Books
from idnode.web.bodies import parsed, read_json
from idnode.web.json_response import JsonResponse
from idnode.web.models import Body
from idnode.web.node import Node
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import exists, unprocessable
from idnode.web.requests import NodeOf

router = APIRouter(prefix="/v1/upward", tags=["node"])


class UpwardAnswer(BaseModel):
    """How reports to the top-level node go."""

    enabled: bool = Field(description="Whether this node reports at all.")
    node: str
    epoch: str | None = Field(description="The life of the books; none where nothing was reported yet.")
    last_sequence: int = Field(description="Of the last report that was made.")
    waiting: int = Field(description="Reports that aren't acknowledged.")
    put_aside: int = Field(description="Reports that were refused.")
    oldest: str | None = Field(description="The end of the period of the oldest that waits.")
    reached: bool | None = Field(description="Whether the last report and the last heartbeat were taken; none: not tried yet.")
    failure: str = Field(description="Why not.")
    since: str | None = Field(description="Since when that is so.")


class RefusedAnswer(BaseModel):
    """A report that was refused."""

    sequence: int
    begin: str | None = Field(description="Of its period; none: from the beginning on.")
    end: str
    reason: str
    at: str = Field(description="When it was last refused.")
    body: str = Field(description="What it says.")


class RetryOrder(Body):
    """What is to be sent again."""

    sequence: Annotated[int, Field(ge=1, le=2**53 - 1, description="This one; all when absent.")] | None = None


class RetryAnswer(BaseModel):
    """What is sent again."""

    retried: int


@router.get("", response_model=UpwardAnswer)
async def status(node: NodeOf) -> Response:
    """What waits for the top-level node, and whether it is reached."""
    return JsonResponse(await _status(node))


@router.get("/refused", response_model=list[RefusedAnswer])
async def refused(node: NodeOf, page: Paged) -> Response:
    """The reports that the top-level node refused, the oldest first."""
    if page.after and not (page.after.isascii() and page.after.isdecimal() and len(page.after) < 20):
        raise unprocessable("after: is no sequence", [("/query/after", "is no sequence")])
    found = await _books(node).aside(page.after, page.limit + 1)
    answer = [_refused(each) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: str(each.report.sequence)))


@router.post("/retry", openapi_extra=takes(RetryOrder), response_model=RetryAnswer)
async def retry(request: Request, node: NodeOf) -> Response:
    """Send what was refused again, before whatever is newer."""
    order = parsed(RetryOrder, await read_json(request, node.settings.capture))
    _check_enabled(node)
    return JsonResponse({"retried": await _books(node).retry(order.sequence)})


@router.post("/begin-anew", response_model=UpwardAnswer)
async def begin_anew(node: NodeOf) -> Response:
    """Begin a new epoch: what waits or was refused is void, and the next report tells all that there is."""
    _check_enabled(node)
    await _books(node).begin_anew()
    return JsonResponse(await _status(node))


def _books(node: Node) -> Books:
    return Books(node.store, node.now_ms)


def _check_enabled(node: Node) -> None:
    if node.settings.upward.url is None:
        raise exists("this node reports to nobody: upward.url is not set")


async def _status(node: Node) -> dict[str, object]:
    books = _books(node)
    state, link = await books.look(), await books.link()
    head = None if state is None else await books.head()
    return UpwardAnswer(
        enabled=node.settings.upward.url is not None,
        node=node.settings.node_prefix,
        epoch=None if state is None else state.epoch,
        last_sequence=0 if state is None else state.last,
        waiting=0 if state is None else state.waiting,
        put_aside=0 if state is None else state.aside,
        oldest=None if head is None else from_epoch_ms(head.end_ms),
        reached=None if link is None else not link.failure,
        failure="" if link is None else link.failure,
        since=None if link is None else from_epoch_ms(link.since_ms),
    ).model_dump(mode="json")


def _refused(aside: Aside) -> dict[str, object]:
    report = aside.report
    begin = None if report.begin_ms is None else from_epoch_ms(report.begin_ms)
    answer = RefusedAnswer(
        sequence=report.sequence,
        begin=begin,
        end=from_epoch_ms(report.end_ms),
        reason=aside.reason,
        at=from_epoch_ms(aside.at_ms),
        body=report.body.decode("utf-8", "replace"),
    )
    return answer.model_dump(mode="json")
