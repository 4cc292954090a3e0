"""An OPC UA server on asyncua for `benchmarks.opcua`: so many Doubles, each written once a second when it is asked to.

    python -m benchmarks.opcua_server ITEMS

It prints its port. Each line of its input is a number of seconds: so often it writes all items, once a second, and prints how
many values that was and how long it took. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

import uvloop
from asyncua import Server, ua

NAMESPACE = "urn:mumian:benchmark"
FOLDER = 100
"""Items in one: asyncua looks through all of a folder's whenever one is added, so that 5,000 in one took 25 s."""


def say(answer: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def start(items: int) -> tuple[Server, list[ua.NodeId]]:
    """A server of so many Doubles, whose port has been printed."""
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    nodes = [ua.NodeId(number + 1, index) for number in range(items)]
    for number, node in enumerate(nodes):
        if number % FOLDER == 0:
            folder = await server.nodes.objects.add_folder(ua.NodeId(f"f{number}", index), f"f{number}")
        await folder.add_variable(node, f"v{number}", 0.0, ua.VariantType.Double)
    await server.start()
    bound: Any = server.bserver
    say(bound.port)
    return server, nodes


async def _write(server: Server, nodes: list[ua.NodeId], value: float) -> None:
    now = datetime.now(UTC)
    for number, node in enumerate(nodes):
        stamped = ua.DataValue(ua.Variant(value + number, ua.VariantType.Double), SourceTimestamp=now)
        await server.iserver.write_attribute_value(node, stamped)
        if number % 200 == 199:
            await asyncio.sleep(0)


async def _serve(items: int) -> None:
    server, nodes = await start(items)
    loop = asyncio.get_running_loop()
    value = 0.0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        began_s = time.monotonic()
        for second in range(int(line)):
            await asyncio.sleep(max(0.0, began_s + second - time.monotonic()))
            value += 0.25
            await _write(server, nodes, value)
        say({"values": int(line) * items, "took_s": time.monotonic() - began_s})
    await server.stop()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(_serve(int(sys.argv[1])))
