"""Our own face: a resolution as JSON, for GET /{prefix}/{suffix} and /v1/identifiers."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from epcis.timestamps import from_epoch_ms
from idnode.enterprise import Enterprise
from idnode.handle.verdicts import away
from idnode.record import HandleValue, Link, State
from idnode.resolver import Resolution, Resolver, Verdict
from idnode.upstream.upstream import Found
from idnode.web.problems import Problem, barred, forbidden, not_found, unauthenticated


def resolution_json(resolution: Resolution, resolver: Resolver) -> dict[str, object]:
    """A resolution as JSON.

    Raises:
        Problem: 404, 401 or 403 when there is nothing to be told.
    """
    record, enterprise = resolution.record, resolution.enterprise
    if resolution.found is not None and resolution.verdict is Verdict.FOUND and enterprise is not None:
        return _fetched_json(resolution, resolution.found, enterprise, resolver)
    if resolution.verdict is not Verdict.FOUND or record is None or enterprise is None:
        raise refusal(resolution)
    identifier = resolution.identifier
    links = {
        "page": resolver.address(identifier),
        "handle": f"/api/handles/{identifier.path}",
        "events": f"/events?MATCH_anyEPC={quote(identifier.uri, safe='')}",
    }
    if record.event_id is not None:
        links["commissioning"] = f"/events/{quote(record.event_id, safe='')}"
    return {
        "identifier": str(identifier),
        "enterprise": enterprise_json(enterprise),
        "version": record.version,
        "state": record.state,
        "reason": record.reason,
        "since": from_epoch_ms(record.since_ms),
        "values": [_value(value) for value in resolution.values],
        "typed_links": [_link(link) for link in record.links],
        "template": record.template and {"name": record.template.name, "version": record.template.version},
        "links": links,
    }


def _fetched_json(resolution: Resolution, found: Found, enterprise: Enterprise, resolver: Resolver) -> dict[str, object]:
    """What another node has: its values, how old they are, and whether they stand in for newer ones."""
    identifier, delegate = resolution.identifier, found.delegate
    return {
        "identifier": str(identifier),
        "enterprise": enterprise_json(enterprise),
        "values": [_value(value) for value in resolution.values],
        "links": {"page": resolver.address(identifier), "handle": f"/api/handles/{identifier.path}"},
        "delegate": {"prefix": delegate.prefix, "address": delegate.address, "age": found.age_s, "stale": found.is_stale},
    }


def enterprise_json(enterprise: Enterprise) -> dict[str, object]:
    """An enterprise as JSON."""
    return {
        "id": enterprise.id,
        "name": {"zh": enterprise.name.zh, "en": enterprise.name.en},
        "prefix": enterprise.prefix,
        "public": enterprise.visibility == "public",
    }


def refusal(resolution: Resolution) -> Problem:
    """Why there is nothing to be told, for a verdict that isn't FOUND."""
    match resolution.verdict:
        case Verdict.ANONYMOUS:
            return unauthenticated()
        case Verdict.FORBIDDEN:
            return forbidden(f"{resolution.identifier.prefix} is not open to this token")
        case Verdict.BARRED if resolution.enterprise is not None:
            return barred(resolution.enterprise.bar(0))
        case Verdict.WITHDRAWN:
            return withdrawn(resolution)
        case Verdict.UNREACHABLE:
            status, why = away(resolution)
            headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            return Problem(HTTPStatus(status), f"{resolution.identifier}: {why}", "urn:mumian:problem:elsewhere", headers=headers)
        case Verdict.ELSEWHERE if resolution.delegate is not None:
            detail = f"{resolution.identifier} lives at {resolution.delegate.address}"
            where = f"{resolution.delegate.base}/{resolution.identifier.path}"
            if resolution.delegate.base is None:
                return Problem(HTTPStatus.MISDIRECTED_REQUEST, detail, "urn:mumian:problem:elsewhere")
            return Problem(HTTPStatus.TEMPORARY_REDIRECT, detail, "urn:mumian:problem:elsewhere", headers={"Location": where})
        case _:
            return not_found(f"{resolution.identifier} is not registered")


def withdrawn(resolution: Resolution) -> Problem:
    """410 for what is retired, which stays so; 403 for what is suspended, which may come back."""
    record = resolution.record
    assert record is not None  # the verdict is WITHDRAWN
    why = f": {record.reason}" if record.reason else ""
    detail = f"{resolution.identifier} is {record.state} since {from_epoch_ms(record.since_ms)}{why}"
    status = HTTPStatus.GONE if record.state is State.RETIRED else HTTPStatus.FORBIDDEN
    return Problem(status, detail, f"urn:mumian:problem:{record.state}")


def _link(link: Link) -> dict[str, object]:
    return {
        "relation": link.relation,
        "href": link.href,
        "title": link.title,
        "languages": link.languages,
        "media_type": link.media_type,
        "context": link.context,
    }


def _value(value: HandleValue) -> dict[str, object]:
    return {
        "index": value.index,
        "type": value.type,
        "data": {"format": value.data.format, "value": value.data.value},
        "ttl": value.ttl_s,
        "permissions": f"{value.permissions:04b}",
        "timestamp": from_epoch_ms(value.timestamp_ms),
    }
