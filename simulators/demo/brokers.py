"""The MQTT broker of the demo: embedded by default, somebody's own on request."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iotcore import Broker

from simulators.demo.ports import free_port

_LISTENER = """
[v{version}.1]
name = "v{version}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 500
dynamic_filters = true
"""
_ROUTER = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
"""


DEMO_PORTS = (1883, 1884)
"""Where people look for a broker."""


@contextmanager
def embedded_broker(preferred: tuple[int, int] = (0, 0)) -> Iterator[str]:
    """Run iotcore's broker (rumqttd) on loopback in a child process; yields its mqtt:// address, where it speaks MQTT 5.

    rumqttd wants a port for each version: MQTT 3.1.1 is on another one, so that `mosquitto_sub` and the like can look on.

    Args:
        preferred: ports for MQTT 5 and 3.1.1, where they are free. 0, any free one: two runs at once that look for the same
            port could end up at one broker.
    """
    port = free_port(preferred[0])
    listeners = _LISTENER.format(version=5, port=port) + _LISTENER.format(version=4, port=free_port(preferred[1]))
    with tempfile.TemporaryDirectory(prefix="mumian-broker-") as folder:
        config = Path(folder) / "rumqttd.toml"
        config.write_text(_ROUTER + listeners, "utf-8")
        broker = Broker(config_path=str(config))
        # The child must outlive a Ctrl-C in the terminal: the outbox still drains into it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            broker.start()
        finally:
            signal.signal(signal.SIGINT, before)
        try:
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            broker.stop()
