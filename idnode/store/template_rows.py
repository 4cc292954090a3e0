"""The rows of templates. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

from sqlite3 import Connection

import msgspec

from idnode.store.base import NotThere, TemplateFixed
from idnode.store.outcome import refusing
from idnode.template import Template, TemplateState
from idnode.template_rules import published, withdrawn, without_item

_decoder = msgspec.json.Decoder(Template)
_encoder = msgspec.json.Encoder()


def put_template(connection: Connection, draft: Template, author: str, at_ms: int) -> Template:
    """See Templates.put_template."""
    made = msgspec.structs.replace(draft, state=TemplateState.DRAFT)
    there = template(connection, draft.owner, draft.name, draft.version)
    if there is not None and there.state is not TemplateState.DRAFT:
        raise TemplateFixed(f"version {draft.version} of {draft.name} is {there.state}")
    _keep(connection, made, author, at_ms)
    return made


def publish_template(connection: Connection, key: tuple[str, str, int], author: str, at_ms: int) -> Template:
    """See Templates.publish_template."""
    owner, name, version = key
    with refusing():
        made = published(_there(connection, key), template(connection, owner, name, version - 1))
    _keep(connection, made, author, at_ms)
    return made


def withdraw_template(connection: Connection, key: tuple[str, str, int], author: str, at_ms: int) -> Template:
    """See Templates.withdraw_template."""
    with refusing():
        made = withdrawn(_there(connection, key))
    _keep(connection, made, author, at_ms)
    return made


def disable_item(connection: Connection, owner: str, name: str, index: int, author: str, at_ms: int) -> Template:
    """See Templates.disable_item."""
    versions = [each for each in templates(connection, owner) if each.name == name]
    if not versions:
        raise NotThere(f"there is no template {name}")
    with refusing():
        made = without_item(versions[-1], index)
    _keep(connection, made, author, at_ms)
    return made


def template(connection: Connection, owner: str, name: str, version: int) -> Template | None:
    """See Templates.template."""
    row = connection.execute(
        "SELECT content FROM templates WHERE owner = ? AND name = ? AND version = ?", (owner, name, version)
    ).fetchone()
    return None if row is None else _decoder.decode(row[0])


def templates(connection: Connection, owner: str) -> list[Template]:
    """See Templates.templates."""
    rows = connection.execute("SELECT content FROM templates WHERE owner = ? ORDER BY name, version", (owner,))
    return [_decoder.decode(content) for (content,) in rows]


def _there(connection: Connection, key: tuple[str, str, int]) -> Template:
    found = template(connection, *key)
    if found is None:
        raise NotThere(f"there is no version {key[2]} of a template {key[1]}")
    return found


def _keep(connection: Connection, made: Template, author: str, at_ms: int) -> None:
    connection.execute(
        "INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, name, version) DO UPDATE"
        " SET state = excluded.state, since_ms = excluded.since_ms, author = excluded.author, content = excluded.content",
        (made.owner, made.name, made.version, made.state, at_ms, author, _encoder.encode(made)),
    )
