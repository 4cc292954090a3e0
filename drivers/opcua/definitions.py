"""Asks a server for the definitions of its structures (OPC UA Part 3, 5.8.3: DataTypeDefinition; 8.48 to 8.51)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncua import ua

from drivers.errors import DeviceRefused
from drivers.opcua.failures import translated
from drivers.opcua.limits import Limits, Service
from drivers.opcua.session import Session
from drivers.opcua.structures import BUILT_IN, Field, Layout, Structure, Structures

_HAS_ENCODING, _HAS_SUBTYPE = 38, 45
_ABSTRACT = {26: 24, 27: 24, 28: 24, 29: 6}
"""Number, Integer and UInteger stand as Variants, an Enumeration as an Int32 (Part 6, 5.2.4, 5.2.5)."""
_STRUCTURE = 22
_MOST_TYPES = 1000
"""A server whose types have no end isn't followed further."""


async def learn_structures(
    session: Session, doing: str, variables: Sequence[Any], structures: Structures, limits: Limits
) -> None:
    """Put the structures that the variables may have into `structures`. What the server doesn't tell stays unknown.

    Raises:
        DriverError: the link is gone.
    """

    async def read_types(part: Sequence[Any]) -> Sequence[Any]:
        values: Sequence[Any] = await session.services.read_attributes(list(part), ua.AttributeIds.DataType)
        return values

    try:
        values = await limits.in_parts(Service.READ, doing, variables, read_types)
    except DeviceRefused:
        return
    learner = _Learner(session, doing, structures)
    for value in values:
        data_type = _value_of(value)
        if isinstance(data_type, ua.NodeId):
            await learner.kind_of(data_type)


def _value_of(value: Any) -> Any | None:
    bad = value.StatusCode is not None and value.StatusCode.is_bad()
    return None if bad or value.Value is None else value.Value.Value


class _Learner:
    def __init__(self, session: Session, doing: str, structures: Structures) -> None:
        self._session = session
        self._doing = doing
        self._structures = structures
        self._kinds: dict[str, int | str | None] = {}

    async def read(self, node: Any, attribute: Any) -> Any | None:
        """A node's attribute; None where the server hasn't got it."""
        try:
            with translated(self._doing):
                (value,) = await self._session.services.read_attributes([node], attribute)
        except DeviceRefused:
            return None
        return _value_of(value)

    async def kind_of(self, data_type: Any) -> int | str | None:
        """Number of a built-in type, or the node id of a structure; None where it can't be told."""
        number = data_type.Identifier if data_type.NamespaceIndex == 0 else None
        if isinstance(number, int) and (number in BUILT_IN or number in _ABSTRACT):
            return _ABSTRACT.get(number, number)
        key = data_type.to_string()
        if key in self._kinds or len(self._kinds) > _MOST_TYPES:
            return self._kinds.get(key)
        self._kinds[key] = None
        definition = await self.read(data_type, ua.AttributeIds.DataTypeDefinition)
        if isinstance(definition, ua.EnumDefinition):
            self._kinds[key] = 6
        elif isinstance(definition, ua.StructureDefinition):
            self._kinds[key] = key
            await self._learn(data_type, definition)
        else:
            for parent in await self._references(data_type, _HAS_SUBTYPE, ua.BrowseDirection.Inverse):
                kind = await self.kind_of(parent.NodeId)
                # A structure without a definition of its own has fields that nobody tells.
                self._kinds[key] = kind if isinstance(kind, int) and kind != _STRUCTURE else None
        return self._kinds[key]

    async def _learn(self, data_type: Any, definition: Any) -> None:
        try:
            layout = Layout(int(definition.StructureType))
        except ValueError:
            return  # Structures whose fields may be subtypes.
        fields = []
        for field in definition.Fields or ():
            kind = await self.kind_of(field.DataType)
            if kind is None or field.ValueRank not in (-1, 1):
                return
            optional = bool(field.IsOptional) and layout is Layout.OPTIONAL
            fields.append(Field(str(field.Name), kind, field.ValueRank == 1, optional))
        encoding = definition.DefaultEncodingId
        if encoding is None or encoding.is_null():
            for found in await self._references(data_type, _HAS_ENCODING, ua.BrowseDirection.Forward):
                if found.BrowseName.Name == "Default Binary":
                    encoding = found.NodeId
        key = data_type.to_string()
        self._structures.by_type[key] = Structure(layout, tuple(fields))
        if encoding is not None:
            self._structures.by_encoding[encoding.to_string()] = key

    async def _references(self, node: Any, kind: int, direction: Any) -> Sequence[Any]:
        wanted = ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=direction,
            ReferenceTypeId=ua.NodeId(kind),
            IncludeSubtypes=False,
            NodeClassMask=0,
            ResultMask=ua.BrowseResultMask.BrowseName,
        )
        try:
            with translated(self._doing):
                results = await self._session.services.browse(ua.BrowseParameters(NodesToBrowse=[wanted]))
        except DeviceRefused:
            return ()
        return [reference for result in results[:1] for reference in result.References or ()]
