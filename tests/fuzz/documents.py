"""What reaches a node: EPCIS documents, identifiers in every spelling, times and addresses within them."""

from __future__ import annotations

import json
from typing import Any

from epcis.event_hash import is_event_hash
from epcis.gs1_uri import canonical_gs1_uri
from epcis.timestamps import from_epoch_ms, to_epoch_ms, zone_offset_minutes
from epcis.validation import document_flaws
from idnode.capture import Malformed, Opened, TooManyEvents, open_document
from idnode.event import ErrorBehaviour
from idnode.identifier import InvalidIdentifier, parse_compressed, parse_encoded, parse_identifier, parse_uri, read_identifier
from idnode.pattern import BadPattern, Pattern
from idnode.scan import read_scan
from idnode.schemes.gs1_compression import compress
from idnode.strict_json import NotJson, loads
from idnode.web.negotiation import Face, choose_face
from tests.fuzz.draw import Draw, Written

MOST_EVENTS = 50


def run_document(data: bytes) -> None:
    """A body of POST /capture: events with their names, or what is wrong with it; the same again when what came out goes in."""
    draw = Draw(data)
    behaviour = draw.choice(tuple(ErrorBehaviour))
    try:
        document = loads(draw.rest())
    except NotJson:
        return
    flaws = document_flaws(document)
    assert all(flaw.message for flaw in flaws)
    try:
        opened = open_document(document, behaviour, MOST_EVENTS)
    except (Malformed, TooManyEvents):
        return
    assert not flaws or behaviour is ErrorBehaviour.PROCEED
    _judge(document, opened)


def _judge(document: Any, opened: Opened) -> None:
    assert len(opened.events) <= MOST_EVENTS
    for event in opened.events:
        assert len(event.digest) == 32
        stored = loads(event.content)
        assert isinstance(stored, dict)
        assert stored["eventID"] == event.id
        # What is read back has the same name, so that a copy of it is known as the same event.
        own = {**document, "epcisBody": {"eventList": [stored]}}
        again = open_document(own, ErrorBehaviour.ROLLBACK, 1).events[0]
        assert again.digest == event.digest
        assert not is_event_hash(event.id) or event.id == again.id


def document_seeds() -> list[bytes]:
    """An event of each type, with most fields that there are."""
    when = {"eventTime": "2026-11-24T10:00:00.000+08:00", "eventTimeZoneOffset": "+08:00"}
    sensor = {
        "sensorMetadata": {"time": "2026-11-24T02:00:00Z"},
        "sensorReport": [{"type": "Pressure", "value": 5.5, "uom": "BAR", "mumian:count": 3}],
    }
    part = "hdl:88.100.1/P-1"
    events: list[dict[str, Any]] = [
        {
            "type": "ObjectEvent",
            **when,
            "action": "ADD",
            "epcList": [part],
            "bizStep": "commissioning",
            "disposition": "active",
            "readPoint": {"id": "urn:epc:id:sgln:0614141.00777.0"},
            "sensorElementList": [sensor],
            "ilmd": {"mumian:lot": "L1"},
        },
        {
            "type": "AggregationEvent",
            **when,
            "action": "ADD",
            "parentID": part,
            "childEPCs": ["urn:epc:id:sgtin:0614141.107346.2017"],
        },
        {
            "type": "TransformationEvent",
            **when,
            "inputEPCList": [part],
            "outputEPCList": ["https://id.gs1.org/01/04012345678901/21/1"],
        },
        {
            "type": "TransactionEvent",
            **when,
            "action": "OBSERVE",
            "bizTransactionList": [{"type": "po", "bizTransaction": "urn:x:1"}],
            "epcList": [part],
        },
    ]
    context = ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", {"mumian": "urn:mumian:epcis:"}]
    head = {"@context": context, "type": "EPCISDocument", "schemaVersion": "2.0", "creationDate": "2026-11-24T02:00:00Z"}
    behaviours = tuple(ErrorBehaviour)
    return [
        Written().choice(behaviour, behaviours).data + json.dumps({**head, "epcisBody": {"eventList": [event]}}).encode()
        for behaviour in behaviours
        for event in events
    ]


def run_identifier(data: bytes) -> None:
    """An identifier in any spelling: refused, or one that has one normal form in each."""
    draw = Draw(data)
    which = draw.number(3)
    raw = draw.rest()
    text = raw.decode("utf-8", "replace")
    try:
        found = (parse_identifier, parse_uri, read_identifier)[which](text) if which < 3 else parse_encoded(raw)
    except InvalidIdentifier as error:
        assert str(error)
        return
    assert parse_identifier(str(found)) == found
    assert parse_encoded(found.path) == parse_encoded(found.path.encode()) == found
    assert parse_uri(found.uri) == found
    assert read_identifier(str(found)) == read_identifier(found.uri) == read_identifier(f"https://h/{found.path}?x#y") == found
    assert found.path.isascii()
    assert " " not in found.path


def run_scan(data: bytes) -> None:
    """Whatever somebody types or a scanner yields: refused, or an identifier in normal form."""
    text = data.decode("utf-8", "replace")
    try:
        found = read_scan(text)
    except InvalidIdentifier as error:
        assert str(error)
        return
    assert parse_identifier(found.key) == found


def scan_seeds() -> list[bytes]:
    """One of each kind of leniency."""
    texts = (
        *("]C1010950600013435210ABC<GS>21123", "（01）09506000134352（21）Ａ１", "9 506000 134352", "\ufeff８８。１／Ｐ１\u200b"),
        *("https://id.gs1.org/ARFKk4XB0CDKWcnpq?a=b", "01/05412345000013/EEarwSM", "h.cn/88.100.1/P1", "88.100.1 / P1"),
        *("https://h.cn/#/detail?handle=88.118.8%2FJ1", "010950600013435221{FNC1}^]"),
    )
    return [text.encode() for text in texts]


def run_compressed(data: bytes) -> None:
    """A compressed Digital Link: refused, or a link that is not much longer and that can be compressed again."""
    text = data.decode("utf-8", "replace")
    try:
        found, query = parse_compressed(text)
    except InvalidIdentifier as error:
        assert str(error)
        return
    assert len(found.path) + len(query) <= 3 * len(text)
    assert parse_encoded(found.path) == found
    assert query.isascii()
    assert query.isprintable()
    assert parse_compressed(compress(((found.prefix, found.suffix), *found.qualifiers))) == (found, "")


def compressed_seeds() -> list[bytes]:
    """With each code, encoding and kind of pair."""
    pairs = (("01", "09506000134352"), ("10", "aB-_"), ("21", "7f"), ("17", "261231"))
    more = compress((*pairs, ("3923", "12"), ("91", "x/y?"), ("22", "A0")), (("name", "v=1"),))
    partly = f"01/09506000134352/{compress(pairs[1:])}"
    return [text.encode() for text in ("ARFKk4XB0CDKWcnpq", "QUSaVjC_dHBAVlCrg", compress(pairs), more, partly)]


def identifier_seeds() -> list[bytes]:
    """One in each spelling."""
    spellings = (
        *(b"88.100.1/P-1", b"hdl:88.100.1/%E6%9C%A8%20x", b"https://id.example/86.1/a?b#c", b"88.100.1/%2F%25", b"0.NA/88.100"),
        *(b"]C1010950600013435210A%/B\x1d21(1)", b"(01)09506000134352(17)261231(235)x", b"gs1:8010/95060A%2F1/8011/7"),
        *(b"9506000134352", b"urn:epc:id:sgtin:9506000.013435.A%2FB", b"https://h/x/01/9506000134352/21/%28"),
        *(b"urn:oid:1.2.156.3088", b"vaa:VAA1/01/2-3", b"ecode:3aB"),
    )
    return [Written().number(which, 3).data + text for which in range(4) for text in spellings]


def run_pattern(data: bytes) -> None:
    """A template's pattern and a text: refused with the reason, or an answer, whatever they are."""
    draw = Draw(data)
    pattern, text = draw.piece(255).decode("utf-8", "replace"), draw.rest().decode("utf-8", "replace")
    try:
        found = Pattern(pattern)
    except BadPattern as error:
        assert str(error)
        return
    assert found.fits(text) is found.fits(text)


def pattern_seeds() -> list[bytes]:
    """One of each construction."""
    pairs = (("^[A-Z]{2}-\\d{4,}$", "AB-12345"), ("(a|bc)*?d", "abcd"), ("(?:[^\\]x-]|\\.)+.?", "..y"), ("((a*)*){0,3}", "aaa"))
    return [Written().piece(pattern.encode(), 255).data + text.encode() for pattern, text in pairs]


def run_words(data: bytes) -> None:
    """Times, zones, GS1's addresses and Accept headers, which stand in what others send."""
    draw = Draw(data)
    which, text = draw.number(3), draw.rest().decode("utf-8", "replace")
    if which == 0:
        assert choose_face(text) in Face
    elif which == 1:
        canonical = canonical_gs1_uri(text)
        assert canonical is None or canonical_gs1_uri(canonical) in (canonical, None)
    else:
        try:
            if which == 2:
                moment = to_epoch_ms(text)
                assert to_epoch_ms(from_epoch_ms(moment)) == moment
            else:
                assert abs(zone_offset_minutes(text)) <= 14 * 60
        except ValueError as error:
            assert str(error)


def word_seeds() -> list[bytes]:
    """Good ones of each."""
    words = (
        (0, "text/html;q=0.5, application/json"),
        (1, "urn:epc:id:sgtin:0614141.107346.2017"),
        (1, "https://id.gs1.org/01/04012345678901/21/ABC?x=1"),
        (1, "urn:epc:id:sgln:0614141.00777.0"),
        (2, "2026-11-24T10:00:00.123+08:00"),
        (2, "0001-01-01T00:00:00Z"),
        (3, "+14:00"),
    )
    return [Written().number(which, 3).data + text.encode() for which, text in words]
