"""`mumian record`: a Modbus TCP device written down, for the plant to serve again.

Asks for the given blocks once a period, one after the other, and writes each answer with when it came and how long it took. It
only reads. What it writes, the plant replays (settings: `recordings`).
"""

from __future__ import annotations

import asyncio
import math
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from simulators.listening import endpoint, parse_endpoint, reason_of
from simulators.registers import Block
from simulators.replaying import VERSION, Head, Line, parse_block

_HEADER = struct.Struct(">HHHB")
_EXCEPTION_FLAG = 0x80
EXIT_OK = 0
EXIT_USAGE = 2
EXIT_DISK = 4
EXIT_UNREACHABLE = 5


class RecordingFailed(Exception):
    """The device can't be recorded. Says why."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to record."""

    host: str
    port: int
    unit: int
    blocks: tuple[Block, ...]
    period_s: float
    seconds: float
    timeout_s: float = 3.0


async def record(
    task: Task,
    open_file: Callable[[], TextIO],
    stop: asyncio.Event | None = None,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
) -> int:
    """Record until the end of the task, or until `stop` is set; returns how many answers there were.

    Args:
        open_file: called once the device has been reached; closed at the end. Whole polls are written to it.

    Raises:
        RecordingFailed: the device can't be reached, was silent for `timeout_s`, or answered something else. What came before
            is in the file.
        OSError: the file can't be written.
    """
    try:
        async with asyncio.timeout(task.timeout_s):
            reader, writer = await asyncio.open_connection(task.host, task.port)
    except (OSError, TimeoutError) as error:
        raise RecordingFailed(f"{endpoint(task.host, task.port)} can't be reached: {_reason(error)}") from error
    try:
        with open_file() as file:
            _write(file, Head(VERSION, task.unit, task.period_s * 1000))
            return await _poll(task, reader, writer, file, stop or asyncio.Event(), monotonic_ns)
    finally:
        writer.close()
        with suppress(OSError):  # That it was lost has been said.
            await writer.wait_closed()


async def _poll(
    task: Task,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    file: TextIO,
    stop: asyncio.Event,
    monotonic_ns: Callable[[], int],
) -> int:
    loop = asyncio.get_running_loop()
    start_ns, start_s, polls, answers = monotonic_ns(), loop.time(), 0, 0
    while polls * task.period_s < task.seconds and not stop.is_set():
        for block in task.blocks:
            answers += 1
            asked_ns = monotonic_ns()
            answer = await _ask(task, reader, writer, answers & 0xFFFF, block)
            took_ns = monotonic_ns() - asked_ns
            data, exception = (answer.hex(), None) if isinstance(answer, bytes) else (None, answer)
            _write(file, Line(_ms(asked_ns - start_ns), str(block), _ms(took_ns), data, exception))
        file.flush()
        # A device that is slower than the period is asked less often, never in a burst to catch up.
        polls = max(polls + 1, math.ceil((loop.time() - start_s) / task.period_s))
        with suppress(TimeoutError):
            async with asyncio.timeout_at(start_s + polls * task.period_s):
                await stop.wait()
    return answers


async def _ask(
    task: Task, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, transaction: int, block: Block
) -> bytes | int:
    """The data of a block, or the code of an exception."""
    function = block.table.function_code
    pdu = struct.pack(">BHH", function, block.address, block.count)
    try:
        async with asyncio.timeout(task.timeout_s):
            writer.write(_HEADER.pack(transaction, 0, len(pdu) + 1, task.unit) + pdu)
            header = _HEADER.unpack(await reader.readexactly(_HEADER.size))
            answer = await reader.readexactly(max(header[2] - 1, 0))
    except TimeoutError as error:
        raise RecordingFailed(f"no answer for {block} within {task.timeout_s:g} s") from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise RecordingFailed(f"the connection was lost at {block}") from error
    if header[:2] == (transaction, 0) and header[3] == task.unit and len(answer) >= 2:
        if answer[0] == function | _EXCEPTION_FLAG:
            return answer[1]
        if answer[0] == function and answer[1] == len(answer) - 2:
            return answer[2:]
    raise RecordingFailed(f"no answer to the request for {block}: {(header, answer.hex())}")


def _ms(ns: int) -> float:
    return round(ns / 1_000_000, 3)


def _reason(error: OSError) -> str:
    return "no answer" if isinstance(error, TimeoutError) else reason_of(error)


def _write(file: TextIO, line: Head | Line) -> None:
    file.write(msgspec.json.encode(line).decode() + "\n")


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """One run of the command."""

    address: str
    """host:port of the device."""
    file: Path
    blocks: Sequence[str]
    """Such as hr:0+20."""
    unit: int = 1
    """0 to 255."""
    period_s: float = 1.0
    """Above 0."""
    seconds: float = 60.0
    """How long."""


def run_record(options: RecordOptions) -> int:
    """Record until the time is over, or SIGTERM or Ctrl-C. The file is written anew once the device has been reached.

    Returns:
        0 recorded, 2 the address or a block can't be one, 4 the file can't be written, 5 the device can't be reached
        or failed (what came before is in the file).
    """
    try:
        host, port = parse_endpoint(options.address)
        blocks = tuple(parse_block(text) for text in options.blocks)
    except ValueError as error:
        return _fail(str(error), EXIT_USAGE)
    task = Task(host, port, options.unit, blocks, options.period_s, options.seconds)
    try:
        answers = asyncio.run(_until_signalled(task, options.file))
    except RecordingFailed as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except OSError as error:
        return _fail(f"{options.file}: {error.strerror or error}", EXIT_DISK)
    sys.stdout.write(f"{answers} answers in {options.file}\n")
    return EXIT_OK


async def _until_signalled(task: Task, path: Path) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await record(task, lambda: path.open("w", encoding="utf-8"), stop)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
