"""An OPC UA server on asyncua for `benchmarks.opcua`: so many Doubles, each written once a second.

    python -m benchmarks.opcua_server ITEMS

It prints its port, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

import uvloop
from asyncua import Server, ua

NAMESPACE = "urn:mumian:benchmark"


async def _serve(items: int) -> None:
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    nodes = [ua.NodeId(number + 1, index) for number in range(items)]
    for number, node in enumerate(nodes):
        await server.nodes.objects.add_variable(node, f"v{number}", 0.0, ua.VariantType.Double)
    await server.start()
    bound: Any = server.bserver
    sys.stdout.write(f"{bound.port}\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    value, due_s = 0.0, time.monotonic()
    while not ended.done():
        value += 0.25
        now = datetime.now(UTC)
        for number, node in enumerate(nodes):
            stamped = ua.DataValue(ua.Variant(value + number, ua.VariantType.Double), SourceTimestamp=now)
            await server.iserver.write_attribute_value(node, stamped)
            if number % 200 == 199:
                await asyncio.sleep(0)
        due_s += 1.0
        await asyncio.wait({ended}, timeout=max(0.0, due_s - time.monotonic()))
    await server.stop()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(_serve(int(sys.argv[1])))
