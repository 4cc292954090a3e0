"""A program that a benchmark asks line by line: each question has its time, and an answer that is one line of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

_LONGEST_LINE = 1 << 26
_ENDING_S = 10.0


class Overdue(Exception):
    """No answer came in time, or none at all; the text says which program it was and what it was asked."""


class Program:
    """One that runs. It ends when its input does."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    async def ask(self, line: str, within_s: float) -> Any:
        """What it answers.

        Raises:
            Overdue
        """
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        return await self.answer(line, within_s)

    async def answer(self, asked: str, within_s: float) -> Any:
        """The next line that it prints; `asked`: for the error.

        Raises:
            Overdue
        """
        assert self._process.stdout is not None
        try:
            raw = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        except TimeoutError:
            raise Overdue(f"{self._name}: {asked}: no answer within {within_s:g} s") from None
        if not raw:
            raise Overdue(f"{self._name}: {asked}: it ended, with code {await self._process.wait()}; what it said stands above")
        try:
            return json.loads(raw)
        except ValueError:
            raise Overdue(f"{self._name}: {asked}: it said {raw[:200]!r}, which is no answer") from None

    async def end(self) -> None:
        """Wait for it; kill it if need be."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _ENDING_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """It, until the block ends. What it writes to its standard error goes to ours."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environment, limit=_LONGEST_LINE)
    program = Program(name, process)
    try:
        yield program
    finally:
        await program.end()


class Progress:
    """What is going on, with the seconds that have passed, on standard error."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began_s = time.monotonic()

    def say(self, what: str) -> None:
        """One line."""
        sys.stderr.write(f"{self._name}: {time.monotonic() - self._began_s:5.1f} s: {what}\n")
        sys.stderr.flush()
