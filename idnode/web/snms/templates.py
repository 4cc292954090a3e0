"""Templates by the SNMS API: each is one of ours whose versions are published as soon as they are written.

Items are added, changed as far as records allow, and disabled; none is taken out. Deleted is a template whose versions are all
withdrawn: nothing more is registered by it, what was stays.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from idnode.access import Caller
from idnode.affairs import CATEGORY, Category, put_affair, read_affair
from idnode.enterprise import Name
from idnode.store.base import Store
from idnode.template import FIRST_INDEX, LONGEST_TEXT, Item, Kind, Template, TemplateState
from idnode.web.bodies import parsed, read_json
from idnode.web.node import Node
from idnode.web.openapi import takes
from idnode.web.problems import exists, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf
from idnode.web.snms.envelope import NO_TEMPLATE, Status, ended, success
from idnode.web.snms.models import SnmsItem, SnmsTemplate, SnmsTemplateKey
from idnode.web.snms.names import in_force, of_version, template_name, version_text
from idnode.web.templates import modelled, readable, refuse_mistakes

router = APIRouter(prefix="/snms/api/v5/template", tags=["SNMS"])
_TEMPLATE_EXISTS = "模板已存在"


@router.get("", response_model=None)
async def get(
    node: NodeOf,
    caller: AnyCaller,
    prefix: Annotated[str, Query(min_length=1, max_length=255)],
    version: Annotated[str, Query(min_length=1, max_length=128)],
) -> Response:
    """The template as it is in force."""
    owner = await readable(node, prefix, caller)
    found = in_force(await node.store.templates(owner), version)
    if found is None:
        return ended(Status.REFUSED, NO_TEMPLATE)
    return success(await _told(node.store, found))


@router.post("", openapi_extra=takes(SnmsTemplate), response_model=None)
async def create(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Make a template. Again with the same content is no mistake."""
    body = parsed(SnmsTemplate, await read_json(request, node.settings.capture))
    owner = await modelled(node, body.prefix, caller)
    templates = await node.store.templates(owner)
    newest = of_version(templates, body.version)
    name = template_name(body.version) if newest is None else newest.name
    if name is None:
        detail = "at most 64 characters, of which others than a-z, 0-9 and - count three for each byte"
        raise unprocessable(f"/version: {detail}", [("/version", detail)])
    made = Template(owner, name, 1, _title(body), tuple(_placed([_item(each, None) for each in body.items])))
    if newest is not None and newest.state is TemplateState.PUBLISHED:
        if (newest.items, newest.title) != (made.items, made.title):
            raise exists(_TEMPLATE_EXISTS)
        return success()
    await _publish(node, caller, made, newest)
    await _keep_category(node, caller, made, body)
    return success()


@router.put("", openapi_extra=takes(SnmsTemplate), response_model=None)
async def update(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Add items, change, disable and enable them; what isn't listed stays."""
    body = parsed(SnmsTemplate, await read_json(request, node.settings.capture))
    owner = await modelled(node, body.prefix, caller)
    templates = await node.store.templates(owner)
    current = in_force(templates, body.version)
    if current is None:
        return ended(Status.REFUSED, NO_TEMPLATE)
    items = {item.index: item for item in current.items}
    by_type = {item.type: item for item in current.items}
    changed = []
    for each in body.items:
        before = by_type.get(each.id_type) if each.id_index is None else items.get(each.id_index)
        if before is not None and before.type != each.id_type:
            raise unprocessable(f"idIndex {each.id_index} 与 idType {each.id_type} 不匹配")
        changed.append(_item(each, before))
    listed = {item.index for item in changed}
    kept = [item for item in current.items if item.index not in listed]
    made = msgspec.structs.replace(
        current, title=_title(body) if body.description.strip() else current.title, items=tuple(_placed([*kept, *changed]))
    )
    if made != current:
        await _publish(node, caller, made, of_version(templates, body.version))
    await _keep_category(node, caller, made, body)
    return success()


@router.delete("", openapi_extra=takes(SnmsTemplateKey), response_model=None)
async def delete(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Withdraw a template: nothing more is registered by it."""
    body = parsed(SnmsTemplateKey, await read_json(request, node.settings.capture))
    owner = await modelled(node, body.prefix, caller)
    templates = await node.store.templates(owner)
    newest = of_version(templates, body.version)
    if newest is None:
        return ended(Status.REFUSED, NO_TEMPLATE)
    for each in templates:
        if each.name == newest.name and each.state is TemplateState.PUBLISHED:
            await node.store.withdraw_template(owner, each.name, each.version, caller.author, node.now_ms())
    return success()


async def _publish(node: Node, caller: Caller, made: Template, newest: Template | None) -> None:
    """Write the next version and publish it. A draft that says otherwise is somebody's work, and stays."""
    version = 1 if newest is None else newest.version + (newest.state is not TemplateState.DRAFT)
    draft = msgspec.structs.replace(made, version=version, state=TemplateState.DRAFT)
    if newest is not None and newest.state is TemplateState.DRAFT and newest != draft:
        raise exists(f"there is a draft of {draft.name}, version {version}: publish or change that first")
    refuse_mistakes(draft)
    await node.store.put_template(draft, caller.author, node.now_ms())
    await node.store.publish_template(draft.owner, draft.name, version, caller.author, node.now_ms())


def _title(body: SnmsTemplate) -> Name:
    return Name(body.description.strip() or body.version, body.version)


def _item(body: SnmsItem, before: Item | None) -> Item:
    """An item as SNMS says it; what SNMS can't say is as it was. Index 0: to be placed."""
    disabled = body.state == 0 if body.state is not None else before is not None and before.disabled
    name = Name(body.name.strip() or body.id_type, body.id_type if before is None else before.name.en)
    if before is not None and before.kind is not Kind.TEXT:
        return msgspec.structs.replace(before, name=name, required=body.required, disabled=disabled)
    shortest, longest = body.metadata.min_length, body.metadata.max_length
    if before is not None:
        return msgspec.structs.replace(
            before, name=name, required=body.required, disabled=disabled, shortest=shortest, longest=longest
        )
    return Item(
        body.id_index or 0,
        body.id_type,
        name,
        Kind.TEXT,
        required=body.required,
        shortest=shortest,
        longest=longest,
        disabled=disabled,
    )


def _placed(items: list[Item]) -> list[Item]:
    """The items by index; new ones without one behind all others."""
    free = max([FIRST_INDEX, *(item.index + item.places for item in items)])
    placed = []
    for item in items:
        if not item.index:
            item, free = msgspec.structs.replace(item, index=free), free + 1
        placed.append(item)
    return sorted(placed, key=lambda each: each.index)


async def _keep_category(node: Node, caller: Caller, template: Template, body: SnmsTemplate) -> None:
    category = Category((body.industry_category, body.industry_specific, body.industry_trade, body.industry_subclass), body.type)
    put = put_affair(CATEGORY, f"{template.owner}/{template.name}", category, template.owner)
    await node.store.write((put,), caller.author, node.now_ms())


async def _told(store: Store, template: Template) -> dict[str, object]:
    entry = await store.entry(CATEGORY, f"{template.owner}/{template.name}")
    category = Category() if entry is None else read_affair(entry.content, Category)
    names = ("industryCategory", "industrySpecific", "industryTrade", "industrySubclass")
    return {
        "id": template.version,
        "prefix": template.owner,
        "name": "",
        "version": version_text(template.name),
        **dict(zip(names, category.industry, strict=True)),
        "type": category.type,
        "description": template.title.zh,
        "items": [_told_item(item) for item in template.items],
    }


def _told_item(item: Item) -> dict[str, object]:
    longest = LONGEST_TEXT if item.longest is None else item.longest
    return {
        "name": item.name.zh,
        "idType": item.type,
        "idIndex": item.index,
        "metadataId": item.index,
        "metadata": {"type": "string", "minLength": item.shortest or 0, "maxLength": longest},
        "required": item.required,
        "state": 0 if item.disabled else 1,
    }
