"""What is wrong with an EPCIS document, field by field.

The rules are those of EPCIS 2.0, 7.4 and 10.1, as GS1's JSON schema states them: what passes here passes the schema. Not accepted
though the standard knows them: events of a type of one's own, and query documents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from epcis.checks import (
    MOST_FLAWS,
    Check,
    Flaw,
    Flaws,
    a_boolean,
    a_context,
    a_list,
    a_number,
    a_term,
    a_text,
    a_time,
    a_uri,
    add_flaw,
    an_action,
    an_object,
    an_offset,
    matching,
    uris,
)
from epcis.vocabulary import (
    ALERTS,
    BIZ_STEPS,
    COMPONENTS,
    DISPOSITIONS,
    MEASUREMENTS,
    PARTY_TYPES,
    TRANSACTION_TYPES,
)

_UOM = re.compile(r"[A-Z0-9]{2,3}", re.ASCII)
_HEX = re.compile(r"[A-Fa-f0-9]+", re.ASCII)
_VERSION = re.compile(r"\d+(\.\d+)*", re.ASCII)


def document_flaws(document: object) -> list[Flaw]:
    """What is wrong with an EPCISDocument; empty when it can be captured."""
    flaws: Flaws = []
    if not isinstance(document, dict):
        return [Flaw("", "an EPCIS document is a JSON object")]
    kind = document.get("type")
    if kind != "EPCISDocument":
        bare = f" ({kind} has to be wrapped in one)" if isinstance(kind, str) and kind in _EVENTS else ""
        return [Flaw("/type", f'"EPCISDocument" is expected{bare}')]
    an_object(_DOCUMENT, ("@context", "schemaVersion", "creationDate", "epcisBody"))(document, "", flaws)
    return flaws[:MOST_FLAWS]


def event_flaws(event: object, pointer: str) -> list[Flaw]:
    """What is wrong with one event, which stands at `pointer`; empty when it can be captured."""
    flaws: Flaws = []
    _event(event, pointer, flaws)
    return flaws[:MOST_FLAWS]


_disposition = a_term(DISPOSITIONS, "disposition")
_epcs = a_list(a_uri)
_unique_epcs = a_list(a_uri, unique=True)
_quantities = a_list(
    an_object({"epcClass": a_uri, "quantity": a_number, "uom": matching(_UOM, "a unit code")}, ("epcClass",), extensible=False)
)
_dispositions = a_list(_disposition, least=1, unique=True)
_persistent = an_object({"set": _dispositions, "unset": _dispositions}, extensible=False)
_place = an_object({"id": a_uri}, ("id",))
_transactions = a_list(
    an_object(
        {"type": a_term(TRANSACTION_TYPES, "transaction type"), "bizTransaction": a_uri}, ("bizTransaction",), extensible=False
    )
)
_METADATA: dict[str, Check] = {
    **dict.fromkeys(("time", "startTime", "endTime"), a_time),
    **dict.fromkeys(("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"), a_uri),
}
_uri_fields = ("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules", "microorganism", "chemicalSubstance")
_REPORT: dict[str, Check] = {
    "type": a_term(MEASUREMENTS, "measurement type"),
    "exception": a_term(ALERTS, "sensor alert"),
    **dict.fromkeys((*_uri_fields, "coordinateReferenceSystem", "uriValue"), a_uri),
    "time": a_time,
    "component": a_term(COMPONENTS, "component"),
    **dict.fromkeys(("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"), a_number),
    **dict.fromkeys(("stringValue", "uom"), a_text),
    "booleanValue": a_boolean,
    "hexBinaryValue": matching(_HEX, "a hexadecimal number"),
}
_sensors = a_list(
    an_object(
        {"sensorMetadata": an_object(_METADATA), "sensorReport": a_list(an_object(_REPORT, ("type",)), least=1)},
        ("sensorReport",),
    )
)
_ERROR: dict[str, Check] = {
    "declarationTime": a_time,
    "reason": a_term({"did_not_occur": "", "incorrect_data": ""}, "reason"),
    "correctiveEventIDs": a_list(a_uri),
}


def _parties(name: str) -> Check:
    return a_list(an_object({"type": a_term(PARTY_TYPES, "type"), name: a_uri}, ("type", name), extensible=False))


_COMMON: dict[str, Check] = {
    "@context": a_context,
    "type": a_text,
    **dict.fromkeys(("eventTime", "recordTime"), a_time),
    "eventTimeZoneOffset": an_offset,
    "eventID": a_uri,
    "certificationInfo": uris,
    "errorDeclaration": an_object(_ERROR, ("declarationTime",)),
    "bizStep": a_term(BIZ_STEPS, "business step"),
    "disposition": _disposition,
    **dict.fromkeys(("readPoint", "bizLocation"), _place),
    "bizTransactionList": _transactions,
    "sourceList": _parties("source"),
    "destinationList": _parties("destination"),
    "sensorElementList": _sensors,
}
_CHILDREN: dict[str, Check] = {"parentID": a_uri, "childEPCs": _epcs, "childQuantityList": _quantities, "action": an_action}
_ILMD: dict[str, Check] = {"ilmd": an_object({}), "persistentDisposition": _persistent}
_TRANSFORMED: dict[str, Check] = {
    **dict.fromkeys(("inputEPCList", "outputEPCList"), _unique_epcs),
    **dict.fromkeys(("inputQuantityList", "outputQuantityList"), _quantities),
    "transformationID": a_uri,
}
_WHEN = ("eventTime", "eventTimeZoneOffset")
_EVENTS: dict[str, Check] = {
    "ObjectEvent": an_object(
        {**_COMMON, **_ILMD, "action": an_action, "epcList": _unique_epcs, "quantityList": _quantities}, (*_WHEN, "action")
    ),
    "AggregationEvent": an_object({**_COMMON, **_CHILDREN}, (*_WHEN, "action")),
    "AssociationEvent": an_object({**_COMMON, **_CHILDREN}, (*_WHEN, "action", "parentID")),
    "TransactionEvent": an_object(
        {**_COMMON, "parentID": a_uri, "action": an_action, "epcList": _epcs, "quantityList": _quantities},
        (*_WHEN, "action", "bizTransactionList"),
    ),
    "TransformationEvent": an_object({**_COMMON, **_ILMD, **_TRANSFORMED}, _WHEN),
}


def _event(value: object, pointer: str, flaws: Flaws) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    check = _EVENTS.get(kind) if isinstance(kind, str) else None
    if not isinstance(value, dict) or check is None:
        add_flaw(flaws, f"{pointer}/type", f"one of {', '.join(_EVENTS)} is expected")
        return
    check(value, pointer, flaws)
    message = _incomplete(value)
    if message:
        add_flaw(flaws, pointer, message)


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


def _header(value: object, pointer: str, flaws: Flaws) -> None:
    if not isinstance(value, dict):
        add_flaw(flaws, pointer, "an object is expected")


_DOCUMENT: dict[str, Check] = {
    "@context": a_context,
    "type": a_text,
    "id": a_text,
    "schemaVersion": matching(_VERSION, "a version"),
    "creationDate": a_time,
    **dict.fromkeys(("instanceIdentifier", "sender", "receiver"), a_text),
    "epcisHeader": _header,
    "epcisBody": an_object({"eventList": a_list(_event)}, ("eventList",), extensible=False),
}
