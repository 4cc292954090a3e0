"""What the control port of a plant offers: its state, its faults, a summary of its ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from config.problems import ConfigError
from config.settings import CrossChecked
from config.wording import message
from simulators.control import Refusal, Routes
from simulators.faults.opcua_script import AnyFault, AnyOpcuaFault, OpcuaFaultKind
from simulators.faults.script import AnyRequestFault, DeviceFault, FaultKind, StuckFault
from simulators.ledger import Ledger, open_read_only, read_faults
from simulators.settings import DEVICES

_T = TypeVar("_T")
_Fault = AnyRequestFault | DeviceFault | AnyOpcuaFault
_FAULT: TypeAdapter[_Fault] = TypeAdapter(AnyFault)
_KINDS: tuple[str, ...] = (*FaultKind, *OpcuaFaultKind)


def parse_fault(values: object) -> _Fault:
    """A fault as a plant's script has it (docs/simulators.md).

    Raises:
        ValueError: it isn't one; says which field is wrong and why.
    """
    if not isinstance(values, Mapping):
        raise ValueError("a fault is an object with device and kind")  # noqa: TRY004 its callers take one kind of error
    if values.get("kind") not in _KINDS:
        raise ValueError(f"kind: no {values.get('kind')!r}; there are {', '.join(_KINDS)}")
    try:
        fault = _FAULT.validate_python(values)
    except ValidationError as error:
        wrong = [(".".join(map(str, one["loc"][1:])), message(one, one["input"])) for one in error.errors()]
        raise ValueError("; ".join(f"{field}: {what}" for field, what in wrong)) from error
    if isinstance(fault, CrossChecked):
        for where, what, mend in fault.mistakes():
            raise ValueError(f"{'.'.join(map(str, where))}: {what}{f'; {mend}' if mend else ''}")
    known = DEVICES.get(fault.device)
    if isinstance(fault, StuckFault) and known is not None and not set(fault.tags) <= set(known):
        raise ValueError(f"tags: {fault.device} has {', '.join(known)}")
    return fault


class Spoilable(Protocol):
    """A device that can be spoiled as it runs."""

    @property
    def requests(self) -> int:
        """How many there have been."""

    def refuses(self, fault: Any) -> str | None:
        """Why a fault isn't one for this device; None where it is."""

    def inject(self, fault: Any) -> None:
        """One more fault, whose times count from now."""

    def withdraw(self) -> None:
        """Take away the injected faults of single answers."""


def plant_routes(endpoints: Mapping[str, str], devices: Mapping[str, Spoilable], ledger: Ledger) -> Routes:
    """Handlers of a running plant."""

    async def state(_: Any) -> object:
        return {"endpoints": dict(endpoints), "requests": {name: device.requests for name, device in devices.items()}}

    async def summary(_: Any) -> object:
        return await _read(summarise, ledger)

    async def faults(_: Any) -> object:
        return {"faults": await _read(_faults, ledger)}

    async def inject(values: Any) -> object:
        try:
            fault = parse_fault(values)
        except ValueError as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        if fault.device not in devices:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"device: no {fault.device}; there are {', '.join(devices)}")
        device = devices[fault.device]
        mistake = device.refuses(fault)
        if mistake is not None:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, mistake)
        device.inject(fault)
        return {"injected": fault.model_dump(mode="json")}

    async def withdraw(_: Any) -> object:
        for device in devices.values():
            device.withdraw()
        return {}

    return {
        "/state": {"GET": state},
        "/ledger": {"GET": summary},
        "/faults": {"GET": faults, "POST": inject, "DELETE": withdraw},
    }


async def _read(what: Callable[[Ledger], _T], ledger: Ledger) -> _T:
    """In a thread, since the file may be large."""
    try:
        return await asyncio.to_thread(what, ledger)
    except (ConfigError, sqlite3.Error) as error:
        raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error


def _faults(ledger: Ledger) -> list[dict[str, Any]]:
    ledger.sync()
    return [asdict(fault) for fault in read_faults(ledger.path)]


def summarise(ledger: Ledger) -> dict[str, object]:
    """Counts of a ledger that is being written, complete to this moment."""
    ledger.sync()
    counts = (
        "SELECT device, count(*), sum(acknowledged), sum(fate = 'hampered'), sum(fate = 'spoiled') FROM served GROUP BY device"
    )
    with closing(open_read_only(ledger.path)) as database:
        rows: list[tuple[Any, ...]] = database.execute(counts).fetchall()
        struck = _count(database, "SELECT count(*) FROM faults")
        parts = _count(database, "SELECT count(*) FROM parts")
    keys = ("served", "acknowledged", "hampered", "spoiled")
    return {"devices": {name: dict(zip(keys, found, strict=True)) for name, *found in rows}, "faults": struck, "parts": parts}


def _count(database: sqlite3.Connection, query: str) -> int:
    (count,) = database.execute(query).fetchone()
    return int(count)
