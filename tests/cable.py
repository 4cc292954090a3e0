"""A serial port for tests: a pseudo-terminal that socat joins to something else."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

from tests.services import require_service


@contextlib.asynccontextmanager
async def cable(near: Path, far: str) -> AsyncIterator[Process]:
    """Join a port at `near` to socat's address `far`; gives socat, which ends by itself when the port has been closed.

    It is there until the end and not beyond, whatever happens meanwhile: uvloop doesn't close while a child lives.
    """
    ends = (f"PTY,link={near},raw,echo=0,wait-slave", far)
    socat = await asyncio.create_subprocess_exec(require_service("socat"), "-dd", *ends, stderr=PIPE)
    assert socat.stderr is not None
    try:
        async for said in socat.stderr:
            if b"PTY is" in said:
                break
        while not near.exists():  # the link is made after it has been told of
            assert socat.returncode is None
            await asyncio.sleep(0)
        yield socat
    finally:
        with contextlib.suppress(ProcessLookupError):
            socat.kill()  # a SIGTERM may be lost just before it waits
        await socat.communicate()
