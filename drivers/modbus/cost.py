"""How long requests take, and the cheapest way to cut addresses into requests. Pure.

A gap is read through while that takes less time than another request: on a line of 9600 Bd a register takes 2.3 ms and a request
some 25 ms, so up to ten registers; over TCP nearly anything that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from drivers.modbus.transport import DEFAULT_ROUND_TRIP_MS, Frames, TransportSettings

_NETWORK_BYTE_NS = 80
"""100 Mbit/s."""
_SILENCES = 7
"""Characters: 3.5 before the request and 3.5 before the answer."""
_REQUEST_AND_ANSWER = {Frames.MBAP: 21, Frames.RTU: 13, Frames.ASCII: 28}
"""Characters of a read request and of its answer without data."""


class Cost(NamedTuple):
    """Of reads, in nanoseconds: whole numbers, so that equal plans compare equal."""

    request_ns: int
    """Of a request, whatever it asks for."""
    register_ns: int

    def of(self, count: int, *, is_bits: bool) -> int:
        """Of one request for so many registers or bits."""
        return self.request_ns + (count * self.register_ns // 16 if is_bits else count * self.register_ns)


class Limits(NamedTuple):
    """What one request may ask for."""

    most: int
    """Most bits or registers."""
    gap: int
    """Longest run of unused addresses within it."""


def cost_of(settings: TransportSettings) -> Cost:
    """What reads cost over this transport; over TCP too by the line behind the gateway where its baud rate is given."""
    frames = settings.frame_kind
    round_trip_ms = DEFAULT_ROUND_TRIP_MS if settings.round_trip_ms is None else settings.round_trip_ms
    round_trip_ns = round(round_trip_ms * 1e6) + (settings.request_pause_ms or 0) * 1_000_000
    if not settings.transport.is_serial and settings.baud_rate is None:
        return Cost(round_trip_ns + _REQUEST_AND_ANSWER[frames] * _NETWORK_BYTE_NS, 2 * _NETWORK_BYTE_NS)
    line = Frames.ASCII if frames is Frames.ASCII else Frames.RTU
    character_ns = round(settings.character_s * 1e9)
    per_register = 4 if line is Frames.ASCII else 2
    silences = 0 if line is Frames.ASCII else _SILENCES
    return Cost(round_trip_ns + (_REQUEST_AND_ANSWER[line] + silences) * character_ns, per_register * character_ns)


def cheapest_cut(places: Sequence[tuple[int, int]], limits: Limits, cost: Callable[[int], int]) -> list[tuple[int, int]]:
    """Cut sorted values into requests at least cost; of equal plans, the one whose first requests are the longest.

    Args:
        places: (first address, one past the last) of values that must not be torn. One longer than the limit stands alone.
        cost: of one request for so many addresses.

    Returns:
        (first, one past the last) index of each request's values.
    """
    best, cut = [0], [0]
    for end in range(1, len(places) + 1):
        least, where = -1, end - 1
        for start in range(end - 1, -1, -1):
            alone = start == end - 1
            if not alone and places[start + 1][0] - places[start][1] > limits.gap:
                break
            count = places[end - 1][1] - places[start][0]
            if not alone and count > limits.most:
                break
            total = best[start] + cost(count)
            if least < 0 or total < least:
                least, where = total, start
        best.append(least)
        cut.append(where)
    requests = []
    end = len(places)
    while end:
        requests.append((cut[end], end))
        end = cut[end]
    return requests[::-1]
