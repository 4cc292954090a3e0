"""Looks through a server for its variables and suggests a tag for each (OPC UA Part 4, 5.8.2; Part 8 for units and ranges)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from drivers.errors import DeviceRefused
from drivers.opcua.failures import translated
from drivers.opcua.limits import Limits, Service
from drivers.opcua.session import Session
from drivers.suggestion import SuggestedTag, Suggestions

NODES_PER_TURN = 500
"""Nodes that are worked on together; a request has as many of them as the server bears."""
DEFAULT_SAMPLING_MS = 100.0
DEADBAND_PERCENT = 0.1
"""Suggested for what is measured over a known range: a tenth of what a common transmitter is accurate to."""
MOST_DEPTH = 40
_OBJECTS = ua.NodeId(ua.ObjectIds.ObjectsFolder)
_SERVER = ua.NodeId(ua.ObjectIds.Server)
_HAS_PROPERTY = ua.NodeId(ua.ObjectIds.HasProperty)
_UNITS_OF_UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
_READABLE, _WRITABLE = 1, 2
_T = ua.VariantType
_TYPES = {
    **dict.fromkeys((_T.Float, _T.Double), "float"),
    **dict.fromkeys((_T.SByte, _T.Byte, _T.Int16, _T.UInt16, _T.Int32, _T.UInt32, _T.Int64), "int"),
    _T.UInt64: "uint64",
    _T.Boolean: "bool",
    **dict.fromkeys((_T.String, _T.LocalizedText, _T.DateTime, _T.Guid), "text"),
}
_ATTRIBUTES = (
    ua.AttributeIds.Value,
    ua.AttributeIds.DataType,
    ua.AttributeIds.ValueRank,
    ua.AttributeIds.UserAccessLevel,
    ua.AttributeIds.MinimumSamplingInterval,
    ua.AttributeIds.Description,
)


@dataclass(slots=True)
class _Variable:
    node: Any
    path: tuple[str, ...]
    properties: dict[str, Any] = field(default_factory=dict)
    """Nodes of its properties, by browse name."""


async def browse(session: Session, below: str | None, limit: int, max_per_request: int) -> Suggestions:
    """Everything below a node (the Objects folder when None) but the server's own diagnostics; at most `limit` variables.

    Args:
        max_per_request: most nodes in one request; a server that bears fewer is asked for fewer.

    Raises:
        DeviceRefused: there is no such node.
        DeviceUnreachable
    """
    root = _OBJECTS if below is None else session.resolve(below)
    if root is None:
        raise DeviceRefused(f"{session.url} has no namespace of {below}")
    asking = _Asking(session, f"{session.url}: browsing", Limits(max_per_request))
    with translated(asking.doing):
        await asking.limits.ask(session, (Service.READ, Service.BROWSE))
        variables, is_cut = await _walk(asking, root, limit)
        tags: list[SuggestedTag] = []
        left_out: list[tuple[str, str]] = []
        names = _Names()
        for start in range(0, len(variables), NODES_PER_TURN):
            for variable, described in await _describe(asking, variables[start : start + NODES_PER_TURN]):
                tag = _suggest(session, variable, described, names)
                if isinstance(tag, str):
                    left_out.append(("/".join(variable.path), tag))
                else:
                    tags.append(tag)
    return Suggestions(tuple(tags), tuple(left_out), is_cut)


async def _walk(asking: _Asking, root: Any, limit: int) -> tuple[list[_Variable], bool]:
    """Breadth first, each node once: address spaces have cycles."""
    found: dict[Any, _Variable] = {}
    seen = {root, _SERVER}
    waiting: deque[tuple[Any, tuple[str, ...]]] = deque([(root, ())])
    while waiting:
        batch = [waiting.popleft() for _ in range(min(NODES_PER_TURN, len(waiting)))]
        for (parent, path), references in zip(batch, await _children(asking, [node for node, _ in batch]), strict=True):
            for reference in references:
                node = ua.NodeId(reference.NodeId.Identifier, reference.NodeId.NamespaceIndex)
                name = reference.BrowseName.Name or str(node.Identifier)
                if reference.ReferenceTypeId == _HAS_PROPERTY:
                    if parent in found:
                        found[parent].properties[name] = node
                    continue
                if node in seen or len(path) >= MOST_DEPTH:
                    continue
                seen.add(node)
                if reference.NodeClass == ua.NodeClass.Variable:
                    if len(found) >= limit:
                        return list(found.values()), True
                    found[node] = _Variable(node, (*path, name))
                waiting.append((node, (*path, name)))
    return list(found.values()), False


async def _children(asking: _Asking, nodes: Sequence[Any]) -> list[list[Any]]:
    """References forward to objects and variables of each node, to the end of their continuation points."""
    descriptions = [
        ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=ua.BrowseDirection.Forward,
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
            IncludeSubtypes=True,
            NodeClassMask=int(ua.NodeClass.Object | ua.NodeClass.Variable),
            ResultMask=int(ua.BrowseResultMask.All),
        )
        for node in nodes
    ]
    return await asking.limits.in_parts(Service.BROWSE, asking.doing, descriptions, asking.browse)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One look through one server."""

    session: Session
    doing: str
    limits: Limits

    async def browse(self, part: Sequence[Any]) -> list[list[Any]]:
        """The references of each, or asyncua's BadTooManyOperations where it has no continuation points for so many."""
        services = self.session.services
        results = await services.browse(ua.BrowseParameters(NodesToBrowse=list(part)))
        children = [list(result.References or ()) for result in results]
        further = {place: result.ContinuationPoint for place, result in enumerate(results) if result.ContinuationPoint}
        if len(part) > 1 and any(_is_out_of_points(result) for result in results):
            await self._next(further, release=True)
            raise ua.uaerrors.BadTooManyOperations
        while further:
            more = await self._next(further, release=False)
            further = {}
            for place, result in more.items():
                children[place] += result.References or ()
                if result.ContinuationPoint:
                    further[place] = result.ContinuationPoint
        return children

    async def _next(self, points: dict[int, bytes], *, release: bool) -> dict[int, Any]:
        async def ask(part: Sequence[bytes]) -> list[Any]:
            parameters = ua.BrowseNextParameters(ReleaseContinuationPoints=release, ContinuationPoints=list(part))
            found = list(await self.session.services.browse_next(parameters))
            return [None] * len(part) if release else found  # what is released has no results in some servers

        results = await self.limits.in_parts(Service.BROWSE, self.doing, list(points.values()), ask)
        return dict(zip(points, results, strict=True))


def _is_out_of_points(result: Any) -> bool:
    return bool(result.StatusCode.value == ua.StatusCodes.BadNoContinuationPoints)


async def _describe(asking: _Asking, variables: Sequence[_Variable]) -> list[tuple[_Variable, dict[Any, Any]]]:
    """What each variable and its properties say: by attribute and by the property's name."""
    wanted: list[tuple[int, Any, Any, Any]] = []
    for place, variable in enumerate(variables):
        wanted += [(place, attribute, variable.node, attribute) for attribute in _ATTRIBUTES]
        for name in ("EngineeringUnits", "EURange"):
            if name in variable.properties:
                wanted.append((place, name, variable.properties[name], ua.AttributeIds.Value))
    described: list[dict[Any, Any]] = [{} for _ in variables]
    nodes = [ua.ReadValueId(NodeId=node, AttributeId=attribute) for _, _, node, attribute in wanted]

    async def read(part: Sequence[Any]) -> list[Any]:
        return list(await asking.session.services.read(_reading(list(part))))

    values = await asking.limits.in_parts(Service.READ, asking.doing, nodes, read)
    for (place, key, _, _), value in zip(wanted, values, strict=True):
        if value.Value is not None and (value.StatusCode is None or not value.StatusCode.is_bad()):
            described[place][key] = value.Value
    return list(zip(variables, described, strict=True))


def _reading(nodes: list[Any]) -> Any:
    return ua.ReadParameters(MaxAge=0, TimestampsToReturn=ua.TimestampsToReturn.Neither, NodesToRead=nodes)


def _suggest(session: Session, variable: _Variable, described: dict[Any, Any], names: _Names) -> SuggestedTag | str:
    """A tag, or why there can't be one."""
    access = _plain(described.get(ua.AttributeIds.UserAccessLevel), _READABLE)
    if not access & _READABLE:
        return "not readable"
    value = described.get(ua.AttributeIds.Value)
    rank = _plain(described.get(ua.AttributeIds.ValueRank), -1)
    if rank >= 0 or (value is not None and value.is_array):
        return "an array"
    kind = _type(value, described.get(ua.AttributeIds.DataType))
    if kind is None:
        return "a type that no tag has"
    span_low, span_high = _span(described.get("EURange"))
    if kind not in ("float", "int", "uint64") or span_low is None:
        span_low = span_high = None
    slowest = _plain(described.get(ua.AttributeIds.MinimumSamplingInterval), 0.0)
    description = described.get(ua.AttributeIds.Description)
    return SuggestedTag(
        names.suggest(variable.path),
        _node_text(session, variable.node),
        kind,
        "/".join(variable.path),
        description=(description.Value.Text or "") if description is not None and description.Value is not None else "",
        unit=_unit(described.get("EngineeringUnits")) if kind not in ("bool", "text") else None,
        span_low=span_low,
        span_high=span_high,
        deadband_percent=DEADBAND_PERCENT if kind == "float" and span_low is not None else None,
        sampling_interval_ms=min(slowest, 86_400_000.0) if slowest > DEFAULT_SAMPLING_MS else None,
        is_writable=bool(access & _WRITABLE),
    )


def _plain(variant: Any, otherwise: Any) -> Any:
    return otherwise if variant is None or variant.Value is None else variant.Value


def _type(value: Any, data_type: Any) -> str | None:
    if value is not None and value.VariantType is not _T.Null:
        return _TYPES.get(value.VariantType)
    node = _plain(data_type, None)
    if node is None or node.NamespaceIndex != 0 or not isinstance(node.Identifier, int):
        return None
    try:
        return _TYPES.get(_T(node.Identifier))
    except ValueError:
        return None


def _unit(variant: Any) -> str | None:
    """The code that an EUInformation stands for: three letters in the bytes of a number (Part 8, 5.6.3); else its own text."""
    information = _plain(variant, None)
    if not isinstance(information, ua.EUInformation):
        return None
    text: str | None = information.DisplayName.Text or None
    if information.NamespaceUri == _UNITS_OF_UNECE and information.UnitId > 0:
        code = information.UnitId.to_bytes(4, "big").lstrip(b"\0").decode("latin-1")
        return code if re.fullmatch(r"[0-9A-Z]{2,3}", code) else text
    return text


def _span(variant: Any) -> tuple[float | None, float | None]:
    found = _plain(variant, None)
    if not isinstance(found, ua.Range) or not found.Low < found.High:
        return None, None
    return float(found.Low), float(found.High)


def _node_text(session: Session, node: Any) -> str:
    """As the settings have it, the namespace by its URI, which a restarted server keeps."""
    text: str = ua.NodeId(node.Identifier, 0).to_string()
    if node.NamespaceIndex == 0:
        return text
    uri = session.namespaces[node.NamespaceIndex] if node.NamespaceIndex < len(session.namespaces) else None
    if uri is None or re.search(r"\s", uri):
        return f"ns={node.NamespaceIndex};{text}"
    return f"nsu={uri.replace('%', '%25').replace(';', '%3B')};{text}"


class _Names:
    """Tag names from browse paths: as short as they can be without one being there twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def suggest(self, path: tuple[str, ...]) -> str:
        parts = [word for word in (re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_-") for part in path) if word] or ["tag"]
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])[-64:].lstrip(".-")
            if name not in self._taken:
                break
        base, number = name[:58], 2
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name
