"""Templates over HTTP: drafts, publication, withdrawal, and items that are disabled."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from idnode.access import Caller
from idnode.template import FIRST_INDEX, LAST_INDEX, Template, TemplateState
from idnode.template_rules import mistakes
from idnode.web.bodies import parsed, read_json
from idnode.web.node import Node
from idnode.web.openapi import takes
from idnode.web.problems import exists, not_found, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, owner_key, owner_of
from idnode.web.template_models import TemplateAnswer, TemplateHead, TemplateOrder, answer_of, head_of

router = APIRouter(prefix="/v1/templates", tags=["templates"])
_HERE = "/v1/templates"
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=takes(TemplateOrder),
    responses={200: {"model": TemplateAnswer, "description": "The draft that was there is overwritten"}},
)
async def put(request: Request, response: Response, node: NodeOf, caller: KnownCaller) -> TemplateAnswer:
    """Write the draft of a template's next version, or over the draft that is there."""
    order = parsed(TemplateOrder, await read_json(request, node.settings.capture))
    owner = await modelled(node, order.prefix, caller)
    highest = newest(await node.store.templates(owner), order.name)
    overwrites = highest is not None and highest.state is TemplateState.DRAFT
    version = 1 if highest is None else highest.version + (not overwrites)
    if order.version not in (None, version):
        raise exists(f"/version: {version} is the version of {order.name} that can be written")
    draft = order.as_template(owner, version)
    refuse_mistakes(draft)
    made = await node.store.put_template(draft, caller.author, node.now_ms())
    if overwrites:
        response.status_code = HTTPStatus.OK
    response.headers["Location"] = f"{_HERE}/{made.owner}/{made.name}/{made.version}"
    return answer_of(made)


def newest(templates: list[Template], name: str) -> Template | None:
    """The highest version of that name."""
    return max((each for each in templates if each.name == name), key=lambda each: each.version, default=None)


def refuse_mistakes(draft: Template) -> None:
    """Raise 422 for a draft that can't be used, naming each mistake."""
    places = {item.index: place for place, item in enumerate(draft.items)}
    errors = [("" if each.index is None else f"/items/{places[each.index]}", each.reason) for each in mistakes(draft)]
    if errors:
        raise unprocessable("; ".join(f"{pointer or 'the template'}: {why}" for pointer, why in errors[:3]), errors[:20])


@router.get("")
async def list_templates(node: NodeOf, caller: AnyCaller, prefix: Annotated[str, Query(max_length=255)]) -> list[TemplateHead]:
    """Every version of every template of a prefix."""
    owner = await readable(node, prefix, caller)
    return [head_of(each) for each in await node.store.templates(owner)]


@router.get("/{prefix}/{name}/{version}")
async def get(prefix: str, name: str, version: Version, node: NodeOf, caller: AnyCaller) -> TemplateAnswer:
    """One version."""
    owner = await readable(node, prefix, caller)
    found = await node.store.template(owner, name, version)
    if found is None:
        raise not_found(f"there is no version {version} of a template {name}")
    return answer_of(found)


@router.post("/{prefix}/{name}/{version}/publish")
async def publish(prefix: str, name: str, version: Version, node: NodeOf, caller: KnownCaller) -> TemplateAnswer:
    """Publish a draft: it never changes again. 409 where it contradicts the version before."""
    owner = await modelled(node, prefix, caller)
    return answer_of(await node.store.publish_template(owner, name, version, caller.author, node.now_ms()))


@router.post("/{prefix}/{name}/{version}/withdraw")
async def withdraw(prefix: str, name: str, version: Version, node: NodeOf, caller: KnownCaller) -> TemplateAnswer:
    """End the use of a published version. What is registered by it stays, and may change by it."""
    owner = await modelled(node, prefix, caller)
    return answer_of(await node.store.withdraw_template(owner, name, version, caller.author, node.now_ms()))


@router.post("/{prefix}/{name}/items/{index}/disable")
async def disable(
    prefix: str, name: str, index: Annotated[int, Path(ge=FIRST_INDEX, le=LAST_INDEX)], node: NodeOf, caller: KnownCaller
) -> TemplateAnswer:
    """Disable an item: in the draft where there is one, else in a draft of the next version, which is to be published."""
    owner = await modelled(node, prefix, caller)
    return answer_of(await node.store.disable_item(owner, name, index, caller.author, node.now_ms()))


async def modelled(node: Node, prefix: str, caller: Caller) -> str:
    """The prefix as it is kept, for its own house or the administrator."""
    await owner_of(node, prefix, caller)
    return owner_key(prefix)


async def readable(node: Node, prefix: str, caller: Caller) -> str:
    """The prefix as it is kept, where the caller may read what is there; else 404."""
    owner = await node.store.enterprise_of(owner_key(prefix))
    if owner is None or not caller.may_read(owner):
        raise not_found(f"there is nothing of {prefix} to be read")
    return owner_key(prefix)
