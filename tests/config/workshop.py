"""A settings file like the real ones, small enough to reason about."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from config.documents import load
from config.problems import ConfigError, Problem
from config.settings import FilePath, Mistake, Name, Settings


class Order(StrEnum):
    ABCD = "ABCD"
    CDAB = "CDAB"


class Tag(Settings):
    """A register or two."""

    name: Name
    """The tag's name."""
    address: int = Field(ge=0, le=65535)
    """First register."""
    words: int = Field(default=1, ge=1, le=4)
    """How many registers it takes."""
    order: Order = Order.ABCD
    """Byte order."""
    deadband: float = Field(default=0.0, ge=0)
    """Smallest change that counts."""


class Modbus(Settings):
    """A device that is polled."""

    driver: Literal["modbus"]
    """Always modbus."""
    name: Name
    """The device's name."""
    host: str = Field(min_length=1)
    """Where it is."""
    tags: tuple[Tag, ...] = Field(min_length=1)
    """What is read."""

    def mistakes(self) -> Iterator[Mistake]:
        taken: dict[int, str] = {}
        for index, tag in enumerate(self.tags):
            registers = range(tag.address, tag.address + tag.words)
            other = next((taken[register] for register in registers if register in taken), None)
            if other:
                yield ("tags", index, "address"), f"overlaps {other}", None
            taken.update(dict.fromkeys(registers, tag.name))


class OpcUa(Settings):
    """A device that pushes."""

    driver: Literal["opcua"]
    """Always opcua."""
    name: Name
    """The device's name."""
    endpoint: str
    """Its address."""
    certificate: FilePath | None = None
    """Our certificate."""


class Rule(Settings):
    """Which tag ends a cycle."""

    device: Name
    """Its device."""
    tag: Name
    """Its name."""


class Store(Settings):
    """Where it is kept."""

    path: FilePath = Path("store.db")
    """The file."""


class Workshop(Settings):
    """A workshop's file."""

    workshop: Name
    """Its name."""
    outbox: FilePath = Path("run/outbox.db")
    """Where readings wait."""
    devices: tuple[Annotated[Modbus | OpcUa, Field(discriminator="driver")], ...]
    """What is read."""
    rules: dict[str, Rule] = Field(default_factory=dict)
    """Production rules by name."""
    limit: int | Literal["none"] = "none"
    """How many rows the outbox may hold."""
    store: Store = Store()
    """Where products are kept."""
    version: Literal[5, "3.1.1"] = 5
    """Which protocol."""
    live: bool = True
    """Whether anything is sent."""
    shift: Annotated[str, Field(pattern=r"^\d\d:\d\d$")] = "06:00"
    """When the day begins."""
    labels: tuple[str, ...] = ()
    """For people."""

    @field_validator("labels")
    @classmethod
    def _few(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if "secret" in labels:
            raise ValueError("'secret' is no label")
        return labels

    def mistakes(self) -> Iterator[Mistake]:
        tags = {device.name: [tag.name for tag in device.tags] for device in self.devices if isinstance(device, Modbus)}
        for key, rule in self.rules.items():
            if rule.device not in tags:
                yield ("rules", key, "device"), f"there is no device {rule.device}", None
            elif rule.tag not in tags[rule.device]:
                yield ("rules", key, "tag"), f"there is no tag {rule.tag}", "name one of its tags"


GOOD = """\
workshop: hall-1
devices:
  - driver: modbus
    name: press
    host: 127.0.0.1
    tags:
      - name: pulses
        address: 0
        words: 2
      - name: current
        address: 2
rules:
  stroke: {device: press, tag: pulses}
"""


def write(folder: Path, text: str | bytes) -> Path:
    """The text as a file."""
    path = folder / "workshop.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(folder: Path, text: str | bytes) -> list[Problem]:
    """What load() finds wrong with a text."""
    return problems_of(write(folder, text))


def problems_of(path: Path) -> list[Problem]:
    """What load() finds wrong with a file; nothing if it's good."""
    try:
        load(path, Workshop)
    except ConfigError as error:
        return error.problems
    return []


def said(found: list[Problem]) -> list[tuple[int, str, str]]:
    """(line, field, message) of each problem."""
    return [(problem.line, problem.field, problem.message) for problem in found]
