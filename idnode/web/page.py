"""The face for people: a resolution as a page, in the reader's language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec

from idnode.handle.verdicts import away
from idnode.product import UNTOLD, Reading, making
from idnode.record import TEXT_FORMATS, Link, State
from idnode.resolver import Resolution, Verdict
from idnode.web.answers import Answer, problem_headers
from idnode.web.node import Node
from idnode.web.pages import rendering
from idnode.web.pages.language import Language
from idnode.web.pages.model import Choice, CycleValue, ProductPage
from idnode.web.problems import Problem

MEDIA_TYPE = b"text/html; charset=utf-8"
_POLICY = (b"content-security-policy", rendering.CONTENT_SECURITY_POLICY.encode())
_SHOWN_APART = frozenset({"MADE", "PRODUCT", "PART", "READ_POINT", "ORDER", "EPCIS_EVENT"})
"""Types of the values that follow from the commissioning event, which the page tells in its own words."""


async def resolution_page(node: Node, resolution: Resolution, language: Language) -> Answer:
    """The page of an identifier, or the one that says why there is none."""
    handle, name = str(resolution.identifier), node_name(node)
    match resolution.verdict:
        case Verdict.FOUND if resolution.record is not None or resolution.found is not None:
            return page(rendering.render_product(await _product(node, resolution), language), language)
        case Verdict.UNKNOWN | Verdict.FOUND:  # the handle of a prefix has no page
            return page(rendering.render_not_found(handle, language, name), language, HTTPStatus.NOT_FOUND)
        case Verdict.BARRED if resolution.enterprise is not None:
            text = rendering.render_barred(handle, resolution.enterprise.notice, language, name)
            return page(text, language, HTTPStatus.FORBIDDEN)
        case Verdict.WITHDRAWN if resolution.record is not None:
            for_ever = resolution.record.state is State.RETIRED
            text = rendering.render_withdrawn(handle, language, name, resolution.record.reason, for_ever=for_ever)
            return page(text, language, HTTPStatus.GONE if for_ever else HTTPStatus.FORBIDDEN)
        case Verdict.UNREACHABLE:
            return page(rendering.render_away(handle, language, name), language, HTTPStatus(away(resolution)[0]))
        case Verdict.ELSEWHERE:
            return page(rendering.render_away(handle, language, name), language, HTTPStatus.MISDIRECTED_REQUEST)
        case _:
            return page(rendering.render_forbidden(handle, language, name), language, HTTPStatus.FORBIDDEN)


def bad_identifier_page(node: Node, text: str, language: Language) -> Answer:
    """The page for text that is no identifier."""
    return page(rendering.render_bad_identifier(text, language, node_name(node)), language, HTTPStatus.BAD_REQUEST)


def unavailable_page(node: Node, path: bytes, problem: Problem, language: Language) -> Answer:
    """The page for what the storage doesn't tell. `path`: raw, and one of the node's pages."""
    address = path.decode("ascii", "replace")
    switch = {each: f"{address}?lang={each}" for each in Language}
    asked = unquote(address[1:], errors="replace")
    answer = page(
        rendering.render_unavailable(asked, problem.status, switch, language, node_name(node)), language, problem.status
    )
    return msgspec.structs.replace(answer, headers=(*answer.headers, *problem_headers(problem)))


def choice_page(
    node: Node, resolution: Resolution, choices: Sequence[Choice], switch: Mapping[Language, str], language: Language
) -> Answer:
    """The page on which a reader chooses one of an identifier's links."""
    text = rendering.render_choice(str(resolution.identifier), choices, switch, language, node_name(node))
    return page(text, language, HTTPStatus.MULTIPLE_CHOICES)


def home_page(node: Node, language: Language) -> Answer:
    """The node's front page."""
    return page(rendering.render_home(node_name(node), language), language)


def page(text: str, language: Language, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """Rendered HTML as an answer."""
    headers = (
        _POLICY,
        (b"content-language", language.tag.encode()),
        (b"vary", b"Accept, Accept-Language"),
        (b"cache-control", b"no-cache"),
    )
    return Answer(status, text.encode(), MEDIA_TYPE, headers)


def node_name(node: Node) -> dict[str, str]:
    """The node's name by language."""
    return {"zh": node.settings.name.zh, "en": node.settings.name.en}


async def _product(node: Node, resolution: Resolution) -> ProductPage:
    record, enterprise = resolution.record, resolution.enterprise
    assert enterprise is not None  # as it was asked for
    event = None if record is None or record.event_id is None else await node.store.event(record.event_id)
    made = UNTOLD if event is None else making(json.loads(event.content))
    address = node.resolver.address(resolution.identifier)
    told = _SHOWN_APART if event is not None else frozenset()
    return ProductPage(
        handle=str(resolution.identifier),
        address=address,
        maker={"zh": enterprise.name.zh, "en": enterprise.name.en},
        node=node_name(node),
        product=made.product,
        made_at=None if made.made_ms is None else _moment(made.made_ms, node.settings.time_zone),
        gateway=made.gateway,
        machine=made.machine,
        order=made.order,
        part=made.part,
        cycle=tuple(_cycle_value(reading) for reading in made.readings),
        other_values=tuple(
            (value.type, str(value.data.value))
            for value in resolution.values
            if value.type not in told and value.data.format in TEXT_FORMATS and value.data.value != address
        ),
        links=() if record is None else tuple(choice_of(link, link.href) for link in record.links),
        delegate="" if resolution.found is None else resolution.found.delegate.address,
        is_stale=resolution.found is not None and resolution.found.is_stale,
    )


def choice_of(link: Link, address: str) -> Choice:
    """A link as a page shows it, with what is said of it; `address`: where it leads this reader."""
    said = (*link.languages, *((link.media_type,) if link.media_type else ()), *link.context)
    return Choice(link.title, address, " · ".join(said))


def _moment(epoch_ms: int, zone: str) -> datetime:
    return (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=epoch_ms)).astimezone(ZoneInfo(zone))


def _cycle_value(reading: Reading) -> CycleValue:
    return CycleValue(reading.tag, reading.unit, reading.count, reading.minimum, reading.mean, reading.maximum, reading.last)
