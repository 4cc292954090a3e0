"""What an operator may write for an OPC UA server, what the mistakes say, and what it compiles to."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.model import Kind
from drivers.opcua.nodes import node_id
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings, OpcuaTag


def server(*tags: dict[str, Any], **other: Any) -> OpcuaSettings:
    named = [{"name": f"tag_{place}", "node": f"ns=2;i={place}", **tag} for place, tag in enumerate(tags or [{}])]
    given = {
        "name": "bench",
        "driver": "opcua",
        "endpoint": "opc.tcp://10.0.0.7:4840",
        "security": "none",
        "tags": named,
        **other,
    }
    return OpcuaSettings.model_validate({key: value for key, value in given.items() if value is not None})


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("opc.tcp://plc", "opc.tcp://plc:4840"),
        ("opc.tcp://plc:4841/ua/server", "opc.tcp://plc:4841/ua/server"),
        ("opc.tcp://[fe80::1]", "opc.tcp://[fe80::1]:4840"),
        ("opc.tcp://[fe80::1]:50", "opc.tcp://[fe80::1]:50"),
    ],
)
def test_the_port_is_4840_when_left_out(written: str, url: str) -> None:
    assert server(endpoint=written).url == url


@pytest.mark.parametrize(
    "written", ["plc:4840", "http://plc", "opc.tcp://user:secret@plc:4840", "opc.tcp://", "opc.tcp://plc:port"]
)
def test_what_is_no_endpoint_is_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        server(endpoint=written)


@pytest.mark.parametrize(
    "node", ["i=2258", "ns=2;i=5", "ns=3;s=a;b = c", "nsu=urn:x;s=pump.level", "nsu=http://x/y;i=1", "ns=1;b=AQI="]
)
def test_node_ids_of_the_standard_are_accepted(node: str) -> None:
    assert server({"node": node}).tags[0].node == node


@pytest.mark.parametrize(
    "node", ["", "pump.level", "ns=2", "ns=x;i=5", "nsu=;s=a", "ns=2;i=a", "ns=2;q=1", "nsu=urn:x;", "b=A", "g=1-2"]
)
def test_what_is_no_node_id_is_refused(node: str) -> None:
    with pytest.raises(ValidationError):
        server({"node": node})


@pytest.mark.parametrize("node", ["ns=65536;s=a", "ns=2;i=4294967296"])
def test_a_number_that_no_node_id_holds_is_a_mistake(node: str) -> None:
    assert [where for where, _, _ in server({"node": node}).tags[0].mistakes()] == [("node",)]


@pytest.mark.parametrize(
    ("text", "identifier", "index"),
    [
        ("i=2258", 2258, 0),
        ("ns=3;s=a;b = c", "a;b = c", 3),
        ("nsu=urn:b;i=7", 7, 2),
        ("nsu=urn:c%3Bd%25;s=x", "x", 3),
        ("g=00000000-0000-0000-0000-000000000005", uuid.UUID(int=5), 0),
        ("ns=1;b=AQI=", b"\x01\x02", 1),
    ],
)
def test_a_node_id_is_found_in_the_servers_namespaces(text: str, identifier: object, index: int) -> None:
    found = node_id(text, ("http://opcfoundation.org/UA/", "urn:a", "urn:b", "urn:c;d%"))
    assert found is not None
    assert (found.Identifier, found.NamespaceIndex) == (identifier, index)


def test_a_namespace_that_the_server_lacks_is_no_node() -> None:
    assert node_id("nsu=urn:x;i=1", ("urn:a",)) is None


def test_an_open_connection_must_be_asked_for_by_name() -> None:
    with pytest.raises(ValidationError, match="security"):
        server(security=None)


def test_signing_needs_no_file_but_a_certificate_needs_its_key() -> None:
    assert list(server(security="sign").mistakes()) == []
    ((where, _, hint),) = server(security="sign", certificate_file="own.pem").mistakes()
    assert (where, hint) == (("certificate_file",), "add private_key_file")
    ((where, _, hint),) = server(user_key_file="user.pem").mistakes()
    assert (where, hint) == (("user_key_file",), "add user_certificate_file")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("certificate_file", "own.pem"),
        ("private_key_file", "own.pem"),
        ("server_certificate_file", "server.pem"),
        ("server_name", "plc"),
        ("security_policy", "Basic256Sha256"),
    ],
)
def test_what_only_secures_has_no_use_on_an_open_connection(key: str, value: str) -> None:
    where, _, hint = next(server(**{key: value}).mistakes())
    assert (where, hint) == ((key,), "set security: sign_and_encrypt")


def test_a_server_that_dials_in_is_expected_at_an_address() -> None:
    assert server(listen="[::1]:4841").listening == ("::1", 4841)
    assert server().listening is None
    assert [where for where, _, _ in server(listen="127.0.0.1:65536").mistakes()] == [("listen",)]
    assert [where for where, _, _ in server(server_uri="urn:plc").mistakes()] == [("server_uri",)]
    given = {"listen": "127.0.0.1:4841", "server_uri": "urn:plc"}
    assert list(server(**given).mistakes()) == []
    assert [where for where, _, _ in server(**given, backup_endpoints=["opc.tcp://b"]).mistakes()] == [("server_uri",)]
    with pytest.raises(ValidationError, match="host:port"):
        server(listen="4841")


def test_a_user_is_a_name_or_a_certificate() -> None:
    other = {"user": "gw", "password_file": "pw", "user_certificate_file": "u.der", "user_key_file": "u.pem"}
    assert [where for where, _, _ in server(**other).mistakes()] == [("user",)]


def test_backup_endpoints_get_their_ports_and_none_is_tried_twice() -> None:
    both = server(endpoint="opc.tcp://a", backup_endpoints=["opc.tcp://b:4841/x", "opc.tcp://a:4840"])
    assert both.urls == ("opc.tcp://a:4840", "opc.tcp://b:4841/x")


def test_user_and_password_file_come_together() -> None:
    assert [where for where, _, _ in server(user="gw").mistakes()] == [("user",)]
    assert [where for where, _, _ in server(password_file="pw").mistakes()] == [("password_file",)]
    assert list(server(user="gw", password_file="pw").mistakes()) == []


def test_a_name_that_is_there_twice_is_named_at_the_second() -> None:
    assert [where for where, _, _ in server({"name": "a"}, {"name": "a"}).mistakes()] == [("tags", 1, "name")]


def test_a_bool_or_a_text_has_no_deadband() -> None:
    for kind in ("bool", "text"):
        assert [where for where, _, _ in server({"type": kind, "deadband": 1}).tags[0].mistakes()] == [("deadband",)]


def test_the_plan_is_one_subscription_told_by_sampling_interval() -> None:
    plan = compile_device(server({}, {"sampling_interval_ms": 20, "type": "bool"}, {"type": "text"}, publishing_interval_ms=200))
    (scan,) = plan.scans
    assert (scan.subscribed, scan.period_ns, scan.plan.tags) == (True, 200_000_000, (0, 1, 2))
    assert plan.tags.kinds == (Kind.FLOAT, Kind.BOOL, Kind.TEXT)
    assert [(line.text, line.tags) for line in scan.plan.requests()] == [
        ("subscribe to 1 node: sampled every 20 ms, published every 200 ms, queue of 100", ("tag_1",)),
        ("subscribe to 2 nodes: sampled every 100 ms, published every 200 ms, queue of 100", ("tag_0", "tag_2")),
    ]


def test_every_field_is_described() -> None:
    for model in (OpcuaSettings, OpcuaTag):
        for name, field in model.model_fields.items():
            assert field.description, name
