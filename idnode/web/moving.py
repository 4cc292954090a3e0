"""The store's move to another place, over HTTP: `mumian idnode migrate-store` asks for it, as the administrator."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from idnode.store.base import StoreAway
from idnode.store.movable import Movable
from idnode.web.node import Node
from idnode.web.problems import exists
from idnode.web.requests import NodeOf

router = APIRouter(prefix="/v1/store", tags=["node"])


def _movable(node: Node) -> Movable:
    if not isinstance(node.store, Movable):
        raise exists("this node's store can't be moved")
    return node.store


@router.post("/hold", status_code=HTTPStatus.NO_CONTENT)
async def hold(node: NodeOf, seconds: Annotated[float, Query(ge=0.001, le=600, description="For so long at most.")] = 60) -> None:
    """Let all changes wait. Reads go on."""
    try:
        await _movable(node).hold(seconds)
    except StoreAway as error:
        raise exists(str(error)) from error


@router.post("/release", status_code=HTTPStatus.NO_CONTENT)
async def release(node: NodeOf) -> None:
    """Let changes go on."""
    await _movable(node).release()


@router.post("/leave", status_code=HTTPStatus.NO_CONTENT)
async def leave(node: NodeOf) -> None:
    """Take no change any more, because all is in another store by now; 409 when changes weren't held back till now."""
    try:
        await _movable(node).leave()
    except StoreAway as error:
        raise exists(str(error)) from error
