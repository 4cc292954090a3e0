"""The supervisor: owns the store's writer and the listening sockets, and keeps one worker running on each socket.

A worker that ends is started again on its socket, in whose queue connections wait meanwhile. On SIGHUP each is replaced: the new
one takes connections before the old one stops to, so that none is refused. On SIGTERM all stop, then the store is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import msgspec

from idnode.operations.books import Books
from idnode.operations.report import Report, Upward, commits_of, report
from idnode.operations.statistics import Count
from idnode.store.base import Store, StoreFailed
from idnode.store.calls import CALLS
from idnode.store.remote import answer_call
from idnode.web.serving import GRACE_S
from idnode.workers.channel import Channel, ChannelLost
from idnode.workers.start import Start, send_start
from idnode.workers.worker import COUNT, COUNTS, NOTHING, READY, REPORT, REPORTS, WIRE

_READY_S = 60.0
_REPORT_S = 2.0
_SOON_S = 2.0
"""A worker that ended earlier than this after its start is started again only after a pause."""
_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0)


Sockets = tuple[socket.socket, ...]
"""One that listens for HTTP; behind it those of the Handle wire protocol, where it is spoken: TCP, UDP."""


class WorkerFailed(Exception):
    """A worker ended before it was ready."""


class Worker:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, ready: asyncio.Event) -> None:
        self.process = process
        self._channel = channel
        self._ready = ready

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    async def wait_ready(self) -> None:
        """Wait until it takes connections.

        Raises:
            WorkerFailed
        """
        ended = asyncio.create_task(self.process.wait())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((ended, ready), timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        ready.cancel()
        if not self._ready.is_set():
            await self.end()
            raise WorkerFailed(f"worker {self.pid} ended with {self.process.returncode} before it was ready")

    async def report(self) -> Report | None:
        """What it has done; None where it is just ending."""
        try:
            answer = await asyncio.wait_for(self._channel.call(REPORT, NOTHING), _REPORT_S)
        except (ChannelLost, TimeoutError):
            return None
        return msgspec.msgpack.decode(answer, type=Report | None)

    async def ask(self, asked: bytes) -> msgspec.Raw:
        """What it answers another worker; nothing where it is just ending."""
        try:
            return await asyncio.wait_for(self._channel.call(WIRE, msgspec.Raw(msgspec.msgpack.encode(asked))), _REPORT_S)
        except (ChannelLost, TimeoutError):
            return NOTHING

    async def end(self) -> None:
        """Have it finish what it is at, and end; by force when it doesn't. Safe when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), GRACE_S + 0.8)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self._channel.close()


class Slot:
    """Sockets, and whoever takes what comes on them."""

    def __init__(self, number: int, sockets: Sockets, launch: Callable[[int, Sockets], Awaitable[Worker]]) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.restarts = 0
        self._sockets = sockets
        self._launch = launch
        self._change = asyncio.Lock()

    async def start(self) -> None:
        """Start its first worker.

        Raises:
            WorkerFailed
        """
        self.worker = await self._launched()

    async def replace(self) -> None:
        """Put a new worker beside the one that is there, then end that one. If the new one doesn't get ready, all stays as it is.

        Raises:
            WorkerFailed
        """
        async with self._change:
            old, self.worker = self.worker, await self._launched()
        if old is not None:
            await old.end()

    async def watch(self) -> None:
        """Start a worker again whenever it ends by itself; for ever."""
        loop = asyncio.get_running_loop()
        quick = 0
        while True:
            worker, began = self.worker, loop.time()
            assert worker is not None
            await worker.process.wait()
            async with self._change:
                if self.worker is not worker:
                    quick = 0
                    continue
                quick = quick + 1 if loop.time() - began < _SOON_S else 0
                say(f"worker {worker.pid} ended with {worker.process.returncode}; it is started again")
                await worker.end()
                self.restarts += 1
                while True:
                    await asyncio.sleep(_PAUSES_S[min(quick, len(_PAUSES_S) - 1)])
                    try:
                        self.worker = await self._launched()
                        break
                    except (WorkerFailed, OSError) as error:
                        say(str(error))
                        quick += 1

    async def _launched(self) -> Worker:
        worker = await self._launch(self.number, self._sockets)
        try:
            await worker.wait_ready()
        except asyncio.CancelledError:
            await worker.end()
            raise
        return worker

    async def end(self) -> None:
        """Take no more connections and end its worker."""
        for each in self._sockets:
            each.close()
        if self.worker is not None:
            await self.worker.end()


class Supervisor:
    """All slots."""

    def __init__(
        self,
        store: Store,
        books: Books,
        sockets: list[Sockets],
        start: Callable[[int], Start],
        upward: Callable[[], Upward | None],
    ) -> None:
        """
        Args:
            sockets: those of each worker.
            start: what the worker of a slot is told.
            upward: how reports to the top-level node go.
        """
        self._store = store
        self._books = books
        self._start = start
        self._upward = upward
        self.slots = [Slot(number, each, self._launch) for number, each in enumerate(sockets)]
        self._replacing: asyncio.Task[None] | None = None

    async def run(self, ready: Callable[[], None]) -> StoreFailed | None:
        """Run until SIGTERM or SIGINT (None), or until the store has failed.

        Raises:
            WorkerFailed: at the start.
        """
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # nothing to replace yet
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(told.wait()), asyncio.create_task(self._store.wait_failure())]
        stop, failure = tasks
        try:
            starting = asyncio.gather(*(slot.start() for slot in self.slots))
            await asyncio.wait((asyncio.ensure_future(starting), stop), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                ready()
                loop.add_signal_handler(signal.SIGHUP, self._replace)
                tasks += [asyncio.create_task(slot.watch()) for slot in self.slots]
                await asyncio.wait((stop, failure, *tasks[2:]), return_when=asyncio.FIRST_COMPLETED)
            else:
                starting.cancel()
            failed = failure.done()
        finally:
            if self._replacing is not None:
                tasks.append(self._replacing)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(slot.end() for slot in self.slots))
        result = failure.result() if failed else None
        assert result is None or isinstance(result, StoreFailed)
        return result

    def _replace(self) -> None:
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        for slot in self.slots:
            try:
                await slot.replace()
            except (WorkerFailed, OSError) as error:
                say(f"{error}; the old one stays")

    async def _reports(self) -> list[Report]:
        workers = [slot.worker for slot in self.slots if slot.worker is not None]
        told = await asyncio.gather(*(worker.report() for worker in workers))
        own = report("supervisor")
        own.restarts = sum(slot.restarts for slot in self.slots)
        own.commits, own.upward = commits_of(self._store), self._upward()
        return [own, *(each for each in told if each is not None)]

    async def _launch(self, number: int, sockets: Sockets) -> Worker:
        start = self._start(number)
        mine, its = socket.socketpair()
        with its:
            descriptors = (its.fileno(), *(each.fileno() for each in sockets))
            command = (sys.executable, "-m", "idnode.workers.worker", *map(str, descriptors))
            inherited = descriptors if start.count is None else (*descriptors, start.count)
            process = await asyncio.create_subprocess_exec(*command, pass_fds=inherited, stdin=asyncio.subprocess.DEVNULL)
        ready = asyncio.Event()

        async def answer(name: str, content: msgspec.Raw) -> msgspec.Raw:
            if name in CALLS:
                return await answer_call(self._store, name, content)
            if name == READY:
                ready.set()
            elif name == REPORTS:
                return msgspec.Raw(msgspec.msgpack.encode(await self._reports()))
            elif name == COUNT:
                await self._books.add(msgspec.msgpack.decode(content, type=list[Count]))
            elif name == WIRE:
                slot, asked = msgspec.msgpack.decode(content, type=tuple[int, bytes])
                worker = self.slots[slot].worker if slot < len(self.slots) else None
                return NOTHING if worker is None else await worker.ask(asked)
            elif name == COUNTS:
                days = msgspec.msgpack.decode(content, type=tuple[int, int, str | None])
                return msgspec.Raw(msgspec.msgpack.encode(await self._books.counts(*days)))
            return NOTHING

        channel = Channel(answer)
        with contextlib.suppress(BrokenPipeError):  # it has ended already, which is noticed by whoever waits for it
            send_start(mine, start)
        await channel.open(mine)
        return Worker(process, channel, ready)


def say(text: str) -> None:
    """Tell whoever runs the node, on stderr."""
    print(f"mumian idnode: {text}", file=sys.stderr, flush=True)
