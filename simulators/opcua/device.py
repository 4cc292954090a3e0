"""An OPC UA device of the plant: measures by the clock, serves, misbehaves by script, and tells the ledger."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from simulators.faults.opcua_script import (
    AnyNodeFault,
    AnyOpcuaFault,
    LostPublishFault,
    OpcuaDeviceFault,
    OpcuaFaultKind,
    SlowReadFault,
    StatusFault,
)
from simulators.faults.schedule import CHANNEL, Line, in_force
from simulators.faults.timeline import Timeline
from simulators.ledger import FaultRecord, Ledger
from simulators.listening import Clock, endpoint
from simulators.opcua.book import Book
from simulators.opcua.served import ServedDevice
from simulators.opcua.settings import OpcuaDevice
from simulators.opcua.variables import Variable
from simulators.settings import PlantSettings

_S = 1_000_000_000
_MS = 1_000_000


class OpcuaPlantDevice:
    """Construct, start(), run() until cancelled, stop()."""

    def __init__(self, settings: OpcuaDevice, script: Sequence[Any], seed: int, ledger: Ledger, clock: Clock) -> None:
        """The plant's time, by which the fault script goes, begins now.

        Args:
            script: the whole of it; a fault's place there is its channel of the seed.

        Raises:
            ConfigError: a file of users can't be used.
        """
        self.name = settings.name
        self._settings = settings
        self._seed = seed
        self._ledger = ledger
        self._clock = clock
        self._origin_ns = clock()
        own = [(place, fault) for place, fault in enumerate(script) if fault.device == settings.name]
        self._lines = [Line(fault, CHANNEL + place) for place, fault in own if isinstance(fault, LostPublishFault)]
        self._channels = itertools.count(CHANNEL + len(script))
        faults = [fault for _, fault in own if not isinstance(fault, LostPublishFault)]
        self._timeline: Timeline[Any] = Timeline(faults, self._begin, self._end)
        self._variables = {
            one.name: Variable(one, settings.name, seed, self._origin_ns // _MS * _MS) for one in settings.variables
        }
        book = Book(settings.name, ledger, clock, takes_samples=True, is_lost=self._is_lost)
        self._served = ServedDevice(settings, book)
        self._begun: asyncio.Queue[tuple[Any, bool]] = asyncio.Queue()
        """Faults of the device that begin (True) or end."""
        self._off = 0
        """How many faults have it off."""
        self._shut = 0
        """How many faults have it unreachable."""
        self.requests = 0
        """Publish responses so far."""

    async def start(self, host: str) -> int:
        """Listen; returns the port.

        Raises:
            CannotListen
            ConfigError: the certificate can't be written.
        """
        for variable in self._variables.values():
            if variable.settings.history:
                self._ledger.tell(self.name, self._clock(), "history", variable.name)
        port = await self._served.start(host, self._settings.port, self._variables.values())
        for variable in self._variables.values():
            await self._served.put(variable, variable.measure(0))
        self._timeline.start((self._clock() - self._origin_ns) / _S)
        return port

    async def run(self) -> None:
        """Measure, and let come what the script holds, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure())
            group.create_task(self._act())

    async def stop(self) -> None:
        """Close everything. Safe twice, and before start()."""
        self._timeline.stop()
        await self._served.stop()

    def refuses(self, fault: Any) -> str | None:
        """Why a fault isn't one for this device; None where it is."""
        if not isinstance(fault, AnyOpcuaFault):
            return f"kind: {fault.kind.value} is for Modbus devices, {self.name} speaks OPC UA"
        unknown = [tag for tag in getattr(fault, "tags", ()) if tag not in self._variables]
        return f"tags: {self.name} has {', '.join(self._variables)}" if unknown else None

    def inject(self, fault: AnyOpcuaFault) -> None:
        """One more fault, as if the script had it at its end; `at_s` counts from now."""
        if isinstance(fault, LostPublishFault):
            elapsed_s = (self._clock() - self._origin_ns) / _S
            later = fault.model_copy(update={"at_s": elapsed_s + fault.at_s})
            self._lines.append(Line(later, next(self._channels), is_added=True))
        else:
            self._timeline.add(fault)

    def withdraw(self) -> None:
        """Take away the injected faults of single answers. A fault of the device itself ends when its time is over."""
        self._lines = [line for line in self._lines if not line.is_added]

    async def _measure(self) -> None:
        due = [(variable.due_ns(1), place, 1, variable) for place, variable in enumerate(self._variables.values())]
        heapq.heapify(due)
        while True:
            due_ns, place, tick, variable = due[0]
            await asyncio.sleep(max(due_ns - self._clock(), 0) / _S)
            if not self._off and not variable.deleted:
                await self._served.put(variable, variable.measure(tick))
            heapq.heapreplace(due, (variable.due_ns(tick + 1), place, tick + 1, variable))

    def _is_lost(self, _result: Any) -> bool:
        """Whether the script keeps a Publish response in the device."""
        self.requests += 1
        now_ns = self._clock()
        for line in self._lines:
            fault: Any = line.fault
            if in_force(fault, now_ns - self._origin_ns) and line.take(self._seed) is not None:
                self._note(fault.kind, "", 0.0)
                return True
        return False

    def _note(self, kind: OpcuaFaultKind, detail: str, for_s: float) -> None:
        fault = FaultRecord(self._clock(), self.name, kind.value, detail, self.requests, round(for_s * _S))
        self._ledger.strike(fault)

    def _begin(self, _place: int, fault: OpcuaDeviceFault) -> None:
        for_s = getattr(fault, "for_s", 0.0)
        tags = " ".join(getattr(fault, "tags", ()))
        self._note(fault.kind, tags or (f"for {for_s:g} s" if for_s else ""), for_s)
        self._begun.put_nowait((fault, True))

    def _end(self, _place: int, fault: OpcuaDeviceFault) -> None:
        self._begun.put_nowait((fault, False))

    async def _act(self) -> None:
        while True:
            fault, begins = await self._begun.get()
            if isinstance(fault, AnyNodeFault):
                await self._spoil(fault, begins=begins)
            elif fault.kind is OpcuaFaultKind.CLOSED_SESSION:
                await self._served.core.forget_sessions()
                self._served.cut()
            elif fault.kind is OpcuaFaultKind.SWAPPED_CERTIFICATE:
                await self._served.swap_certificate()
                self._served.cut()
            elif begins:
                await self._go(fault.kind)
            else:
                await self._come_back(fault.kind)

    async def _go(self, kind: OpcuaFaultKind) -> None:
        self._shut += 1
        self._served.refuse()
        if kind is not OpcuaFaultKind.CUT_WIRE:
            self._off += 1
        if kind is OpcuaFaultKind.COLD_RESTART:
            await self._served.lose_everything()
        elif kind is OpcuaFaultKind.WARM_RESTART:
            await self._served.core.forget_sessions()
        self._served.cut()

    async def _come_back(self, kind: OpcuaFaultKind) -> None:
        self._shut -= 1
        if kind is not OpcuaFaultKind.CUT_WIRE:
            self._off -= 1
        if kind is OpcuaFaultKind.COLD_RESTART:
            await self._served.say_started()
        if not self._shut:
            self._served.admit()

    async def _spoil(self, fault: AnyNodeFault, *, begins: bool) -> None:
        step = 1 if begins else -1
        for name in fault.tags or tuple(self._variables):
            variable = self._variables[name]
            if isinstance(fault, SlowReadFault):
                delays = self._served.core.slow.setdefault(name, [])
                (delays.append if begins else delays.remove)(fault.delay_s)
            elif isinstance(fault, StatusFault):
                (variable.statuses.append if begins else variable.statuses.remove)(fault.status)
            elif fault.kind is OpcuaFaultKind.OTHER_TYPE:
                variable.odd += step
            elif fault.kind is OpcuaFaultKind.UNSET_CLOCK:
                variable.unset += step
            else:
                await self._delete(variable, step)

    async def _delete(self, variable: Variable, step: int) -> None:
        was, variable.deleted = variable.deleted, variable.deleted + step
        if not was:
            # A time that no measurement has.
            await self._served.delete(variable, self._clock() // _MS + 1)
        elif not variable.deleted:
            await self._served.add(variable)
            tick = max((self._clock() - variable.due_ns(0)) // (variable.due_ns(1) - variable.due_ns(0)), 0)
            await self._served.put(variable, variable.measure(tick))


def make_opcua_devices(settings: PlantSettings, ledger: Ledger, clock: Clock) -> dict[str, OpcuaPlantDevice]:
    """The plant's OPC UA devices by name; nothing listens yet.

    Raises:
        ConfigError: a file of users can't be used.
    """
    return {one.name: OpcuaPlantDevice(one, settings.faults, settings.seed, ledger, clock) for one in settings.opcua}


@asynccontextmanager
async def serving_opcua(
    devices: Mapping[str, OpcuaPlantDevice], host: str
) -> AsyncIterator[tuple[dict[str, str], list[asyncio.Task[None]]]]:
    """All devices, listening and measuring; gives their addresses by name, and the tasks that end only by a defect.

    Raises:
        CannotListen, ConfigError
    """
    addresses = {}
    tasks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        for name, device in devices.items():
            stack.push_async_callback(device.stop)
            addresses[name] = f"opc.tcp://{endpoint(host, await device.start(host))}"
        tasks += [asyncio.create_task(device.run()) for device in devices.values()]
        try:
            yield addresses, tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
