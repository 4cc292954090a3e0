"""The rows of templates. Functions on a session; who calls them owns the transaction."""

from __future__ import annotations

import msgspec

from idnode.store.base import NotThere, TemplateFixed
from idnode.store.outcome import refusing
from idnode.store.postgres.connection import Session
from idnode.template import Template, TemplateState
from idnode.template_rules import published, withdrawn, without_item

_decoder = msgspec.json.Decoder(Template)
_encoder = msgspec.json.Encoder()


async def lock(session: Session, owner: str) -> None:
    """Who changes a template of that owner waits until the transaction ends."""
    await session.value("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", owner)


async def put_template(session: Session, draft: Template, author: str, at_ms: int) -> Template:
    """See Templates.put_template."""
    await lock(session, draft.owner)
    made = msgspec.structs.replace(draft, state=TemplateState.DRAFT)
    there = await template(session, draft.owner, draft.name, draft.version)
    if there is not None and there.state is not TemplateState.DRAFT:
        raise TemplateFixed(f"version {draft.version} of {draft.name} is {there.state}")
    return await _keep(session, made, author, at_ms)


async def publish_template(session: Session, key: tuple[str, str, int], author: str, at_ms: int, again: bool) -> Template:
    """See Templates.publish_template."""
    owner, name, version = key
    await lock(session, owner)
    there = await _there(session, key)
    if again and there.state is TemplateState.PUBLISHED and await _is_own(session, key, author, at_ms):
        return there
    with refusing():
        made = published(there, await template(session, owner, name, version - 1))
    return await _keep(session, made, author, at_ms)


async def withdraw_template(session: Session, key: tuple[str, str, int], author: str, at_ms: int, again: bool) -> Template:
    """See Templates.withdraw_template."""
    await lock(session, key[0])
    there = await _there(session, key)
    if again and there.state is TemplateState.WITHDRAWN and await _is_own(session, key, author, at_ms):
        return there
    with refusing():
        made = withdrawn(there)
    return await _keep(session, made, author, at_ms)


async def disable_item(session: Session, owner: str, name: str, index: int, author: str, at_ms: int, again: bool) -> Template:
    """See Templates.disable_item."""
    await lock(session, owner)
    versions = [each for each in await templates(session, owner) if each.name == name]
    if not versions:
        raise NotThere(f"there is no template {name}")
    newest = versions[-1]
    if again and await _is_own(session, (owner, name, newest.version), author, at_ms):
        return newest
    with refusing():
        made = without_item(newest, index)
    return await _keep(session, made, author, at_ms)


async def template(session: Session, owner: str, name: str, version: int) -> Template | None:
    """See Templates.template."""
    content = await session.value(
        "SELECT content FROM templates WHERE owner = $1 AND name = $2 AND version = $3", owner, name, version
    )
    return None if content is None else _decoder.decode(content)


async def templates(session: Session, owner: str) -> list[Template]:
    """See Templates.templates."""
    rows = await session.rows("SELECT content FROM templates WHERE owner = $1 ORDER BY name, version", owner)
    return [_decoder.decode(content) for (content,) in rows]


async def _there(session: Session, key: tuple[str, str, int]) -> Template:
    found = await template(session, *key)
    if found is None:
        raise NotThere(f"there is no version {key[2]} of a template {key[1]}")
    return found


async def _is_own(session: Session, key: tuple[str, str, int], author: str, at_ms: int) -> bool:
    """Whether it became what it is by this very request, whose connection was lost."""
    row = await session.row("SELECT author, since_ms FROM templates WHERE owner = $1 AND name = $2 AND version = $3", *key)
    return row is not None and tuple(row) == (author, at_ms)


async def _keep(session: Session, made: Template, author: str, at_ms: int) -> Template:
    await session.value(
        "INSERT INTO templates VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (owner, name, version) DO UPDATE"
        " SET state = excluded.state, since_ms = excluded.since_ms, author = excluded.author, content = excluded.content",
        made.owner, made.name, made.version, made.state.value, at_ms, author, _encoder.encode(made),
    )  # fmt: skip
    return made
