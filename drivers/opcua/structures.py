"""Structures that only the server knows, by the definitions that it gives of them, as JSON objects. Sans-IO.

Each server has its own: nothing of one is believed of another. Sources: OPC UA Part 3, 8.48 to 8.51 (StructureDefinition and its
fields); Part 6, 5.2.6, 5.2.7, 5.2.8 (structures, with optional fields, unions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from drivers.errors import DeviceMisbehaved
from drivers.opcua.extents import ARRAY, Reader

BUILT_IN = frozenset(range(1, 26))
"""Numbers of the built-in types, which are those of their data types in namespace 0 (Part 6, 5.1.2)."""
_DEEPEST = 32


class Layout(IntEnum):
    """StructureType (Part 3, 8.49)."""

    PLAIN = 0
    OPTIONAL = 1
    UNION = 2


@dataclass(frozen=True, slots=True)
class Field:
    """One field."""

    name: str
    kind: int | str
    """A built-in type's number (an enumeration is 6), or the node id of a structure's data type."""
    is_array: bool = False
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """What a data type consists of."""

    layout: Layout
    fields: tuple[Field, ...]


class Undecodable(Exception):
    """The bytes aren't those of the definition."""


class Structures:
    """The structures of one server."""

    def __init__(self) -> None:
        self.by_type: dict[str, Structure] = {}
        """By the node id of the data type."""
        self.by_encoding: dict[str, str] = {}
        """Data types by the node id of their binary encoding."""

    def clear(self) -> None:
        """Nothing is known any more."""
        self.by_type.clear()
        self.by_encoding.clear()

    def object_of(self, encoding: str, body: bytes, plain: Callable[[bytes], object]) -> dict[str, object] | None:
        """The fields of a body by their names, an optional one that isn't there left out; None where the structure isn't known.

        Args:
            encoding: node id of the body's encoding.
            plain: what JSON knows of a field that is no structure, given as a Variant.

        Raises:
            Undecodable: the body isn't one of that structure.
        """
        structure = self.by_type.get(self.by_encoding.get(encoding, ""))
        if structure is None:
            return None
        reader = Reader(body)
        try:
            found = self._take(reader, structure, plain, 0)
        except DeviceMisbehaved as error:
            raise Undecodable(str(error)) from error
        if reader.at != reader.end:
            raise Undecodable(f"{reader.end - reader.at} bytes are left over")
        return found

    def _take(self, reader: Reader, structure: Structure, plain: Callable[[bytes], object], depth: int) -> dict[str, object]:
        if depth > _DEEPEST:
            raise Undecodable("nested too deeply")
        fields: Sequence[Field] = structure.fields
        if structure.layout is Layout.UNION:
            chosen = reader.uint32()
            if chosen > len(fields):
                raise Undecodable(f"a union has no field {chosen}")
            fields = fields[chosen - 1 : chosen] if chosen else ()
        present = reader.uint32() if structure.layout is Layout.OPTIONAL else 0
        found: dict[str, object] = {}
        for field in fields:
            there = True
            if field.is_optional:
                there, present = bool(present & 1), present >> 1
            if there:
                found[field.name] = self._field(reader, field, plain, depth)
        return found

    def _field(self, reader: Reader, field: Field, plain: Callable[[bytes], object], depth: int) -> object:
        if isinstance(field.kind, int):
            begin = reader.at
            reader.skip_value(field.kind, is_array=field.is_array)
            encoding = field.kind | (ARRAY if field.is_array else 0)
            return plain(bytes((encoding,)) + reader.data[begin : reader.at])
        structure = self.by_type.get(field.kind)
        if structure is None:
            raise Undecodable(f"the field {field.name} is of an unknown structure")
        if not field.is_array:
            return self._take(reader, structure, plain, depth + 1)
        return [self._take(reader, structure, plain, depth + 1) for _ in range(reader.length(1))]
