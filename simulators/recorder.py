"""Records a Modbus TCP device: `python -m simulators.recorder 192.168.10.21:502 pump.jsonl hr:0+20 di:0+4 --seconds 600`.

Asks for the given blocks once a period, one after the other, and writes each answer with when it came and how long it took. It
only reads. What it writes, the plant replays (settings: `recordings`).
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from simulators.registers import Block
from simulators.replaying import VERSION, Head, Line, parse_block

_HEADER = struct.Struct(">HHHB")
_EXCEPTION_FLAG = 0x80
EXIT_OK = 0
EXIT_COMMAND = 2
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


async def record(task: Task, file: TextIO, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> int:
    """Record to its end; returns how many answers there were.

    Raises:
        RecordingFailed: the device can't be reached, was silent for `timeout_s`, or answered something else.
    """
    try:
        async with asyncio.timeout(task.timeout_s):
            reader, writer = await asyncio.open_connection(task.host, task.port)
    except (OSError, TimeoutError) as error:
        raise RecordingFailed(f"{task.host}:{task.port} can't be reached: {error or 'no answer'}") from error
    _write(file, Head(VERSION, task.unit, task.period_s * 1000))
    loop = asyncio.get_running_loop()
    start_ns, due_s, answers = monotonic_ns(), loop.time(), 0
    end_s = due_s + task.seconds
    try:
        while due_s < end_s:
            for block in task.blocks:
                answers += 1
                asked_ns = monotonic_ns()
                answer = await _ask(task, reader, writer, answers & 0xFFFF, block)
                took_ns = monotonic_ns() - asked_ns
                data, exception = (answer.hex(), None) if isinstance(answer, bytes) else (None, answer)
                _write(file, Line(_ms(asked_ns - start_ns), str(block), _ms(took_ns), data, exception))
            due_s += task.period_s
            await asyncio.sleep(max(due_s - loop.time(), 0))
    finally:
        writer.close()
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


def _write(file: TextIO, line: Head | Line) -> None:
    file.write(msgspec.json.encode(line).decode() + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0 recorded, 2 a wrong command line, 5 the device failed (what came before is kept)."""
    parser = argparse.ArgumentParser(prog="python -m simulators.recorder", description="Record a Modbus TCP device.")
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("file", type=Path, help="written anew, JSON Lines")
    parser.add_argument("blocks", nargs="+", metavar="BLOCK", help="such as hr:0+20: di, hr or ir; first address; how many")
    parser.add_argument("--unit", type=int, default=1)
    parser.add_argument("--period", type=float, default=1.0, help="seconds from poll to poll")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    arguments = parser.parse_args(argv)
    host, _, port = arguments.address.rpartition(":")
    if not host or not port.isdecimal() or arguments.period <= 0 or arguments.seconds <= 0 or not 0 <= arguments.unit <= 255:
        parser.error("needs HOST:PORT, a unit from 0 to 255, and a period and a length above 0")
    try:
        blocks = tuple(parse_block(text) for text in arguments.blocks)
    except ValueError as error:
        parser.error(str(error))
    task = Task(host, int(port), arguments.unit, blocks, arguments.period, arguments.seconds)
    try:
        with arguments.file.open("w", encoding="utf-8") as file:
            answers = asyncio.run(record(task, file))
    except (OSError, RecordingFailed) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_UNREACHABLE if isinstance(error, RecordingFailed) else EXIT_COMMAND
    sys.stdout.write(f"{answers} answers in {arguments.file}\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
