"""What node and gateway say to each other and to strangers, and what a gateway finds on its own disk."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

import numpy as np
from pydantic import BaseModel, ValidationError

from drivers.model import Frame, Kind, TagTable
from gateway.outbox.codec import (
    RecordDamaged,
    RecordUnknown,
    decode_record,
    decode_table,
    encode_record,
    encode_table,
    table_digest,
)
from gateway.products.leases import HttpLeases
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.sinks.http import httpx
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.record import Data, Format, HandleValue, Record, Registered, Registration
from idnode.resolver import Resolution, Verdict
from idnode.store.content import decode_content, encode_registration
from idnode.store.outcome import first_version, outcome
from idnode.strict_json import NotJson, loads
from idnode.template_rules import mistakes as template_mistakes
from idnode.web.bodies import mistakes
from idnode.web.business_models import (
    ApplicationOrder,
    EnterpriseOrder,
    EnterprisePatch,
    KeyOrder,
    PrefixOrder,
    SubscriptionOrder,
)
from idnode.web.handle_json import handle_answer
from idnode.web.models import BatchOrder, LeaseRequest, RegistrationOrder
from idnode.web.template_models import TemplateOrder, answer_of
from tests.fuzz.draw import Draw, Written

ORDERS: tuple[type[BaseModel], ...] = (
    RegistrationOrder,
    BatchOrder,
    EnterpriseOrder,
    LeaseRequest,
    KeyOrder,
    EnterprisePatch,
    ApplicationOrder,
    PrefixOrder,
    SubscriptionOrder,
    TemplateOrder,
)
PREFIX = "88.100.1"
_FOUND = Resolution(
    Identifier(PREFIX, "P-1"),
    Verdict.FOUND,
    None,
    Record(Identifier(PREFIX, "P-1"), 1, (), 0, "admin"),
    (HandleValue(1, "URL", Data(Format.STRING, "https://h/")), HandleValue(2000, "PART", Data(Format.STRING, "7"))),
)


def run_order(data: bytes) -> None:
    """A body of the node's interface: taken, stored and read back the same, or refused with what is wrong where."""
    draw = Draw(data)
    model = draw.choice(ORDERS)
    try:
        content = loads(draw.rest())
    except NotJson:
        return
    try:
        order = model.model_validate(content)
    except ValidationError as error:
        found = mistakes(error)
        assert found
        assert all(what and (not where or where.startswith("/")) for where, what in found)
        json.dumps(found, ensure_ascii=False).encode()
        return
    if isinstance(order, TemplateOrder):
        draft = order.as_template(PREFIX, 1)
        assert (draft.name, len(draft.items), answer_of(draft).items) == (order.name, len(order.items), order.items)
        assert all(each.reason for each in template_mistakes(draft))
    if isinstance(order, RegistrationOrder):
        values = order.as_values()
        made = Registration(Identifier(PREFIX, "P-1"), values)
        there = first_version(made, "admin", 1)
        assert decode_content(encode_registration(made), 1).values == there.values
        assert outcome(there, made) is Registered.REPEATED
        try:
            assert str(parse_identifier(order.handle))
        except InvalidIdentifier:
            return


def order_seeds() -> list[bytes]:
    """One of each."""
    values = [
        {"index": 2, "type": "PART", "data": "7"},
        {"index": 3, "type": "X", "data": {"format": "hex", "value": "0a"}, "ttl": 5},
    ]
    name = {"zh": "泵", "en": "Pump"}
    item = {"index": 2000, "type": "FLOW", "name": name, "kind": "decimal", "least": "0.5", "unit": "MQH", "places": 2}
    bodies = (
        {"handle": "88.100.1/P-1", "values": values},
        {"registrations": [{"handle": "88.100.1/P-1", "values": values}, 5]},
        {"id": "acme", "name": {"zh": "木棉", "en": "Acme"}, "public": False},
        {"count": 5, "holder": "hall-1"},
        {"label": "line", "role": "gateway"},
        {"quota": 5, "expires": "2027-01-01T00:00:00.000Z", "contacts": [{"name": "Lin", "email": "lin@h"}]},
        {"id": "acme", "name": {"zh": "木棉", "en": "Acme"}, "contacts": [{"name": "Lin", "email": "lin@h"}]},
        {"prefix": "gs1:9506000", "reason": "its own"},
        {"url": "https://h/x", "topics": ["registered"]},
        {"prefix": "88.100.1", "name": "pump", "title": name, "items": [item, {**item, "kind": "text", "pattern": "[a-z]+"}]},
    )
    return [Written().number(place, len(ORDERS) - 1).data + json.dumps(body).encode() for place, body in enumerate(bodies)]


def run_query(data: bytes) -> None:
    """The query of a handle request: an answer in JSON, whatever is asked for."""
    query = parse_qs(data.decode("latin-1"), keep_blank_values=True)
    answer = handle_answer(_FOUND, "88.100.1/P-1", query, anonymous=True)
    assert answer.status in (200, 400)
    assert json.loads(answer.body)["handle"] == "88.100.1/P-1"


def query_seeds() -> list[bytes]:
    """Good ones, and an index that is none."""
    return [b"index=1&type=PART", b"type=PA.&pretty", b"index=" + b"1" * 30, b"index=\xb2", b"index=-1&auth=true"]


def run_answer(data: bytes) -> None:
    """A node's answer to a gateway that wants a lease: suffixes, or one of the two errors that say what to do next."""
    draw = Draw(data)
    status = draw.choice((200, 201, 204, 302, 400, 404, 429, 500, 503))
    answer = httpx.Response(status, content=draw.rest())
    try:
        suffixes = asyncio.run(_lease(answer))
    except (SinkRefused, SinkUnreachable) as error:
        assert len(str(error)) < 2000
    else:
        assert suffixes
        assert all(isinstance(suffix, str) for suffix in suffixes)


async def _lease(answer: httpx.Response) -> tuple[str, ...]:
    leases = HttpLeases("http://node", None, "hall-1", httpx.MockTransport(lambda _: answer))
    try:
        return tuple(await leases.lease(PREFIX, 5, "key"))
    finally:
        await leases.close()


def answer_seeds() -> list[bytes]:
    """A lease, one for somebody else, and a refusal with its reason."""
    lease = {"lease": "l", "prefix": PREFIX, "suffixes": ["P1", "P2"]}
    return [
        b"\0" + json.dumps(lease).encode(),
        b"\0" + json.dumps({**lease, "prefix": "88.1"}).encode(),
        b"\4" + json.dumps({"title": "no", "detail": "not yours"}).encode(),
        b"\4[5]",
        b'\4{"detail": "\xd1"}',
        b"\0" + b"[" * 3000,
        b"\7<html>",
    ]


TABLE = TagTable("press", ("force", "count", "name"), (Kind.FLOAT, Kind.INT, Kind.TEXT), ("KNT", None, None))


def run_record(data: bytes) -> None:
    """A row of the outbox whose checksum happens to hold: frames of the table's tags, or damage that is named as such."""
    draw = Draw(data)
    which, stored = draw.number(1), draw.rest()
    try:
        if which:
            table = decode_table(stored)
            assert decode_table(encode_table(table)) == table
            return
        telemetry = decode_record(stored, lambda digest: TABLE if digest == table_digest(encode_table(TABLE)) else None)
    except (RecordDamaged, RecordUnknown):
        return
    for frame in telemetry.frames:
        assert len(frame.tags) == len(frame.values) == len(frame.status)
        assert all(0 <= tag < len(TABLE.names) for tag in frame.tags.tolist())


def record_seeds() -> list[bytes]:
    """A record of every kind of column, and a table."""
    status = np.array([0, 0x80050000], np.uint32)
    frames = [
        Frame("press", 5, np.array([0, 1], np.int32), np.array([1.5, np.nan]), status),
        Frame("press", 6, np.array([1], np.int32), np.array([7], np.int64), np.zeros(1, np.uint32), np.array([3], np.int64)),
        Frame("press", 7, np.array([2], np.int32), ["木棉"], np.zeros(1, np.uint32)),
    ]
    stored = encode_table(TABLE)
    return [b"\0" + encode_record(table_digest(stored), frames), b"\1" + stored]
