"""The Modbus driver: reads the blocks of a plan, turns exceptions into statuses, writes single tags."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from drivers.base import ReadPlan
from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable, DriverError
from drivers.modbus.asking import Poll, data_of
from drivers.modbus.broker import FIRST_SUSPENSION_S, LONGEST_SUSPENSION_S, Lease, Share, acquire, share_of
from drivers.modbus.codec import decode
from drivers.modbus.exceptions import Remedy, meaning
from drivers.modbus.framing import Answer, ExceptionAnswer, Request
from drivers.modbus.lessons import Lessons
from drivers.modbus.plan import Block, ModbusReadPlan
from drivers.modbus.reply import Reply
from drivers.modbus.search import ILLEGAL_ADDRESS, Fault, Part, Search, Split, forget_holes, limited, place_part
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.writing import write_of
from drivers.model import Frame

_ILLEGAL_VALUE = 3


class _Absence(NamedTuple):
    """A unit of which its gateway said that it can't be reached."""

    answer: ExceptionAnswer
    until_ns: int
    length_ns: int


class _Largest(NamedTuple):
    """The most that the device has answered at once after it refused more; bits and registers apart."""

    most: int
    until_ns: int


class ModbusDriver:
    """One Modbus unit, on a link of its own or on one that it shares (Driver, Writer)."""

    def __init__(
        self,
        settings: ModbusSettings,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings = settings
        self._clock_ns = clock_ns
        self._monotonic_ns = monotonic_ns
        self._lease: Lease | None = None
        self._share: Share | None = None
        self._absence: _Absence | None = None
        self._splits: dict[Block, Split] = {}
        self._largest: dict[bool, _Largest] = {}
        self._dropped = 0
        self._lessons = Lessons(settings, self._splits, monotonic_ns)

    @property
    def dropped_answers(self) -> int:
        """What answered no outstanding request, over all connections that it used: late, repeated, foreign or damaged."""
        return self._dropped + (self._lease.link.dropped if self._lease else 0)

    @property
    def learnt(self) -> dict[str, float]:
        """What stands in for settings that are left out or that the device didn't bear, by the settings' names (Learner)."""
        found = self._lessons.learnt()
        for is_bits, largest in self._largest.items():
            if self._monotonic_ns() < largest.until_ns:
                found["max_bits" if is_bits else "max_registers"] = largest.most
        return found

    async def connect(self) -> None:
        """See Driver.connect. DeviceRefused: certificates, or a shared link that its devices describe in different ways."""
        await self.close()
        forget_holes(self._splits)  # It may have been restarted with another program.
        self._share = share_of(self._settings, self._settings.name, self._share)
        self._lease = await acquire(self._share, self._settings.unit, self._clock_ns)
        self._lessons.connected(self._share.habits, self._lease.link)

    async def close(self) -> None:
        """See Driver.close."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._lessons.ended(self._monotonic_ns())
            self._dropped += lease.link.dropped
            await lease.release()

    async def read(self, plan: ReadPlan) -> list[Frame]:
        """See Driver.read; `acquired_ns` is when the last answer arrived."""
        if not isinstance(plan, ModbusReadPlan):
            raise TypeError("not a plan of this driver")
        lease, lessons, begun_ns = self._lease or self._open_lease(), self._lessons, self._monotonic_ns()
        link, asked = lease.link, plan
        if lessons.plans:
            plan = lessons.plans.get(asked, asked)
        try:
            if len(plan.blocks) > 1 or self._splits or self._largest or self._absence:
                return await self._read_with_care(lease, asked, plan, None)
            # Nearly every poll: one request, of which nothing bad is known. Each call from here on counts.
            answer = await link.submit(lease.unit, plan.blocks[0].request, aside=lease.is_probing)
            if not isinstance(answer, bytes):
                return await self._read_with_care(lease, asked, plan, answer)
        except DriverError as error:
            if isinstance(error, DeviceTimeout):
                lease.suspend()
            if remark := lessons.ended(self._monotonic_ns()):
                raise type(error)(f"{error}; {remark}") from error
            raise
        if lease.is_probing:
            lease.answered()
        if begun_ns >= lessons.due_ns or link.repeated != lessons.repeated:
            lessons.polled(asked, plan, 0, begun_ns, is_whole=True)
        return decode(plan.layout, answer, self._settings.name, link.received_ns or self._clock_ns())

    async def _read_with_care(
        self, lease: Lease, asked: ModbusReadPlan, plan: ModbusReadPlan, first: ExceptionAnswer | None
    ) -> list[Frame]:
        """Several blocks, or one with a past; `first` is what a plain request for the first of them was answered with."""
        poll, begun_ns = Poll(lease, self._settings), self._monotonic_ns()
        if first is not None:
            answers: Sequence[Answer | None] = [poll.note(first)]
        else:
            if self._absence is not None and self._monotonic_ns() < self._absence.until_ns:
                poll.out_of_reach = self._absence.answer
            answers = await self._ask_whole(poll, plan.blocks)
        pieces = await self._pieces_of(poll, plan.blocks, answers)
        lease.answered()
        if poll.out_of_reach is None:
            self._lessons.polled(asked, plan, poll.repaired, begun_ns, is_whole=not poll.faults)
        self._note_absence(poll.out_of_reach)
        image = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return decode(plan.layout, image, self._settings.name, lease.link.received_ns or self._clock_ns(), poll.faults)

    async def _pieces_of(self, poll: Poll, blocks: Sequence[Block], answers: Sequence[Answer | None]) -> list[bytes]:
        """The data of each block, with zeros where there are none."""
        pieces: list[bytes] = []
        for block, answer in zip(blocks, answers, strict=True):
            if isinstance(answer, bytes):
                if self._splits:
                    self._splits.pop(block, None)
                pieces.append(answer)
            else:
                pieces.append(await self._read_hard(poll, block, answer))
        return pieces

    def _note_absence(self, answer: ExceptionAnswer | None) -> None:
        """A unit behind a gateway that is out of reach is asked again at once, then after growing waits."""
        if answer is None:
            self._absence = None
        elif self._absence is None:
            self._absence = _Absence(answer, 0, 0)
        elif self._monotonic_ns() >= self._absence.until_ns:
            length_ns = min(2 * self._absence.length_ns or round(FIRST_SUSPENSION_S * 1e9), round(LONGEST_SUSPENSION_S * 1e9))
            self._absence = _Absence(answer, self._monotonic_ns() + length_ns, length_ns)

    async def write(self, tag: int, value: object) -> None:
        """See Writer.write. FC 5 or 6 for one coil or register, 16 for more, 22 for a part of a register.

        A device without 5 or 6 is asked with 15 or 16. A tag with `verify` is read back.
        """
        write, tag_settings = write_of(self._settings, tag, value), self._settings.tags[tag]
        poll = Poll(self._open_lease(), self._settings)
        requests = write.requests
        if not requests:
            read = data_of(await poll.ask(write.read_back), tag_settings.name)
            requests = (write.merged(tag_settings.address, read),)
        answer: Answer = b""
        for request in requests:
            answer = await poll.ask(request)
            if not (isinstance(answer, ExceptionAnswer) and answer.code == 1):
                break
        data_of(answer, tag_settings.name)
        if tag_settings.verify and not write.confirms(data_of(await poll.ask(write.read_back), tag_settings.name)):
            raise DeviceRefused(f"{tag_settings.name}: the device confirmed the write of {value!r} but holds another value")

    async def ask(self, request: Request) -> bytes:
        """One request beside the plans; the data of its answer (services.py gives them a meaning).

        Raises:
            DeviceRefused: an exception that a repetition wouldn't change.
            DeviceUnreachable, DeviceMisbehaved
        """
        return data_of(await Poll(self._open_lease(), self._settings).ask(request), f"function {request.function}")

    @property
    def settings(self) -> ModbusSettings:
        """What it was made from."""
        return self._settings

    def _open_lease(self) -> Lease:
        if self._lease is None:
            raise DeviceUnreachable("not connected")
        return self._lease

    async def _ask_whole(self, poll: Poll, blocks: Sequence[Block]) -> list[Answer | None]:
        """Ask for blocks, up to `pipeline` at once; None for those that must be read in parts or were not asked.

        A block of which the device gives nothing is asked all the same: it is the sign of life, and of a change.
        """
        answers: list[Answer | None] = [None] * len(blocks)
        waiting: deque[tuple[int, Reply]] = deque()
        link = poll.lease.link
        link.hold()
        for place, block in enumerate(blocks):
            split = self._split_of(block)
            if split is not None and split.parts:
                continue
            if len(waiting) >= self._lessons.habits.slots:
                link.release()
                first, future = waiting.popleft()
                answers[first] = poll.note(await future)
            if poll.out_of_reach is not None:
                break
            waiting.append((place, poll.lease.submit(block.request)))
        link.release()
        while waiting:  # The last first: when it is answered the others mostly are, and this task is stepped once for all.
            place, future = waiting.pop()
            answers[place] = poll.note(await future)
        return answers

    async def _read_hard(self, poll: Poll, block: Block, answer: Answer | None) -> bytes:
        """A block that was refused, not asked for, or is known to have holes: its data, with zeros where there are none."""
        split = self._split_of(block)
        if split is not None and split.parts:
            return await self._read_split(poll, block, split)
        if not isinstance(answer, ExceptionAnswer):
            answer = await poll.ask(block.request)
        elif meaning(answer.code).remedy is Remedy.REPEAT:
            answer = await poll.repeat(block.request)
        if isinstance(answer, bytes):
            return answer
        what = meaning(answer.code)
        if what.remedy is not Remedy.SEARCH:
            poll.faults.append((block.tags, what.status))
        elif split is None:
            return await self._search(poll, block, answer.code)
        else:
            poll.faults += split.holes
        return bytes(block.request.data_bytes)

    async def _read_split(self, poll: Poll, block: Block, split: Split) -> bytes:
        data = bytearray(block.request.data_bytes)
        faults = list(split.holes)
        read: dict[Request, Answer] = {}
        for part in split.parts:
            answer = read[part.request] = await poll.ask(part.request)
            if isinstance(answer, bytes):
                place_part(block, part, answer, data)
            elif meaning(answer.code).remedy is Remedy.SEARCH:
                # The device has changed since: forget what was known and find out anew, but ask nothing twice in one poll.
                del self._splits[block]
                return await self._search(poll, block, answer.code, read)
            else:
                faults.append((part.tags, meaning(answer.code).status))
        poll.faults += faults
        return bytes(data)

    async def _search(self, poll: Poll, block: Block, code: int, read: Mapping[Request, Answer] = MappingProxyType({})) -> bytes:
        """Find the refused tags of a block by halving it, keeping what the device gives on the way, and what it has given."""
        data = bytearray(block.request.data_bytes)
        search = Search(block, code, at_gaps=code == ILLEGAL_ADDRESS and self._lessons.refuses_gaps(block))
        other: list[Fault] = []
        part: Part | None
        while (part := search.next_part()) is not None:
            answer = read[part.request] if part.request in read else await poll.ask(part.request)
            if isinstance(answer, bytes):
                place_part(block, part, answer, data)
                search.accept()
            elif meaning(answer.code).remedy is Remedy.SEARCH:
                search.refuse(answer.code)
            else:
                other.append(search.give_up(meaning(answer.code).status))
        split = search.result(self._monotonic_ns())
        if search.refuses_gaps():
            self._lessons.gap_refused(block)
        if not other:
            self._splits[block] = split
            if code == _ILLEGAL_VALUE and not split.holes:
                self._largest[block.area.is_bits] = _Largest(max(part.count for part in split.parts), split.until_ns)
        poll.faults += [*split.holes, *other]
        return bytes(data)

    def _split_of(self, block: Block) -> Split | None:
        """What is known of the block's holes, unless it is time to try the whole again."""
        if not self._splits and not self._largest:
            return None
        split = self._splits.get(block)
        if split is not None and self._monotonic_ns() >= split.until_ns:
            del self._splits[block]
            return None
        largest = self._largest.get(block.area.is_bits)
        if split is None and largest is not None and block.count > largest.most and len(block.spans) > 1:
            if self._monotonic_ns() >= largest.until_ns:
                del self._largest[block.area.is_bits]
                return None
            split = self._splits[block] = limited(block, largest.most, largest.until_ns)
        return split
