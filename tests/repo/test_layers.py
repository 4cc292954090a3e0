"""Imports go one way, and third parties stay in their rooms. The table is that of ARCHITECTURE.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo import tree

_OURS = ("benchmarks", "config", "drivers", "epcis", "gateway", "idnode", "mumian", "simulators", "tests")

_CODECS = (
    "drivers.modbus.codec",
    "drivers.modbus.datatypes",
    "drivers.modbus.encoding",
    "drivers.modbus.field",
    "drivers.modbus.framing",
    "drivers.modbus.functions",
    "drivers.modbus.judging",
    "drivers.modbus.serial_framing",
    "drivers.modbus.texts",
    "drivers.status",
)
"""The drivers' sans-IO files, which the simulators may use too."""

_MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "config": (),
    "epcis": (),
    "drivers": ("config",),
    "gateway": (
        "config",
        "epcis",
        "drivers.base",
        "drivers.errors",
        "drivers.model",
        "drivers.pki",
        "drivers.prompt",
        "drivers.registry",
        "drivers.settings",
        "drivers.status",
        "drivers.suggestion",
    ),
    "idnode": ("config", "epcis"),
    # How a consumer tells repeats is one thing wherever it is done; sequence.py is sans-IO and imports nothing of ours.
    "simulators": ("config", "epcis", "gateway.sequence", *_CODECS),
}

_CONFINED: dict[str, tuple[str, ...]] = {
    "aiosqlite": ("gateway/", "idnode/", "simulators/"),
    "asyncpg": ("idnode/store/",),
    "asyncua": ("drivers/opcua/", "simulators/"),
    "biip": ("idnode/schemes/",),
    "fastapi": ("idnode/web/",),
    "gmqtt": ("gateway/sinks/",),
    "iotcore": ("simulators/demo/",),
    "lark": ("gateway/processing/",),
    "paho": ("gateway/subscription.py", "simulators/"),
    "pymodbus": ("simulators/",),
    "serial_asyncio_fast": ("drivers/modbus/",),
    "starlette": ("idnode/web/",),
    "swagger_ui_bundle": ("idnode/web/",),
    "uvicorn": ("idnode/web/",),
    "yaml": ("config/", "simulators/demo/"),
}
_ONE_FILE = ("asyncpg", "gmqtt", "iotcore", "lark", "pymodbus", "serial_asyncio_fast")

_GATEWAY_SANS_IO = (
    "gateway/consumer.py",
    "gateway/sequence.py",
    "gateway/sinks/batching.py",
    "gateway/sinks/blame.py",
    "gateway/sinks/flow.py",
    "gateway/sinks/layout.py",
    "gateway/sinks/packets.py",
)
_SANS_IO = ("epcis/", *_GATEWAY_SANS_IO, *(codec.replace(".", "/") for codec in _CODECS))
_IO = ("aiosqlite", "asyncio", "asyncua", "httpx", "selectors", "socket", "sqlite3", "ssl", "subprocess", "uvloop")


def room_of(path: Path) -> str:
    return path.parts[0]


@pytest.mark.parametrize("room", list(_MAY_IMPORT))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    allowed = (room, *_MAY_IMPORT[room])
    wrong = [
        f"{path}:{line} imports {name}"
        for path in tree.modules(room)
        for line, name in tree.imports(path)
        if tree.is_within(name, _OURS) and not tree.is_within(name, allowed)
    ]
    assert not wrong


def test_nobody_imports_the_tests_or_the_door() -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in tree.modules(*tree.PRODUCT, "benchmarks")
        for line, name in tree.imports(path)
        if tree.is_within(name, ("tests", "mumian"))
    ]
    assert not wrong


@pytest.mark.parametrize("package", list(_CONFINED))
def test_a_third_party_stays_in_its_room(package: str) -> None:
    rooms = _CONFINED[package]
    wrong = [
        f"{path}:{line} imports {name}"
        for path in tree.modules(*tree.PRODUCT)
        for line, name in tree.imports(path)
        if tree.is_within(name, (package,)) and not path.as_posix().startswith(rooms)
    ]
    assert not wrong


@pytest.mark.parametrize("package", _ONE_FILE)
def test_a_third_party_that_may_be_replaced_is_imported_by_one_file(package: str) -> None:
    users = {
        path.as_posix()
        for path in tree.modules(*tree.PRODUCT)
        for _, name in tree.imports(path)
        if tree.is_within(name, (package,))
    }
    assert len(users) <= 1


def test_a_codec_can_open_nothing() -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in tree.modules("drivers", "epcis", "gateway")
        if path.as_posix().startswith(_SANS_IO)
        for line, name in tree.imports(path)
        if tree.is_within(name, _IO)
    ]
    assert not wrong


def test_the_table_speaks_of_files_that_exist() -> None:
    """A renamed codec would else leave the table without anyone noticing."""
    assert not [codec for codec in _CODECS if not (tree.ROOT / f"{codec.replace('.', '/')}.py").is_file()]
    assert not [path for path in _GATEWAY_SANS_IO if not (tree.ROOT / path).is_file()]
    assert not [room for rooms in _CONFINED.values() for room in rooms if not (tree.ROOT / room).exists()]
