"""The wire to a simulated device as a test handles it: what can go wrong between a client and a device that works."""

from __future__ import annotations

from simulators.listening import endpoint
from simulators.plugin_loop import LoopThread
from simulators.proxy import ChaosProxy
from simulators.toxics import Direction, Toxics


class Wire:
    """The way to one device, through a TCP proxy. Every fault lasts until restore(), except cut() and reset()."""

    def __init__(self, loop: LoopThread, proxy: ChaosProxy) -> None:
        self._loop = loop
        self._proxy = proxy

    @property
    def host(self) -> str:
        """Where clients connect."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """Where clients connect; it stays the same."""
        return self._proxy.port

    @property
    def address(self) -> str:
        """host:port"""
        return endpoint(self.host, self.port)

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._proxy.connections

    def delay(self, seconds: float, jitter_s: float = 0.0) -> None:
        """Answers arrive so much later."""
        self.spoil(Direction.DOWN, Toxics(latency_s=seconds, jitter_s=jitter_s))

    def trickle(self, pause_s: float = 0.001) -> None:
        """Answers arrive byte by byte."""
        self.spoil(Direction.DOWN, Toxics(slice_bytes=1, slice_pause_s=pause_s))

    def spoil(self, direction: Direction, toxics: Toxics) -> None:
        """Any other treatment of the bytes: simulators.toxics.Toxics."""
        self._loop.call(self._proxy.spoil, direction, toxics)

    def cut(self) -> None:
        """Close every connection; new ones are taken."""
        self._loop.run(self._proxy.cut())

    def reset(self) -> None:
        """Break every connection off (RST); new ones are taken."""
        self._loop.run(self._proxy.reset())

    def refuse(self) -> None:
        """Close every connection, and let nobody connect."""
        self._loop.run(self._proxy.refuse())

    def silence(self) -> None:
        """Nothing passes and nothing is closed, as when a cable is out."""
        self._loop.call(self._proxy.silence)

    def restore(self) -> None:
        """The wire is good again."""
        self._loop.run(self._proxy.restore())
