"""What an operator may write for a Modbus device, and what the mistakes say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Mistake
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.tag import ModbusTag


def device(*tags: dict[str, Any], **other: Any) -> ModbusSettings:
    named = [{"name": f"tag_{place}", **tag} for place, tag in enumerate(tags)]
    return ModbusSettings.model_validate({"name": "meter", "driver": "modbus", "address": "10.0.0.5", "tags": named, **other})


def holding(address: int, **other: Any) -> dict[str, Any]:
    return {"area": "holding_register", "address": address, **other}


def all_mistakes(settings: ModbusSettings) -> list[Mistake]:
    found = list(settings.mistakes())
    for place, tag in enumerate(settings.tags):
        found += [(("tags", place, *where), what, hint) for where, what, hint in tag.mistakes()]
    return found


def the_mistake(settings: ModbusSettings) -> Mistake:
    (mistake,) = all_mistakes(settings)
    return mistake


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("10.0.0.5", ("10.0.0.5", 502)),
        ("press.local:5020", ("press.local", 5020)),
        ("[fe80::1]:1502", ("fe80::1", 1502)),
        ("[::1]", ("::1", 502)),
    ],
)
def test_an_address_is_host_and_port_with_502_by_default(written: str, endpoint: tuple[str, int]) -> None:
    assert device(holding(0), address=written).endpoint == endpoint


@pytest.mark.parametrize("written", ["", "host:", "host:port", "::1", "a b:502", "host:123456"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        device(holding(0), address=written)


def test_a_port_beyond_the_last_is_a_mistake() -> None:
    assert the_mistake(device(holding(0), address="host:65536"))[0] == ("address",)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="skale"):
        device(holding(0, skale=2))


def test_the_type_is_implied_where_there_is_no_choice() -> None:
    tags = device({"area": "coil", "address": 1}, holding(2), holding(3, bit=4)).tags
    assert [tag.data_type.value for tag in tags] == ["bool", "uint16", "bool"]


def test_a_sound_device_has_no_mistakes() -> None:
    assert all_mistakes(device(holding(0, type="float32"), holding(2), {"area": "discrete_input", "address": 65535})) == []


def test_a_value_that_ends_beyond_65535_is_named_at_its_address() -> None:
    where, what, _ = the_mistake(device(holding(65535, type="float32")))
    assert where == ("tags", 0, "address")
    assert "65536" in what


def test_an_address_beyond_65535_is_a_mistake_and_a_manuals_number_is_explained() -> None:
    where, what, hint = the_mistake(device(holding(400001)))
    assert where == ("tags", 0, "address")
    assert "beyond 65535" in what
    assert hint is not None
    assert "address: 0" in hint
    assert the_mistake(device(holding(70000)))[2] is None


@pytest.mark.parametrize(
    ("area", "written", "meant"),
    [
        ("holding_register", 40001, 0),
        ("holding_register", 49999, 9998),
        ("input_register", 30008, 7),
        ("discrete_input", 10197, 196),
    ],
)
def test_a_manuals_number_is_asked_about(area: str, written: int, meant: int) -> None:
    where, _, hint = the_mistake(device({"area": area, "address": written}))
    assert where == ("tags", 0, "address")
    assert hint is not None
    assert f"did you mean {meant}?" in hint


def test_a_manuals_number_is_believed_when_the_operator_says_so() -> None:
    assert all_mistakes(device(holding(40001), numbering="as_written")) == []


@pytest.mark.parametrize(
    "pair",
    [
        (holding(0, type="float32"), holding(1)),
        (holding(0, type="uint32"), holding(0, type="float32")),
        (holding(0, type="uint32"), holding(0)),
        (holding(0, type="uint32"), holding(0, type="uint32", order="CDAB")),
        (holding(0, type="string", length=5), holding(4)),
        (holding(0, type="float32"), holding(0, bit=3)),
        (holding(0, type="float64"), holding(3, bit=3)),
    ],
)
def test_overlapping_tags_are_both_named(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for tags in (pair, pair[::-1]):
        found = all_mistakes(device(*tags))
        assert {where for where, _, _ in found} == {("tags", 0, "address"), ("tags", 1, "address")}
        assert all("tag_0" in what and "tag_1" in what for _, what, _ in found)


@pytest.mark.parametrize(
    "pair",
    [
        (holding(0, type="float32"), holding(2)),
        (holding(0, bit=3), holding(0, bit=4)),
        (holding(0, bit=3), holding(0)),
        (holding(0), holding(0, scale=0.1)),
        (holding(0), {"area": "input_register", "address": 0}),
    ],
)
def test_tags_that_may_share_their_registers_do(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert all_mistakes(device(*pair)) == []


def test_an_overlap_is_found_behind_a_shorter_tag() -> None:
    found = all_mistakes(device(holding(0, type="float64"), holding(1), holding(3)))
    assert {(where[1], what.partition("overlaps '")[2][:5]) for where, what, _ in found} == {
        (0, "tag_1"),
        (0, "tag_2"),
        (1, "tag_0"),
        (2, "tag_0"),
    }


def test_a_name_that_is_there_twice_is_named_at_the_second() -> None:
    where, what, _ = the_mistake(device(holding(0, name="a"), holding(1, name="b"), holding(2, name="a")))
    assert where == ("tags", 2, "name")
    assert "tags[0]" in what


@pytest.mark.parametrize(
    ("tag", "field"),
    [
        ({"area": "coil", "address": 0, "type": "uint16"}, "type"),
        ({"area": "coil", "address": 0, "bit": 1}, "bit"),
        ({"area": "coil", "address": 0, "scale": 2}, "scale"),
        ({"area": "coil", "address": 0, "offset": 2}, "offset"),
        ({"area": "coil", "address": 0, "deadband": 1}, "deadband"),
        ({"area": "discrete_input", "address": 0, "access": "read_write"}, "access"),
        ({"area": "input_register", "address": 0, "access": "read_write"}, "access"),
        (holding(0, type="bool"), "type"),
        (holding(0, type="int16", bit=1), "bit"),
        (holding(0, type="string"), "type"),
        (holding(0, type="int8"), "type"),
        (holding(0, byte="low"), "byte"),
        (holding(0, characters="low"), "characters"),
        (holding(0, type="int32", order="ABCDEFGH"), "order"),
        (holding(0, type="unix_time", scale=2), "scale"),
        (holding(0, type="unix_time", access="read_write"), "access"),
        (holding(0, labels={0: "off"}, min=0), "min"),
        (holding(0, type="float32", labels={0: "off"}), "labels"),
        (holding(0, labels={0: "off", 1: "off"}), "labels"),
        (holding(0, min=5, max=4), "min"),
        (holding(0, verify=True), "verify"),
        (holding(0, allowed=[1]), "allowed"),
        (holding(0, access="read_write", bit_write="mask"), "bit_write"),
        (holding(0, type="uint32", length=2), "length"),
        (holding(0, type="string", length=2, scale=2), "scale"),
        (holding(0, scale=0), "scale"),
    ],
)
def test_a_contradiction_within_a_tag_is_named_at_its_field(tag: dict[str, Any], field: str) -> None:
    assert the_mistake(device(tag))[0] == ("tags", 0, field)


def test_a_string_longer_than_the_device_answers_is_a_mistake() -> None:
    where, what, _ = the_mistake(device(holding(0, type="string", length=60), max_registers=50))
    assert where == ("tags", 0)
    assert "max_registers 50" in what


def test_every_field_is_described() -> None:
    for model in (ModbusSettings, ModbusTag):
        for name, field in model.model_fields.items():
            assert field.description, name


@pytest.mark.parametrize(
    ("tag", "where"),
    [
        (holding(0, fill=[1, 70000]), ("tags", 0, "fill", 1)),
        (holding(0, type="int8", byte="low", fill=[0.5]), ("tags", 0, "fill", 0)),
        (holding(0, access="read_write", allowed=[1, 70000]), ("tags", 0, "allowed", 1)),
        (holding(0, access="read_write", allowed=["on"]), ("tags", 0, "allowed", 0)),
        (holding(0, access="read_write", labels={0: "off"}, allowed=["off", "on"]), ("tags", 0, "allowed", 1)),
    ],
)
def test_a_value_that_the_tag_cannot_have_is_named_by_its_place(tag: dict[str, Any], where: tuple[object, ...]) -> None:
    assert the_mistake(device(tag))[0] == where


def test_both_bytes_of_a_register_may_be_tags() -> None:
    both = [holding(0, type="int8", byte="high"), holding(0, type="uint8", byte="low")]
    assert all_mistakes(device(*both)) == []


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"address": None}, ("address",)),
        ({"serial_port": "/dev/ttyS0"}, ("serial_port",)),
        ({"parity": "even"}, ("parity",)),
        ({"ca_file": "ca.pem"}, ("ca_file",)),
        ({"registration": "DTU"}, ("registration",)),
        ({"transport": "rtu", "address": None}, ("serial_port",)),
        ({"transport": "rtu", "serial_port": "/dev/ttyS0"}, ("address",)),
        ({"transport": "rtu", "serial_port": "/dev/ttyS0", "address": None, "unit": 0}, ("unit",)),
        ({"transport": "rtu", "serial_port": "/dev/ttyS0", "address": None, "data_bits": 7}, ("data_bits",)),
        ({"transport": "rtu_over_tcp", "pipeline": 2}, ("pipeline",)),
        ({"transport": "rtu_over_tcp", "pipeline": "auto"}, ("pipeline",)),
        ({"transport": "ascii_over_tcp", "unit": 248}, ("unit",)),
        ({"transport": "listen"}, ("registration",)),
        ({"transport": "listen", "registration": "D", "backup_addresses": ["h"]}, ("backup_addresses",)),
        ({"backup_addresses": ["h", "h:70000"]}, ("backup_addresses", 1)),
        ({"order": "ABCDEFGH"}, ("order",)),
    ],
)
def test_what_contradicts_the_transport_is_named_at_its_field(settings: dict[str, Any], where: tuple[object, ...]) -> None:
    assert the_mistake(device(holding(0), **settings))[0] == where


def test_tls_needs_both_certificates_and_has_a_port_of_its_own() -> None:
    tls = device(holding(0), transport="tls")
    assert [where for where, _, _ in all_mistakes(tls)] == [("certificate_file",), ("private_key_file",), ("ca_file",)]
    assert tls.endpoint[1] == 802


@pytest.mark.parametrize("packet", ["", "hex:", "hex:F", "hex:XY", "木棉"])
def test_a_registration_that_is_no_packet_is_refused(packet: str) -> None:
    with pytest.raises(ValidationError):
        device(holding(0), transport="listen", registration=packet)
