"""What is wrong with an EPCIS document, field by field.

The rules are those of EPCIS 2.0, 7.4 and 10.1, as GS1's JSON schema states them: what passes here passes the schema. Not accepted
though the standard knows them: events of a type of one's own, and query documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from epcis.timestamps import to_epoch_ms, zone_offset_minutes
from epcis.vocabulary import (
    ALERTS,
    BIZ_STEPS,
    COMPONENTS,
    DISPOSITIONS,
    MEASUREMENTS,
    PARTY_TYPES,
    TRANSACTION_TYPES,
)

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f<>\"{}|\\^`]+")
_LONGEST_URI = 2048
_UOM = re.compile(r"[A-Z0-9]{2,3}", re.ASCII)
_HEX = re.compile(r"[A-Fa-f0-9]+", re.ASCII)
_VERSION = re.compile(r"\d+(\.\d+)*", re.ASCII)
_OLD_TERM = re.compile(r"urn:epcglobal:cbv|https?://(ns\.gs1\.org/cbv/|(www\.)?gs1\.org/voc/)")
MOST_FLAWS = 20
"""No more are listed: the first few are what a person needs."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong and where it stands."""

    pointer: str
    """JSON pointer (RFC 6901) into the document, e.g. /epcisBody/eventList/0/eventTime."""
    message: str


_Flaws = list[Flaw]
_Check = Callable[[object, str, _Flaws], None]


def document_flaws(document: object) -> list[Flaw]:
    """What is wrong with an EPCISDocument; empty when it can be captured."""
    flaws: _Flaws = []
    if not isinstance(document, dict):
        return [Flaw("", "an EPCIS document is a JSON object")]
    kind = document.get("type")
    if kind != "EPCISDocument":
        bare = f" ({kind} has to be wrapped in one)" if isinstance(kind, str) and kind in _EVENTS else ""
        return [Flaw("/type", f'"EPCISDocument" is expected{bare}')]
    _object(_DOCUMENT, ("@context", "schemaVersion", "creationDate", "epcisBody"))(document, "", flaws)
    return flaws[:MOST_FLAWS]


def event_flaws(event: object, pointer: str) -> list[Flaw]:
    """What is wrong with one event, which stands at `pointer`; empty when it can be captured."""
    flaws: _Flaws = []
    _event(event, pointer, flaws)
    return flaws[:MOST_FLAWS]


def _add(flaws: _Flaws, pointer: str, message: str) -> None:
    flaws.append(Flaw(pointer, message))


def _object(fields: Mapping[str, _Check], required: tuple[str, ...] = (), extensible: bool = True) -> _Check:
    """An object of known fields; when `extensible`, also fields whose names are URIs, compact or full."""

    def check(value: object, pointer: str, flaws: _Flaws) -> None:
        if not isinstance(value, dict):
            _add(flaws, pointer, "an object is expected")
            return
        for name in required:
            if name not in value:
                _add(flaws, f"{pointer}/{name}", "is missing")
        for name, item in value.items():
            field = fields.get(name)
            if field is not None:
                field(item, f"{pointer}/{name}", flaws)
            elif not extensible or _URI.fullmatch(name) is None:
                _add(flaws, f"{pointer}/{_escaped(name)}", "is no field of EPCIS 2.0; a field of your own needs a namespace")

    return check


def _escaped(name: str) -> str:
    return name[:80].replace("~", "~0").replace("/", "~1")


def _array(item_check: _Check, least: int = 0, unique: bool = False) -> _Check:
    def check(value: object, pointer: str, flaws: _Flaws) -> None:
        if not isinstance(value, list):
            _add(flaws, pointer, "a list is expected")
            return
        if len(value) < least:
            _add(flaws, pointer, f"at least {least} is expected")
        for place, item in enumerate(value):
            item_check(item, f"{pointer}/{place}", flaws)
            if len(flaws) > MOST_FLAWS:
                return
        if unique and len({item for item in value if isinstance(item, str)}) < len(value):
            _add(flaws, pointer, "each may be listed once only")

    return check


def _uri(value: object, pointer: str, flaws: _Flaws) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_URI or _URI.fullmatch(value) is None:
        _add(flaws, pointer, f"a URI of at most {_LONGEST_URI} characters is expected")


def _term(terms: Mapping[str, str], what: str) -> _Check:
    def check(value: object, pointer: str, flaws: _Flaws) -> None:
        if isinstance(value, str) and value in terms:
            return
        if not isinstance(value, str) or len(value) > _LONGEST_URI or _URI.fullmatch(value) is None:
            _add(flaws, pointer, f"a {what} of the CBV or a URI is expected")
        elif _OLD_TERM.match(value):
            _add(flaws, pointer, f"in JSON a {what} of the CBV is its bare word")

    return check


def _time(value: object, pointer: str, flaws: _Flaws) -> None:
    _read_by(to_epoch_ms, value, pointer, flaws)


def _offset(value: object, pointer: str, flaws: _Flaws) -> None:
    _read_by(zone_offset_minutes, value, pointer, flaws)


def _read_by(read: Callable[[str], int], value: object, pointer: str, flaws: _Flaws) -> None:
    if not isinstance(value, str):
        _add(flaws, pointer, "text is expected")
        return
    try:
        read(value[:80])
    except ValueError as error:
        _add(flaws, pointer, str(error))


def _number(value: object, pointer: str, flaws: _Flaws) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and not isfinite(value)):
        _add(flaws, pointer, "a number is expected")


def _boolean(value: object, pointer: str, flaws: _Flaws) -> None:
    if not isinstance(value, bool):
        _add(flaws, pointer, "true or false is expected")


def _text(value: object, pointer: str, flaws: _Flaws) -> None:
    if not isinstance(value, str):
        _add(flaws, pointer, "text is expected")


def _matching(form: re.Pattern[str], what: str) -> _Check:
    def check(value: object, pointer: str, flaws: _Flaws) -> None:
        if not isinstance(value, str) or form.fullmatch(value) is None:
            _add(flaws, pointer, f"{what} is expected")

    return check


def _action(value: object, pointer: str, flaws: _Flaws) -> None:
    if not isinstance(value, str) or value not in ("ADD", "OBSERVE", "DELETE"):
        _add(flaws, pointer, "ADD, OBSERVE or DELETE is expected")


def _context(value: object, pointer: str, flaws: _Flaws) -> None:
    for place, part in enumerate(value) if isinstance(value, list) else ((None, value),):
        where = pointer if place is None else f"{pointer}/{place}"
        if isinstance(part, str):
            _uri(part, where, flaws)
        elif not isinstance(part, dict):
            _add(flaws, where, "a URI or an object is expected")
    if isinstance(value, list) and any(part in value[:place] for place, part in enumerate(value)):
        _add(flaws, pointer, "each may be listed once only")


def _certification(value: object, pointer: str, flaws: _Flaws) -> None:
    (_array(_uri) if isinstance(value, list) else _uri)(value, pointer, flaws)


_disposition = _term(DISPOSITIONS, "disposition")
_epcs = _array(_uri)
_unique_epcs = _array(_uri, unique=True)
_quantities = _array(
    _object({"epcClass": _uri, "quantity": _number, "uom": _matching(_UOM, "a unit code")}, ("epcClass",), extensible=False)
)
_dispositions = _array(_disposition, least=1, unique=True)
_persistent = _object({"set": _dispositions, "unset": _dispositions}, extensible=False)
_place = _object({"id": _uri}, ("id",))
_transactions = _array(
    _object({"type": _term(TRANSACTION_TYPES, "transaction type"), "bizTransaction": _uri}, ("bizTransaction",), extensible=False)
)
_METADATA: dict[str, _Check] = {
    **dict.fromkeys(("time", "startTime", "endTime"), _time),
    **dict.fromkeys(("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"), _uri),
}
_uri_fields = ("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules", "microorganism", "chemicalSubstance")
_REPORT: dict[str, _Check] = {
    "type": _term(MEASUREMENTS, "measurement type"),
    "exception": _term(ALERTS, "sensor alert"),
    **dict.fromkeys((*_uri_fields, "coordinateReferenceSystem", "uriValue"), _uri),
    "time": _time,
    "component": _term(COMPONENTS, "component"),
    **dict.fromkeys(("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"), _number),
    **dict.fromkeys(("stringValue", "uom"), _text),
    "booleanValue": _boolean,
    "hexBinaryValue": _matching(_HEX, "a hexadecimal number"),
}
_sensors = _array(
    _object(
        {"sensorMetadata": _object(_METADATA), "sensorReport": _array(_object(_REPORT, ("type",)), least=1)}, ("sensorReport",)
    )
)
_ERROR: dict[str, _Check] = {
    "declarationTime": _time,
    "reason": _term({"did_not_occur": "", "incorrect_data": ""}, "reason"),
    "correctiveEventIDs": _array(_uri),
}


def _parties(name: str) -> _Check:
    return _array(_object({"type": _term(PARTY_TYPES, "type"), name: _uri}, ("type", name), extensible=False))


_COMMON: dict[str, _Check] = {
    "@context": _context,
    "type": _text,
    **dict.fromkeys(("eventTime", "recordTime"), _time),
    "eventTimeZoneOffset": _offset,
    "eventID": _uri,
    "certificationInfo": _certification,
    "errorDeclaration": _object(_ERROR, ("declarationTime",)),
    "bizStep": _term(BIZ_STEPS, "business step"),
    "disposition": _disposition,
    **dict.fromkeys(("readPoint", "bizLocation"), _place),
    "bizTransactionList": _transactions,
    "sourceList": _parties("source"),
    "destinationList": _parties("destination"),
    "sensorElementList": _sensors,
}
_CHILDREN: dict[str, _Check] = {"parentID": _uri, "childEPCs": _epcs, "childQuantityList": _quantities, "action": _action}
_ILMD: dict[str, _Check] = {"ilmd": _object({}), "persistentDisposition": _persistent}
_TRANSFORMED: dict[str, _Check] = {
    **dict.fromkeys(("inputEPCList", "outputEPCList"), _unique_epcs),
    **dict.fromkeys(("inputQuantityList", "outputQuantityList"), _quantities),
    "transformationID": _uri,
}
_WHEN = ("eventTime", "eventTimeZoneOffset")
_EVENTS: dict[str, _Check] = {
    "ObjectEvent": _object(
        {**_COMMON, **_ILMD, "action": _action, "epcList": _unique_epcs, "quantityList": _quantities}, (*_WHEN, "action")
    ),
    "AggregationEvent": _object({**_COMMON, **_CHILDREN}, (*_WHEN, "action")),
    "AssociationEvent": _object({**_COMMON, **_CHILDREN}, (*_WHEN, "action", "parentID")),
    "TransactionEvent": _object(
        {**_COMMON, "parentID": _uri, "action": _action, "epcList": _epcs, "quantityList": _quantities},
        (*_WHEN, "action", "bizTransactionList"),
    ),
    "TransformationEvent": _object({**_COMMON, **_ILMD, **_TRANSFORMED}, _WHEN),
}


def _event(value: object, pointer: str, flaws: _Flaws) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    check = _EVENTS.get(kind) if isinstance(kind, str) else None
    if not isinstance(value, dict) or check is None:
        _add(flaws, f"{pointer}/type", f"one of {', '.join(_EVENTS)} is expected")
        return
    check(value, pointer, flaws)
    message = _incomplete(value)
    if message:
        _add(flaws, pointer, message)


def _incomplete(event: Mapping[str, object]) -> str | None:
    """What an event of its type must have besides single fields (EPCIS 2.0, 7.4.2 to 7.4.6)."""
    kind, deletes = event["type"], event.get("action") == "DELETE"
    if kind == "ObjectEvent":
        if not ("epcList" in event or event.get("quantityList") or (event.get("sensorElementList") and "readPoint" in event)):
            return "has to name an epcList, a quantityList, or a readPoint with its sensorElementList"
        return (
            "carries ilmd, which only an event with action ADD may" if "ilmd" in event and event.get("action") != "ADD" else None
        )
    if kind == "TransformationEvent":
        return _untransformed(event)
    if kind == "TransactionEvent":
        if event.get("bizTransactionList") == []:
            return "has to name at least one bizTransaction"
        named = "epcList" in event or event.get("quantityList") or deletes
        return None if named else "has to name an epcList or a quantityList"
    return (
        None
        if event.get("childEPCs") or event.get("childQuantityList") or deletes
        else "has to name childEPCs or a childQuantityList"
    )


def _untransformed(event: Mapping[str, object]) -> str | None:
    inputs = event.get("inputEPCList") or event.get("inputQuantityList")
    outputs = event.get("outputEPCList") or event.get("outputQuantityList")
    complete = (inputs or outputs) if "transformationID" in event else (inputs and outputs)
    return None if complete else "has to name inputs and outputs, or one of them and a transformationID"


def _header(value: object, pointer: str, flaws: _Flaws) -> None:
    if not isinstance(value, dict):
        _add(flaws, pointer, "an object is expected")


_DOCUMENT: dict[str, _Check] = {
    "@context": _context,
    "type": _text,
    "id": _text,
    "schemaVersion": _matching(_VERSION, "a version"),
    "creationDate": _time,
    **dict.fromkeys(("instanceIdentifier", "sender", "receiver"), _text),
    "epcisHeader": _header,
    "epcisBody": _object({"eventList": _array(_event)}, ("eventList",), extensible=False),
}
