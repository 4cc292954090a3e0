"""A record with all its versions as one line of an export, in words rather than as the store packs it."""

from __future__ import annotations

import msgspec

from idnode.identifier import Identifier, parse_identifier
from idnode.record import Data, Format, HandleValue, Link, Record, Reference, State, TemplateUse


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    handle: str
    index: int


class _Value(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    type: str
    format: Format
    data: object
    ttl_s: int
    permissions: int
    timestamp_ms: int
    references: tuple[_Reference, ...] = ()


class _Link(msgspec.Struct, forbid_unknown_fields=True):
    relation: str
    href: str
    title: str
    languages: tuple[str, ...]
    media_type: str | None
    context: tuple[str, ...]


class _Template(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    version: int


class _Version(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    state: State
    since_ms: int
    author: str
    reason: str | None
    values: tuple[_Value, ...]
    links: tuple[_Link, ...]
    template: _Template | None


class RecordLine(msgspec.Struct, forbid_unknown_fields=True):
    """`{"record": "88.100.1/P1", "owner": null, "event": null, "versions": [...]}`."""

    record: str
    """The identifier's key."""
    owner: str | None
    """As the column of that name has it."""
    event: str | None
    versions: tuple[_Version, ...]


def record_line(versions: list[Record], owner: str | None) -> RecordLine:
    """All versions of a record, ascending, as a line."""
    last = versions[-1]
    return RecordLine(last.identifier.key, owner, last.event_id, tuple(_version(each) for each in versions))


def read_record_line(line: RecordLine) -> list[Record]:
    """record_line() undone.

    Raises:
        ValueError: the key is none, or the versions aren't 1, 2, 3, ...
    """
    identifier = parse_identifier(line.record)
    if identifier.key != line.record:
        raise ValueError(f"{line.record} is not the normal form of an identifier")
    if not line.versions or [each.version for each in line.versions] != list(range(1, len(line.versions) + 1)):
        raise ValueError(f"the versions of {line.record} are not 1, 2, 3, ...")
    return [_record(identifier, line.event, each) for each in line.versions]


def _version(record: Record) -> _Version:
    values = (
        _Value(
            value.index,
            value.type,
            value.data.format,
            value.data.value,
            value.ttl_s,
            value.permissions,
            value.timestamp_ms,
            tuple(_Reference(each.handle, each.index) for each in value.references),
        )
        for value in record.values
    )
    links = (_Link(each.relation, each.href, each.title, each.languages, each.media_type, each.context) for each in record.links)
    template = None if record.template is None else _Template(record.template.name, record.template.version)
    return _Version(
        record.version, record.state, record.since_ms, record.author, record.reason, tuple(values), tuple(links), template
    )  # fmt: skip


def _record(identifier: Identifier, event: str | None, told: _Version) -> Record:
    values = (
        HandleValue(
            value.index,
            value.type,
            Data(value.format, value.data),
            value.ttl_s,
            value.permissions,
            value.timestamp_ms,
            tuple(Reference(each.handle, each.index) for each in value.references),
        )
        for value in told.values
    )
    links = (Link(each.relation, each.href, each.title, each.languages, each.media_type, each.context) for each in told.links)
    return Record(
        identifier,
        told.version,
        tuple(values),
        told.since_ms,
        told.author,
        event,
        told.state,
        tuple(links),
        None if told.template is None else TemplateUse(told.template.name, told.template.version),
        told.reason,
    )
