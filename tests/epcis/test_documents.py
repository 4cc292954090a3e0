"""Documents and their flaws: built, taken apart, and held against GS1's own JSON schema."""

from __future__ import annotations

import copy
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epcis.checks import MOST_FLAWS
from epcis.documents import MUMIAN_CONTEXT, document, query_document, take_apart
from epcis.validation import document_flaws

from . import events as shapes
from .reference import CONTEXT
from .test_event_hash import ORDERS, PRODUCT_EVENT

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "epcis"
CREATED = "2026-01-01T08:00:00.000Z"
needs_schema = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="../shared/data/epcis is absent")


@pytest.fixture(scope="session")
def schema() -> Any:
    opened = json.loads((PUBLISHED / "EPCIS-JSON-Schema.json").read_text("utf-8"))
    formats = jsonschema.FormatChecker(())
    formats.checks("uri")(
        lambda text: not isinstance(text, str) or re.fullmatch(r"(_|[A-Za-z][\w+.-]*):[^\s<>{}\"]+", text) is not None
    )
    formats.checks("date-time", ValueError)(_is_date_time)
    return jsonschema.Draft7Validator(opened, format_checker=formats)


def _is_date_time(text: object) -> bool:
    return not isinstance(text, str) or ("T" in text and datetime.fromisoformat(text).tzinfo is not None)


def test_what_is_wrapped_comes_out_again() -> None:
    events, context = take_apart(document([PRODUCT_EVENT], CREATED))
    assert events == [PRODUCT_EVENT]
    assert context == list(MUMIAN_CONTEXT)


@needs_schema
def test_our_documents_pass_the_published_schema(schema: Any) -> None:
    for wrapped in (
        document([{**PRODUCT_EVENT, "bizTransactionList": ORDERS}], CREATED),
        document([], CREATED),
        query_document([PRODUCT_EVENT], CREATED),
    ):
        schema.validate(wrapped)


@needs_schema
def test_every_published_example_is_accepted_but_for_its_known_slips(schema: Any) -> None:
    for path in sorted(PUBLISHED.glob("*.jsonld")):
        example = json.loads(path.read_text("utf-8"))
        if example.get("type") == "EPCISDocument":
            accepted = not document_flaws(example)
            assert accepted == (path.stem != "Example-TransactionEvents-2020_07_03y"), document_flaws(example)
            assert schema.is_valid(example) == accepted


@needs_schema
@settings(max_examples=60, deadline=None)
@given(shapes.events)
def test_a_good_event_of_any_type_is_accepted(schema: Any, event: dict[str, Any]) -> None:
    wrapped = document([event], CREATED, CONTEXT)
    schema.validate(wrapped)
    assert document_flaws(wrapped) == []


BROKEN: list[tuple[str, Any]] = [
    ("/type", "QueryDocument"),
    ("/creationDate", "yesterday"),
    ("/schemaVersion", 2),
    ("/@context", 7),
    ("/@context/0", "not a uri"),
    ("/epcisBody", []),
    ("/epcisBody/eventList", {}),
    ("/epcisBody/eventList/0", "event"),
    ("/epcisBody/eventList/0/type", "PartyEvent"),
    ("/epcisBody/eventList/0/eventTime", "2026-01-01T08:00:00"),
    ("/epcisBody/eventList/0/eventTimeZoneOffset", "8"),
    ("/epcisBody/eventList/0/action", "add"),
    ("/epcisBody/eventList/0/bizStep", "commisioning"),
    ("/epcisBody/eventList/0/disposition", "urn:epcglobal:cbv:disp:active"),
    ("/epcisBody/eventList/0/epcList", "hdl:88.100.1/P00000001"),
    ("/epcisBody/eventList/0/epcList/0", "P00000001"),
    ("/epcisBody/eventList/0/readPoint/id", 12),
    ("/epcisBody/eventList/0/readPoint", "urn:x:y"),
    ("/epcisBody/eventList/0/bizTransactionList", [{"type": "prodorder"}]),
    ("/epcisBody/eventList/0/sourceList", [{"source": "urn:x:y"}]),
    ("/epcisBody/eventList/0/sensorElementList", [{}]),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport", []),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/type", "Heat"),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/value", "1.5"),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/value", True),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/booleanValue", 1),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/hexBinaryValue", "0x10"),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/count", 4),
    ("/epcisBody/eventList/0/sensorElementList/0/sensorMetadata/deviceID", "bench"),
    ("/epcisBody/eventList/0/persistentDisposition", {"set": []}),
    ("/epcisBody/eventList/0/quantityList", [{"epcClass": "urn:x:y", "uom": "kilograms"}]),
    ("/epcisBody/eventList/0/errorDeclaration", {}),
    ("/epcisBody/eventList/0/eventID", "one"),
    ("/epcisBody/eventList/0/surprise", 1),
]


@needs_schema
@pytest.mark.parametrize(("pointer", "value"), BROKEN)
def test_a_broken_field_is_refused_by_name_and_by_the_schema(schema: Any, pointer: str, value: Any) -> None:
    broken = _with(document([PRODUCT_EVENT], CREATED), pointer, value)
    flaws = document_flaws(broken)
    assert flaws
    assert all(flaw.pointer.startswith(pointer) or flaw.pointer == f"{pointer}/type" for flaw in flaws), flaws
    assert not schema.is_valid(broken)


@pytest.mark.parametrize("name", ["eventTime", "eventTimeZoneOffset", "action", "type", "epcList"])
def test_a_missing_field_is_named(name: str) -> None:
    event = {field: value for field, value in PRODUCT_EVENT.items() if field not in (name, "readPoint")}
    (flaw,) = document_flaws(document([event], CREATED))
    assert name in flaw.pointer + flaw.message


@needs_schema
@pytest.mark.parametrize(
    "event",
    [
        {"type": "AggregationEvent", "action": "ADD", "parentID": "urn:x:y"},
        {"type": "AssociationEvent", "action": "ADD", "childEPCs": ["urn:x:y"]},
        {"type": "TransactionEvent", "action": "ADD", "epcList": [], "bizTransactionList": []},
        {"type": "TransactionEvent", "action": "ADD", "bizTransactionList": ORDERS},
        {"type": "TransformationEvent", "inputEPCList": ["urn:x:y"]},
        {"type": "TransformationEvent", "transformationID": "urn:x:y"},
        {"type": "ObjectEvent", "action": "OBSERVE", "epcList": ["urn:x:y"], "ilmd": {}},
        {"type": "ObjectEvent", "action": "OBSERVE", "epcList": ["urn:x:y", "urn:x:y"]},
        {"type": "ObjectEvent", "action": "OBSERVE", "sensorElementList": [{"sensorReport": [{"type": "Pressure"}]}]},
    ],
)
def test_what_an_event_of_its_type_must_name_is_asked_for(schema: Any, event: dict[str, Any]) -> None:
    wrapped = document([{**event, "eventTime": CREATED, "eventTimeZoneOffset": "+00:00"}], CREATED)
    assert len(document_flaws(wrapped)) == 1
    assert not schema.is_valid(wrapped)


def test_a_bare_event_is_told_to_be_wrapped() -> None:
    (flaw,) = document_flaws(PRODUCT_EVENT)
    assert "wrapped" in flaw.message


def test_a_document_of_nothing_but_flaws_lists_the_first_few() -> None:
    assert len(document_flaws(document([{}] * 1000, CREATED))) == MOST_FLAWS


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "epcisBody", "eventList", "@context", "x"]), inner)
        ),
        max_leaves=12,
    )
)
def test_no_json_at_all_makes_the_checks_fail(anything: Any) -> None:
    assert document_flaws(anything)
    assert document_flaws({**document([], CREATED), "epcisBody": {"eventList": [anything]}})


def _with(tree: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(tree)
    *path, last = pointer.split("/")[1:]
    place = changed
    for step in path:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[int(last) if isinstance(place, list) else last] = value
    return dict(changed)
