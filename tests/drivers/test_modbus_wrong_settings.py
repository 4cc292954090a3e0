"""What an engineer is told who writes a Modbus device as another product spells it, or with values that can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.documents import load
from config.problems import ConfigError
from gateway.settings import GatewaySettings

TAG = "name: t, area: holding_register, address: 0"
INPUT = "name: t, area: input_register, address: 0"
TCP = "address: 10.0.0.5"
RTU = "transport: rtu, serial_port: /dev/ttyUSB0"


def said(folder: Path, device: str = TCP, tag: str = TAG) -> list[str]:
    """What the loader says of a file with this device and tag; places are D and T."""
    path = folder / "site.yaml"
    head = "gateway: g\nsinks: [{kind: mqtt, url: 'mqtt://b'}]\ndevices:\n"
    path.write_text(f"{head}  - {{name: d, driver: modbus, {device}, tags: [{{{tag}}}]}}\n", "utf-8")
    try:
        load(path, GatewaySettings)
    except ConfigError as error:
        texts = [str(problem).removeprefix(f"{path}:4: ") for problem in error.problems]
        return [text.replace("devices[0].tags[0].", "T.").replace("devices[0].", "D.") for text in texts]
    return []


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            f"{TCP}, port: 502",
            "D.port: unknown key (a TCP port stands in the address: host:port; a serial one is serial_port)",
        ),
        ("host: 10.0.0.5, address: 10.0.0.5", "D.host: unknown key (write it as address: host:port)"),
        (f"{TCP}, slave_id: 3", "D.slave_id: unknown key (it is called unit)"),
        (f"{TCP}, retries: 3", "D.retries: unknown key (it is called repeats)"),
        (f"{TCP}, scan_rate: 500", "D.scan_rate: unknown key (it is called period_ms)"),
        (f"{TCP}, byte_order: big", "D.byte_order: unknown key (it is called order)"),
        (f"{TCP}, order: big-endian", "D.order: big-endian is spelt ABCD here"),
        (f"{TCP}, transport: modbus_tcp", "D.transport: modbus_tcp is spelt tcp here"),
        (f"{RTU}, parity: N", "D.parity: N is spelt none here"),
        (f"{RTU}, data_bits: 7", "D.data_bits: RTU always has 8 data bits, not 7 (leave data_bits out, or transport: ascii)"),
        (
            f"{TCP}, serial_port: /dev/ttyS0",
            "D.serial_port: serial_port is for transport rtu and ascii, and without a transport it is tcp "
            "(add transport: rtu or ascii, or leave serial_port out)",
        ),
        (
            f"{TCP}, transport: tcp, serial_port: /dev/ttyS0",
            "D.serial_port: serial_port is for transport rtu and ascii, not tcp (leave serial_port out)",
        ),
        (RTU.replace("/dev/ttyUSB0", "''"), "D.serial_port: must be the name of a serial port, such as /dev/ttyUSB0, not empty"),
        ("address: 192.168.1.256", "D.address: 192.168.1.256 is no IP address (four numbers of 0 to 255, such as 192.168.1.20)"),
        ("address: 10.0.0:502", "D.address: 10.0.0 is no IP address (four numbers of 0 to 255, such as 192.168.1.20)"),
        ("address: '[1:2]:502'", "D.address: 1:2 is no IP address"),
        (f"{TCP}, backup_addresses: [b, '10.0.0.5:502']", "D.backup_addresses[1]: 10.0.0.5:502 is there already (leave it out)"),
    ],
)
def test_a_wrong_device_is_told_with_what_to_write(tmp_path: Path, device: str, message: str) -> None:
    assert said(tmp_path, device) == [message]


@pytest.mark.parametrize("device", [f"{RTU}, data_bits: 8", "address: plc-7.local", "address: '[fe80::1]'", "address: 10.0.0.5"])
def test_what_is_right_stays_right(tmp_path: Path, device: str) -> None:
    assert said(tmp_path, device) == []


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (f"{TAG}, type: float", "T.type: float is spelt float32 here"),
        (f"{TAG}, type: REAL", "T.type: REAL is spelt float32 here"),
        (f"{TAG}, type: word", "T.type: word is spelt uint16 here"),
        ("name: t, area: 4x, address: 0", "T.area: 4x is spelt holding_register here"),
        (f"{TAG}, access: rw", "T.access: rw is spelt read_write here"),
        (f"{TAG}, type: string, length: 4, encoding: GBK", "T.encoding: GBK is spelt gb18030 here"),
        (f"{TAG}, count: 2", "T.count: unknown key (the type says it; for a string it is called length)"),
        (f"{TAG}, function: 3", "T.function: unknown key (it is called area)"),
        (f"{TAG}, swap: word", "T.swap: unknown key (it is called order: ABCD, CDAB, BADC or DCBA)"),
        (f"{TAG}, gain: 0.1", "T.gain: unknown key (it is called scale)"),
        (f"{INPUT}, access: read_write", "T.access: an input_register can't be written (leave access out)"),
        (f"{TAG}, encoding: latin-1", "T.encoding: only a string has an encoding, not uint16 (leave encoding out)"),
        (f"{TAG}, min: 5, max: 4", "T.min: min 5 is greater than max 4 (exchange them)"),
        (f"{TAG}, max: -1", "T.max: max -1 is below every value of uint16 (it has 0 to 65535)"),
        (f"{TAG}, type: int16, min: 40000", "T.min: min 40000 is above every value of int16 (it has -32768 to 32767)"),
        (f"{TAG}, beyond: clamp", "T.beyond: beyond is for a value outside min and max, and there are none (add min or max)"),
        (f"{TAG}, fill_quality: bad", "T.fill_quality: fill_quality is the status of a fill value, and there is none (add fill)"),
        (f"{TAG}, fill: [65536]", "T.fill[0]: 65536 is not a raw value of uint16 (whole numbers to 65535, unscaled)"),
        (f"{TAG}, type: bcd16, labels: {{10000: x}}", "T.labels: 10000 is not a value of bcd16 (it has 0 to 9999)"),
        (f"{TAG}, labels: {{0: ''}}", "T.labels: 0 has an empty label (give it a word)"),
        (f"{TAG}, access: read_write, allowed: [70000]", "T.allowed[0]: 70000 does not fit uint16"),
        (f"{TAG}, access: read_write, max: 5, allowed: [6]", "T.allowed[0]: 6 is beyond max 5"),
        (f"{TAG}, access: read_write, allowed: [true]", "T.allowed[0]: true is no value of uint16"),
        (f"{TAG}, access: read_write, allowed: ['on']", "T.allowed[0]: 'on' is not a number"),
        (f"{TAG}, access: read_write, labels: {{0: idle}}, allowed: [run]", "T.allowed[0]: 'run' is none of its labels"),
        ("name: t, area: coil, address: 0, access: read_write, allowed: [2]", "T.allowed[0]: 2 is neither true nor false"),
    ],
)  # fmt: skip
def test_a_wrong_tag_is_told_with_what_to_write(tmp_path: Path, tag: str, message: str) -> None:
    assert said(tmp_path, tag=tag) == [message]


def test_a_coil_may_be_allowed_true_only(tmp_path: Path) -> None:
    assert said(tmp_path, tag="name: t, area: coil, address: 0, access: read_write, allowed: [true]") == []
