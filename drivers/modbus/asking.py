"""One poll or write as a device sees it: requests beyond the plain ones, repeated where it is busy. And what an answer says."""

from __future__ import annotations

import asyncio

from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.modbus.broker import Lease
from drivers.modbus.exceptions import Remedy, meaning
from drivers.modbus.framing import Answer, ExceptionAnswer, Request
from drivers.modbus.search import Fault
from drivers.modbus.settings import ModbusSettings


class Poll:
    """One read or write: its requests beyond the plain ones, the faults it meets, and whether its unit is out of reach."""

    def __init__(self, lease: Lease, settings: ModbusSettings) -> None:
        self.lease = lease
        self.faults: list[Fault] = []
        self.out_of_reach: ExceptionAnswer | None = None
        """Once the device has said so, the rest isn't asked and takes the same exception."""
        self.repaired = 0
        """Requests that the device was too busy to answer until they were repeated."""
        self._pause_s = min(settings.busy_pause_ms, settings.timeout_ms) / 1000

    def note(self, answer: Answer) -> Answer:
        """Take notice of an answer."""
        if isinstance(answer, ExceptionAnswer) and meaning(answer.code).remedy is Remedy.UNIT:
            self.out_of_reach = answer
        return answer

    async def ask(self, request: Request) -> Answer:
        """One request, repeated once when the device is busy."""
        if self.out_of_reach is not None:
            return self.out_of_reach
        answer = self.note(await self.lease.submit(request))
        if isinstance(answer, ExceptionAnswer) and meaning(answer.code).remedy is Remedy.REPEAT:
            return await self.repeat(request)
        return answer

    async def repeat(self, request: Request) -> Answer:
        """The one repetition, after a pause."""
        await asyncio.sleep(self._pause_s)
        answer = self.note(await self.lease.submit(request))
        self.repaired += isinstance(answer, bytes)
        return answer


def data_of(answer: Answer, what: str) -> bytes:
    """The data of an answer.

    Raises:
        DeviceTimeout, DeviceUnreachable, DeviceRefused: it is an exception, by what can be done about it.
    """
    if isinstance(answer, bytes):
        return answer
    row = meaning(answer.code)
    text = f"{what}: exception {answer.code} ({row.name})"
    if row.remedy is Remedy.REPEAT:
        raise DeviceTimeout(text)
    if row.remedy is Remedy.UNIT:
        raise DeviceUnreachable(text)
    raise DeviceRefused(text)
