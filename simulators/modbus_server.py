"""A Modbus device of the plant: whichever way a request comes, the plant answers, the script may spoil it, the ledger knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from simulators.faults.effects import Chunk, Exchange, Play, play, play_plain
from simulators.faults.fate import Fate
from simulators.faults.schedule import Lab, Schedule
from simulators.faults.script import AnyRequestFault, ClockStepFault, DeviceFault, FaultKind, StuckFault
from simulators.faults.timeline import Timeline
from simulators.ledger import FaultRecord, Ledger
from simulators.listening import CannotListen, Clock
from simulators.modbus.connection import Answer
from simulators.modbus.doors import Admission, Client, Doors
from simulators.modbus.framing import Framing, FramingKind, Request
from simulators.modbus.gauge import Gauge, Sample
from simulators.modbus.pdu import ExceptionCode, decode_read, encode_data, encode_exception
from simulators.modbus.transports import Listener, TcpListener
from simulators.registers import UNIT, AddressMap, Block

_S = 1_000_000_000
_DIAGNOSTICS = 8
"""A function with which a client looks after its line; no part of a poll."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a device answers a request without any fault: what a recording of a real one says."""

    delay_ns: int = 0
    exception: int | None = None


_PROMPT = Habit()


class ModbusDevice:
    """A served device. Construct, start() or listen(), later stop()."""

    def __init__(
        self,
        name: str,
        points: AddressMap,
        sample: Sample,
        ledger: Ledger,
        clock: Clock,
        *,
        lab: Lab | None = None,
        habit: Callable[[Block, int], Habit] | None = None,
        unit: int = UNIT,
        failed: Callable[[CannotListen], None] | None = None,
    ) -> None:
        """Prepare, without I/O. The plant's time, by which the fault script goes, begins now.

        Args:
            lab: the faults of this device.
            habit: by block and the device's own time; None: answers at once, and has every address of its map.
            unit: its unit identifier.
            failed: called when the device can't listen again after an outage.
        """
        self.name = name
        self._points = points
        self._ledger = ledger
        self._clock = clock
        self._lab = lab or Lab(Schedule((), name, 0))
        self._habit = habit
        self._unit = unit
        self._origin_ns = clock()
        self._gauge = Gauge(points, sample, self._origin_ns)
        self._doors = Doors(self, failed)
        self._timeline = Timeline(self._lab.device_faults, self._begin, self._end)
        self._requests = 0

    async def start(self, host: str, port: int) -> int:
        """Listen with Modbus TCP; returns the port, which differs from `port` when that is 0.

        Raises:
            CannotListen
        """
        listener = TcpListener(host, port)
        await self.listen(listener, FramingKind.MBAP)
        return listener.port

    async def listen(self, listener: Listener, framing: FramingKind, admission: Admission | None = None) -> None:
        """One more way in.

        Raises:
            CannotListen
        """
        is_first = not self._doors.is_open
        await self._doors.add(listener, framing, admission)
        if is_first and self._lab.device_faults:
            self._timeline.start((self._clock() - self._origin_ns) / _S)

    async def stop(self) -> None:
        """Close the listeners and every connection. Safe twice, and before start()."""
        self._timeline.stop()
        await self._doors.close()

    @property
    def requests(self) -> int:
        """How many there have been for its unit."""
        return self._requests

    def refuses(self, fault: Any) -> str | None:
        """Why a fault isn't one for this device; None where it is."""
        if isinstance(fault, AnyRequestFault | DeviceFault):
            return None
        return f"kind: {fault.kind.value} is for OPC UA devices, {self.name} speaks Modbus"

    def inject(self, fault: AnyRequestFault | DeviceFault) -> None:
        """One more fault, as if the script had it at its end; `at_s` counts from now."""
        if isinstance(fault, AnyRequestFault):
            elapsed_s = (self._clock() - self._origin_ns) / _S
            self._lab.schedule.add(fault.model_copy(update={"at_s": elapsed_s + fault.at_s}))
        else:
            self._timeline.add(fault)

    def withdraw(self) -> None:
        """Take away the injected faults of single answers. A fault of the device itself ends when its time is over."""
        self._lab.schedule.withdraw()

    def welcome(self, framing: Framing, *, is_admitted: bool) -> Answer:
        """See Host."""
        return partial(self._answer, Client(self._ledger.new_connection(), framing, is_admitted))

    def _answer(self, client: Client, request: Request, waited_ns: int) -> Play | None:
        """What goes out for a request; it is in the ledger then."""
        if request.unit != self._unit and not client.framing.answers_for_others:
            return None
        self._requests += 1
        now_ns = self._clock()
        block = self._asked(client, request)
        proved = client.proof.ask(request.pdu) if request.unit == self._unit else None
        if proved is not None:
            self._ledger.acknowledge(proved)
        if isinstance(block, ExceptionCode):
            return self._refuse(client, request, block, now_ns, waited_ns)
        habit = _PROMPT if self._habit is None else self._habit(block, self._gauge.own_ns(now_ns))
        if habit.exception is not None:
            return self._refuse(client, request, habit.exception, now_ns, waited_ns, habit.delay_ns)
        raw = self._gauge.raw(now_ns)
        exchange = Exchange(client.framing, request, encode_data(block, self._points.values(block, raw)))
        played = self._play(exchange, now_ns, habit.delay_ns, has_data=True)
        readings = [(tag, value, None) for tag, value in self._points.readings(block, raw)]
        fate = self._fate(played, waited_ns - habit.delay_ns)
        row = self._ledger.serve(self.name, client.number, str(block), now_ns, readings, fate)
        if fate is Fate.WHOLE:
            client.proof.answer(request.pdu, row)
        elif not played.refuses or self._is_late(played, waited_ns - habit.delay_ns):
            client.proof.fall_silent(request.pdu)
        return played

    def _refuse(self, client: Client, request: Request, code: int, now_ns: int, waited_ns: int, delay_ns: int = 0) -> Play:
        """Answer with an exception of the device's own."""
        exchange = Exchange(client.framing, request, encode_exception(request.pdu[0], code))
        played = self._play(exchange, now_ns, delay_ns)
        is_heard = (played.refuses or played.fate is Fate.WHOLE) and not self._is_late(played, waited_ns - delay_ns)
        if not is_heard and request.unit == self._unit and request.pdu[0] != _DIAGNOSTICS:
            client.proof.fall_silent(request.pdu)
        return played

    def _asked(self, client: Client, request: Request) -> Block | ExceptionCode:
        """Source: MODBUS Messaging on TCP/IP V1.0b, 4.4.3 (unit); MODBUS/TCP Security V2.1, 8 (role)."""
        if not client.is_admitted:
            return ExceptionCode.ILLEGAL_FUNCTION
        if request.unit != self._unit:
            return ExceptionCode.UNIT_OUT_OF_REACH
        block = decode_read(request.pdu)
        if isinstance(block, Block) and not self._points.holds(block):
            return ExceptionCode.ILLEGAL_ADDRESS
        return block

    def _play(self, exchange: Exchange, now_ns: int, delay_ns: int = 0, *, has_data: bool = False) -> Play:
        strike = self._lab.schedule.choose(now_ns - self._origin_ns, exchange.framing.kind, has_data=has_data)
        if strike is not None:
            played = play(strike, exchange)
            self._note(strike.fault.kind, played.detail, now_ns)
            return played
        if delay_ns:
            return Play((Chunk(delay_ns, exchange.frame()),), Fate.WHOLE)
        return play_plain(exchange)

    def _fate(self, played: Play, waited_ns: int) -> Fate:
        is_hampered = played.fate is Fate.WHOLE and self._is_late(played, waited_ns)
        return Fate.HAMPERED if is_hampered else played.fate

    def _is_late(self, played: Play, waited_ns: int) -> bool:
        """Whether a client may have given up waiting."""
        return played.slowed_ns + waited_ns > self._lab.patience_ns

    def _note(self, kind: FaultKind, detail: str, now_ns: int, for_s: float = 0.0) -> None:
        self._ledger.strike(FaultRecord(now_ns, self.name, kind.value, detail, self._requests, round(for_s * _S)))

    def _begin(self, place: int, fault: DeviceFault) -> None:
        now_ns = self._clock()
        if isinstance(fault, ClockStepFault):
            self._note(fault.kind, f"by {fault.step_s:g} s", now_ns)
            self._gauge.step(round(fault.step_s * _S))
            return
        self._note(fault.kind, f"for {fault.for_s:g} s", now_ns, fault.for_s)
        if isinstance(fault, StuckFault):
            self._gauge.stick(place, now_ns, frozenset(fault.tags))
        elif fault.kind is FaultKind.HALF_OPEN:
            self._doors.mute()
        else:
            self._doors.shut()
            if fault.kind is FaultKind.RESTART:
                self._doors.end_connections()

    def _end(self, place: int, fault: DeviceFault) -> None:
        if isinstance(fault, StuckFault):
            self._gauge.free(place)
        elif fault.kind is FaultKind.HALF_OPEN:
            self._doors.unmute()
        else:
            if fault.kind is FaultKind.RESTART:
                self._gauge.power_up(self._clock())
            self._doors.reopen()
