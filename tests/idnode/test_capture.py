"""EPCIS capture and query over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from epcis.documents import document
from epcis.event_hash import event_id
from epcis.validation import document_flaws
from tests.epcis.test_event_hash import MUMIAN, ORDERS, PRODUCT_EVENT

from .conftest import House

CREATED = "2026-01-01T08:00:01.000Z"
HANDLE = "88.100.1/P00000001"


def product(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A product event as a gateway sends it: with its own context and its hash."""
    event = {**PRODUCT_EVENT, "epcList": [f"hdl:88.100.1/P{number:08d}"], "@context": MUMIAN, **changes}
    return {**event, "eventID": event_id(event, MUMIAN)}


async def capture(
    house: House, *events: Any, who: str = "gateway", behaviour: str = "rollback", changes: dict[str, Any] | None = None
) -> Any:
    wrapped = {**document(events, CREATED), **(changes or {})}
    return await house.post("/capture", who, wrapped, **{"GS1-Capture-Error-Behaviour": behaviour})


async def stored(house: House, query: str = "") -> list[dict[str, Any]]:
    answer = await house.client.get(f"/events{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"])


async def test_a_product_event_is_taken_and_its_identifier_registered(house: House) -> None:
    event = product(bizTransactionList=ORDERS)
    answer = await capture(house, event)
    assert (answer.status_code, answer.content) == (202, b"")
    job = await house.client.get(answer.headers["location"], headers=house.bearer("gateway"))
    assert job.json() == {
        "captureID": answer.headers["location"].removeprefix("/capture/"),
        "createdAt": "2026-09-21T14:13:20.123Z",
        "finishedAt": "2026-09-21T14:13:20.123Z",
        "running": False,
        "success": True,
        "captureErrorBehaviour": "rollback",
        "errors": [],
    }
    (found,) = await stored(house)
    assert found.pop("recordTime") == "2026-09-21T14:13:20.123Z"
    assert found == {name: value for name, value in event.items() if name != "@context"}
    assert (await house.client.get(f"/api/handles/{HANDLE}")).status_code == 200


async def test_an_event_read_back_has_the_hash_that_it_came_with(house: House) -> None:
    foreign = {**PRODUCT_EVENT, "epcList": ["urn:epc:id:sgtin:0614141.107346.2017"], "my:field": {"my:deep": [1, 2.5, "x"]}}
    context = [*MUMIAN, {"my": "https://example.org/my/"}]
    name = event_id(foreign, context)
    assert (await capture(house, foreign, changes={"@context": context})).status_code == 202
    answer = (await house.client.get(f"/events/{quote(name, safe='')}")).json()
    (found,) = answer["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
    assert found["eventID"] == name == event_id(found, answer["@context"])


async def test_repeating_a_capture_changes_nothing_and_is_no_error(house: House) -> None:
    for changes in ({}, {"recordTime": "2026-01-01T09:00:00Z"}, {"eventTime": "2026-01-01T16:00:00.123+08:00"}):
        assert (await capture(house, {**product(), **changes})).status_code == 202
    assert len(await stored(house)) == 1


async def test_an_event_without_an_id_gets_its_hash(house: House) -> None:
    bare = {name: value for name, value in product().items() if name != "eventID"}
    await capture(house, bare)
    assert [event["eventID"] for event in await stored(house)] == [product()["eventID"]]


async def test_an_id_of_another_form_is_kept(house: House) -> None:
    name = "urn:uuid:3c0b8a2e-7a52-4b0a-9a5c-1d2f3a4b5c6d"
    await capture(house, {**product(), "eventID": name})
    assert (await house.client.get(f"/events/{name}")).status_code == 200
    assert (await capture(house, {**product(2), "eventID": name})).status_code == 409


async def test_a_second_commissioning_is_refused_and_nothing_of_its_document_kept(house: House) -> None:
    await capture(house, product(1))
    answer = await capture(house, product(2), product(1, **{"mumian:part": "other"}))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/epcisBody/eventList/1")
    assert HANDLE in answer.json()["detail"]
    assert len(await stored(house)) == 1
    assert (await house.client.get("/api/handles/88.100.1/P00000002")).status_code == 404


async def test_proceed_keeps_what_can_be_kept_and_reports_the_rest(house: House) -> None:
    await capture(house, product(1))
    events = product(2), {**product(3), "action": "add"}, product(1, **{"mumian:part": "other"}), product(4)
    answer = await capture(house, *events, behaviour="proceed")
    assert answer.status_code == 202
    job = (await house.client.get(answer.headers["location"], headers=house.bearer("gateway"))).json()
    assert (job["success"], job["captureErrorBehaviour"]) == (False, "proceed")
    assert [error["pointer"] for error in job["errors"]] == ["/epcisBody/eventList/1/action", "/epcisBody/eventList/2"]
    assert {event["epcList"][0][-1] for event in await stored(house)} == {"1", "2", "4"}


async def test_proceed_does_not_save_a_document_that_is_wrong_as_a_whole(house: House) -> None:
    broken: list[dict[str, Any]] = [{"creationDate": "x"}, {"epcisBody": {}}, {"type": "ObjectEvent"}]
    for changes in broken:
        answer = await capture(house, product(), behaviour="proceed", changes=changes)
        assert answer.status_code == 400
    assert (await capture(house, behaviour="sometimes")).status_code == 400


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"eventTime": "2026-01-01"}, "/epcisBody/eventList/0/eventTime"),
        ({"epcList": ["hdl:88.100.1"]}, "/epcisBody/eventList/0/epcList/0"),
        ({"epcList": ["hdl:88.100.1/%00"]}, "/epcisBody/eventList/0/epcList/0"),
        ({"eventID": f"ni:///sha-256;{'0' * 64}?ver=CBV2.0"}, "/epcisBody/eventList/0/eventID"),
        ({"errorDeclaration": {"declarationTime": CREATED}}, "/epcisBody/eventList/0/errorDeclaration"),
        ({"sensorElementList": [{"sensorReport": [{"type": "Pressure", "value": "1"}]}]},
         "/epcisBody/eventList/0/sensorElementList/0/sensorReport/0/value"),
    ],
)  # fmt: skip
async def test_a_malformed_event_is_refused_by_the_name_of_its_field(house: House, changes: dict[str, Any], pointer: str) -> None:
    answer = await capture(house, {**product(), **changes})
    content = answer.json()
    assert (answer.status_code, content["status"]) == (400, 400)
    assert answer.headers["content-type"] == "application/problem+json"
    assert content["type"] == "epcisException:ValidationException"
    assert content["errors"][0]["pointer"] == pointer
    assert pointer in content["detail"]
    assert await stored(house) == []


async def test_a_bare_event_is_refused_and_told_to_be_wrapped(house: House) -> None:
    answer = await house.post("/capture", "gateway", product())
    assert answer.status_code == 400
    assert "wrapped" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff", b'{"type":"EPCISDocument","type":"EPCISDocument"}', b"[" * 15_000]
)
async def test_what_is_no_document_is_refused(house: House, body: bytes) -> None:
    answer = await house.client.post(
        "/capture", content=body, headers={**house.bearer("gateway"), "Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["status"]) == (400, 400)


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json", 202),
        ("application/ld+json", 202),
        ("Application/LD+JSON; charset=UTF-8", 202),
        ("application/json; charset=gbk", 415),
        ("application/xml", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
async def test_only_json_in_utf8_is_read(house: House, media: str, status: int) -> None:
    body = json.dumps(document([product()], CREATED)).encode()
    answer = await house.client.post("/capture", content=body, headers={**house.bearer("gateway"), "Content-Type": media})
    assert answer.status_code == status


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(house: House) -> None:
    headers = {**house.bearer("gateway"), "Content-Type": "application/json"}
    declared = await house.client.post("/capture", content=b" " * 20_001, headers=headers)
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b" " * 1000

    chunked = await house.client.post("/capture", content=endless(), headers=headers)
    assert declared.status_code == chunked.status_code == 413
    assert read <= 22


async def test_more_events_than_one_document_may_have_are_refused(house: House) -> None:
    assert (await capture(house, *(product(number) for number in range(1, 7)))).status_code == 413
    assert (await capture(house, *(product(number) for number in range(1, 6)))).status_code == 202
    assert (await capture(house)).status_code == 202


@pytest.mark.parametrize(("who", "status"), [("registrar", 403), ("reader", 403), ("admin", 403), ("forge_gateway", 403)])
async def test_only_a_gateway_captures_and_only_for_its_own_prefix(house: House, who: str, status: int) -> None:
    assert (await capture(house, product(), who=who)).status_code == status
    assert await stored(house) == []


@pytest.mark.parametrize("foreign", ["hdl:88.100.2/P1", "hdl:88.999/P1", "hdl:88.100.1.1/P1", "HDL:88.100.2/P1"])
async def test_an_event_that_names_anothers_identifier_is_refused(house: House, foreign: str) -> None:
    pack = {
        "type": "AggregationEvent", "action": "ADD", "eventTime": CREATED, "eventTimeZoneOffset": "+08:00",
        "parentID": "hdl:88.100.1/BOX", "childEPCs": [f"hdl:{HANDLE}", foreign],
    }  # fmt: skip
    answer = await capture(house, pack)
    assert answer.status_code == 403
    assert "/epcisBody/eventList/0/childEPCs/1" in answer.json()["detail"]


async def test_a_report_is_for_the_house_that_captured(house: House) -> None:
    location = (await capture(house, product())).headers["location"]
    for who, status in (("gateway", 200), ("reader", 200), ("admin", 200), ("forge_gateway", 404)):
        assert (await house.client.get(location, headers=house.bearer(who))).status_code == status
    assert (await house.client.get(location)).status_code == 401
    assert (await house.client.get("/capture/none", headers=house.bearer("gateway"))).status_code == 404


async def test_an_object_is_found_however_it_is_written(house: House) -> None:
    await capture(house, product(1), product(2))
    for written in (f"hdl:{HANDLE}", f"HDL:{HANDLE}", "hdl:88.100.1/%5000000001"):
        assert len(await stored(house, f"?MATCH_epc={quote(written, safe='')}")) == 1
    await capture(house, {**PRODUCT_EVENT, "epcList": ["urn:epc:id:sgtin:0614141.107346.2017"]})
    for written in ("urn:epc:id:sgtin:0614141.107346.2017", "https://id.gs1.org/01/10614141073464/21/2017"):
        assert len(await stored(house, f"?MATCH_epc={quote(written, safe='')}")) == 1


async def test_the_parts_of_an_aggregation_and_of_a_transformation_are_found(house: House) -> None:
    when = {"eventTime": CREATED, "eventTimeZoneOffset": "+08:00"}
    pack = {**when, "type": "AggregationEvent", "action": "ADD", "parentID": "hdl:88.100.1/BOX", "childEPCs": [f"hdl:{HANDLE}"]}
    melt = {
        **when, "type": "TransformationEvent", "inputQuantityList": [{"epcClass": "hdl:88.100.1/STEEL", "quantity": 2}],
        "outputEPCList": [f"hdl:{HANDLE}"],
    }  # fmt: skip
    await capture(house, pack, melt)
    box, steel, part = "hdl:88.100.1/BOX", "hdl:88.100.1/STEEL", f"hdl:{HANDLE}"
    assert [len(await stored(house, f"?MATCH_anyEPC={epc}")) for epc in (box, steel, part)] == [1, 1, 2]
    assert [len(await stored(house, f"?MATCH_epc={epc}")) for epc in (box, steel, part)] == [0, 0, 1]
    assert (await house.client.get(f"/api/handles/{HANDLE}")).status_code == 404  # neither brings it into the world


async def test_events_come_page_by_page(house: House) -> None:
    for first in (1, 6):
        await capture(house, *(product(number) for number in range(first, first + 5)))
    seen: list[str] = []
    url: str | None = "/events?perPage=3"
    while url is not None:
        answer = await house.client.get(url)
        assert document_shape(answer.json())
        seen += [event["epcList"][0][-2:] for event in answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]]
        url = answer.links.get("next", {}).get("url")
    assert seen == [f"{number:02d}" for number in range(1, 11)]


def document_shape(content: dict[str, Any]) -> bool:
    """Whether the events of a query document could be captured again."""
    events = content["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
    return content["type"] == "EPCISQueryDocument" and document_flaws(document(events, CREATED)) == []


@pytest.mark.parametrize(
    "query",
    ["perPage=0", "perPage=501", "perPage=x", "nextPageToken=x", "nextPageToken=-1", "MATCH_epc=hdl:nonsense", "EQ_bizStep=x",
     "perPage=1&perPage=2", "MATCH_epc=urn:x:y&MATCH_anyEPC=urn:x:y"],
)  # fmt: skip
async def test_a_query_that_is_not_understood_is_refused(house: House, query: str) -> None:
    answer = await house.client.get(f"/events?{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "epcisException:QueryParameterException")


async def test_events_of_a_restricted_enterprise_are_for_its_house(house: House) -> None:
    hidden = {**PRODUCT_EVENT, "epcList": ["hdl:88.100.2/P00000001"]}
    assert (await capture(house, hidden, who="forge_gateway")).status_code == 202
    name = event_id(hidden, MUMIAN)
    for who, status, count in (("", 404, 0), ("reader", 404, 0), ("forge_reader", 200, 1), ("admin", 200, 1)):
        headers = house.bearer(who) if who else {}
        assert (await house.client.get(f"/events/{quote(name, safe='')}", headers=headers)).status_code == status
        listed = (await house.client.get("/events", headers=headers)).json()
        assert len(listed["epcisBody"]["queryResults"]["resultsBody"]["eventList"]) == count


async def test_many_gateways_at_once_lose_nothing(house: House) -> None:
    answers = await asyncio.gather(*(capture(house, product(number)) for number in range(1, 41)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(await stored(house, "?perPage=100")) == 40


async def test_a_capture_says_what_it_takes(house: House) -> None:
    asked = await house.client.options("/capture")
    assert asked.status_code == 204
    for headers in ((await capture(house, product())).headers, asked.headers):
        assert headers["gs1-epcis-version"] == "2.0.0"
        assert (headers["gs1-epcis-capture-limit"], headers["gs1-epcis-capture-file-size-limit"]) == ("5", "20000")
