"""An afternoon's work: pymodbus polls, paho publishes QoS 1; no disk, no status, no deadband. The reference of engine.py.

Run as `python -m benchmarks.bare_loop BROKER_PORT PERIOD_S REGISTERS PORT...`; runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import AsyncModbusTcpClient


async def _poll(index: int, port: int, period_s: float, registers: int, publisher: mqtt.Client) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    due = time.monotonic()
    seq = 0
    while True:
        answer = await client.read_holding_registers(0, count=registers, device_id=1)
        seq += 1
        body = {
            "gateway": "bare",
            "epoch": "0",
            "seq": seq,
            "device": f"d{index}",
            "t": time.time_ns() // 1_000_000,
            "values": {f"r{address}": value for address, value in enumerate(answer.registers)},
        }
        publisher.publish(f"mumian/bare/d{index}", json.dumps(body), qos=1)
        due += period_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _run(broker_port: int, period_s: float, registers: int, ports: list[int]) -> None:
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=mqtt.MQTTv5)
    publisher.max_inflight_messages_set(100)
    publisher.connect("127.0.0.1", broker_port)
    publisher.loop_start()
    await asyncio.gather(*(_poll(index, port, period_s, registers, publisher) for index, port in enumerate(ports)))


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
