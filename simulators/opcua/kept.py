"""What an OPC UA device keeps of its variables: HistoryRead of raw values (OPC UA Part 4, 5.11.3; Part 11, 6.4.3)."""

from __future__ import annotations

from typing import Any

from asyncua import ua
from asyncua.server.history import HistoryManager


class KeptHistory(HistoryManager):  # type: ignore[misc]
    """In place of asyncua's, which watches by a subscription of its own and gives no rest of a limited answer."""

    def __init__(self, server: Any, page: int) -> None:
        super().__init__(server)
        self._page = page
        self._kept: dict[Any, list[Any]] = {}

    def keep(self, node_id: Any) -> None:
        """From now on what this variable is."""
        self._kept.setdefault(node_id, [])

    def note(self, node_id: Any, value: Any) -> None:
        """A variable that is kept has another value."""
        if node_id in self._kept:
            self._kept[node_id].append(value)

    async def read_history(self, params: Any) -> list[Any]:
        """The service."""
        return self.read(params)

    def read(self, params: Any) -> list[Any]:
        """The service's results, one for each node."""
        details = params.HistoryReadDetails
        if not isinstance(details, ua.ReadRawModifiedDetails) or details.IsReadModified:
            return [_refused(ua.StatusCodes.BadHistoryOperationUnsupported) for _ in params.NodesToRead]
        return [self._read(details, wanted) for wanted in params.NodesToRead]

    def _read(self, details: Any, wanted: Any) -> Any:
        if wanted.NodeId not in self._kept:
            return _refused(ua.StatusCodes.BadHistoryOperationUnsupported)
        start, end = details.StartTime, details.EndTime
        found = [one for one in self._kept[wanted.NodeId] if start <= one.SourceTimestamp < end]
        found.sort(key=lambda one: one.SourceTimestamp)
        first = int(wanted.ContinuationPoint or b"0")
        last = first + min(self._page, details.NumValuesPerNode or self._page)
        result = ua.HistoryReadResult(HistoryData=ua.HistoryData(found[first:last]))
        if last < len(found):
            result.ContinuationPoint = b"%d" % last
        return result


def _refused(code: int) -> Any:
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
