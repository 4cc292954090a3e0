"""The event hash against its published figure, the published examples, and an independent implementation."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epcis.event_hash import canonical_string, event_id, is_event_hash
from epcis.vocabulary import EPCIS_CONTEXT

from . import events as shapes
from .reference import CONTEXT, reference_string

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "epcis"
TYPED_LISTS = ("bizTransactionList", "sourceList", "destinationList")

# The event of the standard's first example (ReferenceEventHashAlgorithm), and its figure.
REFERENCE_EVENT: dict[str, Any] = {
    "type": "ObjectEvent",
    "eventTime": "2020-03-04T11:00:30.000+01:00",
    "eventTimeZoneOffset": "+01:00",
    "recordTime": "2020-03-04T11:00:30.999+01:00",
    "epcList": [
        "urn:epc:id:sscc:4012345.0000000333",
        "urn:epc:id:sscc:4012345.0000000111",
        "urn:epc:id:sscc:4012345.0000000222",
    ],
    "action": "OBSERVE",
    "bizStep": "departing",
    "readPoint": {"id": "urn:epc:id:sgln:4012345.00011.987"},
    "example:myField1": {"example:mySubField1": "2", "example:mySubField2": "5"},
    "example:myField2": "0",
    "example:myField3": {"example:mySubField3": ["3", "1"]},
}
REFERENCE_HASH = "6ae96341e0acc6d7a261364751f60e68278a81cdf51da0abb6b4e617014e39d7"

MUMIAN: list[Any] = [EPCIS_CONTEXT, {"mumian": "urn:mumian:epcis:"}]
PRODUCT_EVENT: dict[str, Any] = {
    "type": "ObjectEvent",
    "action": "ADD",
    "bizStep": "commissioning",
    "disposition": "active",
    "epcList": ["hdl:88.100.1/P00000001"],
    "eventTime": "2026-01-01T08:00:00.123Z",
    "eventTimeZoneOffset": "+00:00",
    "readPoint": {"id": "urn:mumian:gateway:pumpworks-1:bench"},
    "sensorElementList": [
        {
            "sensorMetadata": {
                "startTime": "2026-01-01T07:59:57.000Z",
                "endTime": "2026-01-01T08:00:00.000Z",
                "deviceID": "urn:mumian:device:pumpworks-1:bench",
            },
            "sensorReport": [
                {"type": "Pressure", "minValue": 1.0, "meanValue": 1.25, "maxValue": 2, "value": 1.5, "mumian:tag": "pressure"},
                {"type": "urn:mumian:tag:flow_rate", "value": 32.04, "uom": "L/min", "mumian:count": 15},
            ],
        }
    ],
    "mumian:part": "12",
    "mumian:product": "pump",
}


def test_the_published_figure_is_met() -> None:
    context: list[Any] = [EPCIS_CONTEXT, {"example": "https://ns.example.com/epcis/"}]
    assert event_id(REFERENCE_EVENT, context) == f"ni:///sha-256;{REFERENCE_HASH}?ver=CBV2.0"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes.events)
def test_an_independent_implementation_writes_the_same_string(event: dict[str, Any]) -> None:
    assert canonical_string(event, CONTEXT) == reference_string(event)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes.events, shapes.party_lists)
def test_transactions_and_parties_stand_where_the_property_order_puts_them(event: dict[str, Any], lists: dict[str, Any]) -> None:
    """The reference drops them into the tail, sorted by name; each of them, and all around them, is the same."""
    late = {name: event[name] for name in event if name in ("sensorElementList", "ilmd") or ":" in name}
    head = {name: event[name] for name in event if name not in late}
    start = reference_string(head)
    alone = [reference_string({**head, name: lists[name]})[len(start) :] for name in TYPED_LISTS if name in lists]
    rest = reference_string(event)[len(start) :]
    assert canonical_string({**event, **lists}, CONTEXT) == start + "".join(alone) + rest


@settings(max_examples=40, deadline=None)
@given(shapes.events, st.randoms(use_true_random=False))
def test_order_of_fields_and_of_list_elements_does_not_matter(event: dict[str, Any], luck: random.Random) -> None:
    assert event_id(_shuffled(event, luck), CONTEXT) == event_id(event, CONTEXT)


def test_one_moment_has_one_hash_in_every_zone() -> None:
    written = ["2026-01-01T08:00:00.123Z", "2026-01-01T16:00:00.123+08:00", "2026-01-01T02:00:00.123000-06:00"]
    assert len({event_id({**PRODUCT_EVENT, "eventTime": time}, MUMIAN) for time in written}) == 1


def test_a_product_event_agrees_with_the_reference_once_its_namespace_ends_in_a_slash() -> None:
    """The reference keeps an extension beside its sensor report only when the namespace ends in a slash."""
    theirs = reference_string(PRODUCT_EVENT, [EPCIS_CONTEXT, {"mumian": "urn:mumian:epcis/"}])
    assert canonical_string(PRODUCT_EVENT, MUMIAN) == theirs.replace("{urn:mumian:epcis/}", "{urn:mumian:epcis:}")


def _changes() -> list[tuple[str, dict[str, Any]]]:
    reports = PRODUCT_EVENT["sensorElementList"][0]["sensorReport"]
    return [
        ("a reading", _with_reports([{**reports[0], "maxValue": 2.0000001}, reports[1]])),
        ("a count", _with_reports([reports[0], {**reports[1], "mumian:count": 16}])),
        ("a report less", _with_reports(reports[:1])),
        ("the part", {**PRODUCT_EVENT, "mumian:part": "13"}),
        ("an unknown field", {**PRODUCT_EVENT, "surprise": 1}),
        ("the identifier", {**PRODUCT_EVENT, "epcList": ["hdl:88.100.1/P00000002"]}),
        ("a 64-bit counter by one", {**PRODUCT_EVENT, "mumian:part": 9007199254740993}),
        ("a 64-bit counter", {**PRODUCT_EVENT, "mumian:part": 9007199254740992}),
        ("the millisecond", {**PRODUCT_EVENT, "eventTime": "2026-01-01T08:00:00.124Z"}),
    ]


def _with_reports(reports: list[dict[str, Any]]) -> dict[str, Any]:
    element = PRODUCT_EVENT["sensorElementList"][0]
    return {**PRODUCT_EVENT, "sensorElementList": [{**element, "sensorReport": reports}]}


def test_every_change_of_content_changes_the_hash() -> None:
    changed = [event for _, event in _changes()]
    assert len({event_id(event, MUMIAN) for event in (PRODUCT_EVENT, *changed)}) == len(changed) + 1


@pytest.mark.parametrize("name", ["recordTime", "eventID", "certificationInfo", "errorDeclaration"])
def test_what_is_said_about_an_event_does_not_change_its_hash(name: str) -> None:
    values = {"errorDeclaration": {"declarationTime": "2026-01-02T00:00:00Z"}, "recordTime": "2026-01-02T00:00:00Z"}
    assert event_id({**PRODUCT_EVENT, name: values.get(name, "urn:x:y")}, MUMIAN) == event_id(PRODUCT_EVENT, MUMIAN)


@pytest.mark.parametrize(
    ("term", "urn"),
    [("bizStep", "urn:epcglobal:cbv:bizstep:commissioning"), ("disposition", "urn:epcglobal:cbv:disp:active")],
)
def test_a_term_hashes_the_same_as_word_urn_compact_and_full_uri(term: str, urn: str) -> None:
    word = urn.rsplit(":", 1)[1]
    kind = {"bizStep": "BizStep", "disposition": "Disp"}[term]
    written = [word, urn, f"cbv:{kind}-{word}", f"https://ref.gs1.org/cbv/{kind}-{word}"]
    assert len({event_id({**PRODUCT_EVENT, term: value}, MUMIAN) for value in written}) == 1


def test_numbers_hash_the_same_as_json_and_as_xml_write_them() -> None:
    for number, text in ((1.0, "1.0"), (200, "200.00"), (0.005, "0.0050"), (True, "true")):
        as_number, as_text = ({**PRODUCT_EVENT, "mumian:x": value} for value in (number, text))
        assert event_id(as_number, MUMIAN) == event_id(as_text, MUMIAN)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "1_000", "١٢", "9" * 500])
def test_text_that_only_looks_like_a_number_is_hashed_as_it_stands(text: str) -> None:
    assert f"{{urn:mumian:epcis:}}x={text}" in canonical_string({**PRODUCT_EVENT, "mumian:x": text}, MUMIAN)


def test_an_event_may_bring_its_own_context() -> None:
    alone = {**PRODUCT_EVENT, "@context": {"mumian": "urn:mumian:epcis:"}}
    assert event_id(alone, EPCIS_CONTEXT) == event_id(PRODUCT_EVENT, MUMIAN)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        event_id({**PRODUCT_EVENT, "eventTime": "2026-01-01T08:00:00"}, MUMIAN)


def test_only_the_full_form_is_taken_for_an_event_hash() -> None:
    assert is_event_hash(event_id(PRODUCT_EVENT, MUMIAN))
    assert not is_event_hash("ni:///sha-256;" + "A" * 64 + "?ver=CBV2.0")
    assert not is_event_hash("urn:uuid:3c0b8a2e-7a52-4b0a-9a5c-1d2f3a4b5c6d")


# What GS1 publishes beside the standard. The ids in it are those of a draft that turned no URN into a URI.
DRAFT_OF_9_6_1 = (
    "eventType=ObjectEventeventTime=2005-04-04T02:33:31.116ZeventTimeZoneOffset=-06:00"
    "epcListepc=urn:epc:id:sgtin:0614141.107346.2017epc=urn:epc:id:sgtin:0614141.107346.2018"
    "action=OBSERVEbizStep=urn:epcglobal:cbv:bizstep:shippingdisposition=urn:epcglobal:cbv:disp:in_transit"
    "readPointid=urn:epc:id:sgln:0614141.07346.1234"
    "bizTransactionListbizTransaction=http://transaction.acme.com/po/12345678type=urn:epcglobal:cbv:btt:po"
)


def _published() -> list[tuple[str, int, dict[str, Any], list[Any]]]:
    found = []
    for path in sorted(PUBLISHED.glob("*.jsonld")):
        document = json.loads(path.read_text("utf-8"))
        if document.get("type") == "EPCISDocument":
            # The examples name the context of a draft; its terms are those of the published one.
            own = [part for part in document["@context"] if not isinstance(part, str)]
            events = document["epcisBody"]["eventList"]
            found += [(path.stem, place, event, [EPCIS_CONTEXT, *own]) for place, event in enumerate(events)]
    return found


ABSENT: Any = pytest.param("", 0, {}, [], marks=pytest.mark.skip(reason="../shared/data/epcis is absent"))
published = pytest.mark.parametrize(("name", "place", "event", "context"), [*_published()] or [ABSENT])


@published
def test_a_published_example_has_the_hash_of_the_reference(
    name: str, place: int, event: dict[str, Any], context: list[Any]
) -> None:
    read = _as_the_reference_reads(event)
    plain = [{key: value for key, value in part.items() if isinstance(value, str)} for part in context[1:]]
    listed = [field for field in TYPED_LISTS if field in event]
    head = {field: value for field, value in read.items() if field not in listed}
    assert canonical_string(head, context) == reference_string(head, [EPCIS_CONTEXT, *plain])
    if listed and all("type" in item for field in listed for item in _items(event[field])):
        theirs = reference_string(read, [EPCIS_CONTEXT, *plain])
        assert sorted(canonical_string(read, context)) == sorted(theirs)  # the same pieces; theirs has the lists in its tail


@published
def test_the_id_in_a_published_example_is_that_of_a_draft(
    name: str, place: int, event: dict[str, Any], context: list[Any]
) -> None:
    if (name, place) == ("Example_9.6.1-ObjectEvent", 0):
        assert event["eventID"] == f"ni:///sha-256;{sha256(DRAFT_OF_9_6_1.encode()).hexdigest()}?ver=CBV2.0"
    assert event.get("eventID") != event_id(event, context)


ORDERS = [{"type": "prodorder", "bizTransaction": "urn:x:z"}]


def test_where_the_reference_differs_from_the_standard_we_follow_the_standard() -> None:
    base = {name: PRODUCT_EVENT[name] for name in ("type", "action", "eventTime", "eventTimeZoneOffset", "epcList")}
    certified = {**base, "certificationInfo": "https://example.org/cert"}
    assert "certificationInfo" in reference_string(certified)
    assert "certificationInfo" not in canonical_string(certified)
    flag = {**base, "example:flag": True}
    assert reference_string(flag).endswith("flag=True")
    assert canonical_string(flag, CONTEXT).endswith("flag=true")
    counter = {**base, "example:n": 9007199254740993}
    assert reference_string(counter).endswith("=9007199254740992")
    assert canonical_string(counter, CONTEXT).endswith("=9007199254740993")
    parent = {**base, "type": "TransactionEvent", "parentID": "urn:x:y", "bizTransactionList": ORDERS}
    assert reference_string(parent).index("parentID") < reference_string(parent).index("epcList")
    assert canonical_string(parent).index("parentID") > canonical_string(parent).index("epcList")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _as_the_reference_reads(value: Any) -> Any:
    """Booleans as Python writes them, long digit strings as floats: shown apart, below."""
    if isinstance(value, dict):
        return {key: _as_the_reference_reads(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_the_reference_reads(item) for item in value]
    if isinstance(value, str) and value.isdigit():
        return str(int(float(value)))
    return str(value) if isinstance(value, bool) else value


def _shuffled(value: Any, luck: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        luck.shuffle(keys)
        return {key: _shuffled(value[key], luck) for key in keys}
    if isinstance(value, list):
        items = [_shuffled(item, luck) for item in value]
        luck.shuffle(items)
        return items
    return value
