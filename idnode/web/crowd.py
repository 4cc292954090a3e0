"""The connections of a process that nobody serves at the moment, and for how long they may stay."""

from __future__ import annotations

from typing import Any

from idnode.web.hot_protocol import HotProtocol


class Crowd:
    """All connections of a process: how many there may be, and for how long one may do nothing."""

    def __init__(self, most: int, idle_s: float, head_s: float, stuck_s: float) -> None:
        """
        Args:
            most: connections; one more is answered 503 and closed.
            idle_s: without a request.
            head_s: from a request's first byte to the end of its head.
            stuck_s: without taking anything of an answer that was written.
        """
        self.most = most
        self.now_s = 0.0
        """Monotonic, as of the last look."""
        self.leaving = False
        """Every answer says that its connection is closed."""
        self._idle_s, self._head_s, self._stuck_s = idle_s, head_s, stuck_s

    def look(self, connections: set[Any], now_s: float) -> None:
        """Close those that are over their time; to be called about once a second."""
        self.now_s = now_s
        for connection in [each for each in connections if isinstance(each, HotProtocol)]:
            if connection.is_stuck:
                if now_s - connection.active_s > self._stuck_s:
                    connection.transport.abort()
            elif connection.head_since_s is not None:
                if now_s - connection.head_since_s > self._head_s and connection.is_waiting:
                    connection.expire()
            elif connection.is_idle and now_s - connection.active_s > self._idle_s:
                connection.transport.close()
