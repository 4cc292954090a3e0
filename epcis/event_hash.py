"""The name that an event gives itself: the CBV 2.0 event hash.

Source: Core Business Vocabulary 2.0, 8.9 (event hash ID). The event's fields are written in one canonical order and form into one
string without separators; its SHA-256 is the name. Two writings of one event (XML or JSON, any order, any zone) have one name.

The clauses leave room where implementations differ; here their letter is taken:
- the names `sensorElementList` and its like stand once before their elements (rule 11);
- a user extension inside a standard field stands at the end of that field (rule 21), whatever its namespace looks like;
- bizTransactionList, sourceList and destinationList stand before sensorElementList (the canonical property order);
- epcList stands before parentID, and what the order doesn't list as part of an event (recordTime, eventID, errorDeclaration,
  certificationInfo) is left out;
- a boolean is `true` or `false`, as XML writes it, and an integer of any size stays exact.
epcis_event_hash_generator 1.9.3 differs in the last four; tests/epcis/test_event_hash.py shows each. The example events that
GS1 publishes beside the standard carry ids of a draft, which turned no URN into a URI; no released implementation gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from epcis.gs1_uri import canonical_gs1_uri
from epcis.timestamps import from_epoch_ms, to_epoch_ms
from epcis.vocabulary import (
    ALERTS,
    BIZ_STEPS,
    COMPONENTS,
    DISPOSITIONS,
    EPCIS_CONTEXT,
    MEASUREMENTS,
    PARTY_TYPES,
    PREFIXES,
    TRANSACTION_TYPES,
    URN_TERMS,
)

Context = str | Mapping[str, object] | Sequence[str | Mapping[str, object]]
"""A JSON-LD @context as it stands in a document."""

_Terms = Mapping[str, str]
_NO_TERMS: _Terms = {}
_NUMBER = re.compile(r"[+-]?(\d+|\d+\.\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_NUMBERS_BEGIN = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_ID_FORM = re.compile(r"ni:///sha-256;[0-9a-f]{64}\?ver=CBV2\.0", re.ASCII)
_IGNORED = frozenset(
    {"type", "@context", "eventID", "recordTime", "errorDeclaration", "certificationInfo", "rdfs:comment", "comment"}
)


def event_id(event: Mapping[str, object], context: Context = EPCIS_CONTEXT) -> str:
    """Name an event: `ni:///sha-256;<64 hex digits>?ver=CBV2.0` (RFC 6920).

    Args:
        event: an event in its JSON form (EPCIS 2.0, 10.1), objects as dict, that epcis.validation finds no fault with.
        context: the @context of the document; the event's own `@context` is added to it.

    Raises:
        ValueError: a time in it is no dateTimeStamp.
    """
    return f"ni:///sha-256;{sha256(canonical_string(event, context).encode()).hexdigest()}?ver=CBV2.0"


def is_event_hash(text: str) -> bool:
    """Whether `text` has the form of event_id()'s result."""
    return _ID_FORM.fullmatch(text) is not None


def canonical_string(event: Mapping[str, object], context: Context = EPCIS_CONTEXT) -> str:
    """The pre-hash string of CBV 2.0, 8.9.2. Arguments and errors as event_id()."""
    names = _namespaces(context, event.get("@context", ()))
    parts = [f"eventType={event['type']}"]
    for name, render in _ORDER.items():
        value = event.get(name)
        if value is not None:
            parts.append(render(name, value, names))
    ilmd = event.get("ilmd")
    if ilmd is not None:
        parts.extend(_extension("ilmd", ilmd, names))
    parts.append(_extensions(event, _ORDER_AND_IGNORED, names))
    return "".join(parts)


def _namespaces(*contexts: object) -> dict[str, str]:
    names = dict(PREFIXES)
    for context in contexts:
        for part in context if isinstance(context, list | tuple) else (context,):
            if isinstance(part, Mapping):
                for prefix, meaning in part.items():
                    target = meaning.get("@id") if isinstance(meaning, Mapping) else meaning
                    if isinstance(target, str):
                        names[prefix] = target
    return names


def _canonical(value: object, names: Mapping[str, str], terms: _Terms = _NO_TERMS) -> str:
    """A value's one form (rules 5 to 7 and 14 to 18)."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value).strip()
    if text in terms:
        return terms[text]
    prefix, colon, local = text.partition(":")
    if colon:
        if prefix in names and not local.startswith("//"):
            return names[prefix] + local
        if prefix == "urn":
            for old, new in URN_TERMS:
                if text.startswith(old):
                    return new + text[len(old) :]
        return canonical_gs1_uri(text) or text
    return _canonical_number(text) if text[:1] in _NUMBERS_BEGIN and _NUMBER.fullmatch(text) else text


def _canonical_number(text: str) -> str:
    if _INTEGER.fullmatch(text):
        return str(int(text))
    number = float(text)
    if number in (float("inf"), float("-inf")):
        return text
    return str(int(number)) if number.is_integer() else repr(number)


_Render = Callable[[str, object, Mapping[str, str]], str]


def _value(terms: _Terms = _NO_TERMS) -> _Render:
    def render(name: str, value: object, names: Mapping[str, str]) -> str:
        text = _canonical(value, names, terms)
        return f"{name}={text}" if text else ""

    return render


def _time(name: str, value: object, _names: Mapping[str, str]) -> str:
    return f"{name}={_canonical_time(str(value))}"


@lru_cache(maxsize=256)  # the reports of one cycle share their times
def _canonical_time(text: str) -> str:
    return from_epoch_ms(to_epoch_ms(text.strip()))


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _list_of(element: Callable[[object, Mapping[str, str]], str]) -> _Render:
    """A list's name, then its elements sorted (rules 10 to 12); nothing when there are none."""

    def render(name: str, value: object, names: Mapping[str, str]) -> str:
        elements = sorted(filter(None, (element(item, names) for item in _items(value))))
        return name + "".join(elements) if elements else ""

    return render


def _record(order: Mapping[str, _Render], title: str = "") -> Callable[[object, Mapping[str, str]], str]:
    """An object's fields in `order`, its user extensions behind them (rule 21), its title before; nothing when it is empty."""
    ranked = {name: (rank, render) for rank, (name, render) in enumerate(order.items())}
    known = frozenset(order)

    def render(item: object, names: Mapping[str, str]) -> str:
        if not isinstance(item, dict):
            return ""
        fields: list[tuple[int, str]] = []
        for name, value in item.items():
            entry = ranked.get(name)
            if entry is not None and value is not None:
                fields.append((entry[0], entry[1](name, value, names)))
        fields.sort()
        text = "".join([written for _, written in fields])
        if len(item) > len(fields):
            text += _extensions(item, known, names)
        return title + text if text else ""

    return render


def _one(record: Callable[[object, Mapping[str, str]], str]) -> _Render:
    def render(name: str, value: object, names: Mapping[str, str]) -> str:
        text = record(value, names)
        return name + text if text else ""

    return render


def _extensions(item: Mapping[str, object], known: frozenset[str], names: Mapping[str, str]) -> str:
    """Everything that the order doesn't know, sorted (rules 20 and 21): nothing that an event says is left unhashed."""
    found: list[str] = []
    for key, value in item.items():
        if key not in known:
            found.extend(_extension(key, value, names))
    return "".join(sorted(found))


def _extension(key: str, value: object, names: Mapping[str, str]) -> Iterator[str]:
    prefix, colon, local = key.partition(":")
    name = f"{{{names[prefix]}}}{local}" if colon and prefix in names else key
    for item in _items(value):
        if isinstance(item, dict):
            children = [text for inner, each in item.items() for text in _extension(inner, each, names)]
            yield name + "".join(sorted(children))
        elif isinstance(item, (list, tuple)):
            yield name + "".join(sorted(_extension("", item, names)))
        elif item is not None:
            text = _canonical(item, names)
            yield f"{name}={text}" if text else name


def _epc(item: object, names: Mapping[str, str]) -> str:
    text = _canonical(item, names)
    return f"epc={text}" if text else ""


def _typed(name: str, terms: _Terms) -> _Render:
    """A list whose elements are a type and an identifier, the type first (rule 13)."""
    return _list_of(_record({"type": _value(terms), name: _value()}))


def _dispositions(name: str, value: object, names: Mapping[str, str]) -> str:
    texts = [f"{name}={_canonical(item, names, DISPOSITIONS)}" for item in _items(value)]
    return "".join(sorted(texts))


_text = _value()
_uris = _list_of(_epc)
_quantities = _list_of(_record({"epcClass": _text, "quantity": _text, "uom": _text}, "quantityElement"))
_place = _one(_record({"id": _text}))
_METADATA: dict[str, _Render] = {
    **dict.fromkeys(("time", "startTime", "endTime"), _time),
    **dict.fromkeys(("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"), _text),
}
_REPORT: dict[str, _Render] = {
    "type": _value(MEASUREMENTS),
    "exception": _value(ALERTS),
    **dict.fromkeys(("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod"), _text),
    "time": _time,
    **dict.fromkeys(("microorganism", "chemicalSubstance", "value"), _text),
    "component": _value(COMPONENTS),
    **dict.fromkeys(("stringValue", "booleanValue", "hexBinaryValue", "uriValue", "minValue", "maxValue", "meanValue"), _text),
    **dict.fromkeys(("sDev", "percRank", "percValue", "uom", "coordinateReferenceSystem"), _text),
}
_report_record = _record(_REPORT, "sensorReport")


def _reports(_name: str, value: object, names: Mapping[str, str]) -> str:
    return "".join(sorted(_report_record(item, names) for item in _items(value)))


_SENSOR: dict[str, _Render] = {"sensorMetadata": _one(_record(_METADATA)), "sensorReport": _reports}
_ORDER: dict[str, _Render] = {
    "eventTime": _time,
    "eventTimeZoneOffset": _text,
    "epcList": _uris,
    "parentID": _text,
    **dict.fromkeys(("inputEPCList", "childEPCs"), _uris),
    **dict.fromkeys(("quantityList", "childQuantityList", "inputQuantityList"), _quantities),
    "outputEPCList": _uris,
    "outputQuantityList": _quantities,
    **dict.fromkeys(("action", "transformationID"), _text),
    "bizStep": _value(BIZ_STEPS),
    "disposition": _value(DISPOSITIONS),
    "persistentDisposition": _one(_record({"set": _dispositions, "unset": _dispositions})),
    **dict.fromkeys(("readPoint", "bizLocation"), _place),
    "bizTransactionList": _typed("bizTransaction", TRANSACTION_TYPES),
    "sourceList": _typed("source", PARTY_TYPES),
    "destinationList": _typed("destination", PARTY_TYPES),
    "sensorElementList": _list_of(_record(_SENSOR, "sensorElement")),
}
"""The canonical property order (CBV 2.0, 8.9.3)."""
_ORDER_AND_IGNORED = _IGNORED | frozenset(_ORDER) | {"ilmd"}
