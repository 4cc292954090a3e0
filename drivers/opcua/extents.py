"""Where encoded things end: a bounded reader over OPC UA Binary that builds no objects. Sans-IO.

Source: OPC UA Part 6, 5.2.2 (built-in types). Nothing is believed that the bytes don't hold: a length beyond the end, nesting
beyond 100 levels (5.1.12) and reserved encodings are DeviceMisbehaved.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from drivers.errors import DeviceMisbehaved

FIXED_BYTES = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 13: 8, 14: 16, 19: 4}
"""Bytes of the built-in types that always have as many, by the type's number (Part 6, 5.1.2)."""
ARRAY, DIMENSIONS, TYPE = 0x80, 0x40, 0x3F
"""Parts of a Variant's encoding byte (Part 6, 5.2.2.16)."""
_TEXTS = frozenset({12, 15, 16, *range(26, 32)})
"""String, ByteString, XmlElement; reserved types, which are read as ByteString."""
_NODE_ID_BYTES = {0: 1, 1: 3, 2: 6, 4: 18}
"""Bytes behind the encoding byte of a NodeId, where they are fixed."""
_DEEPEST = 100
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")


class Reader:
    """Reads forward within `data`; every method either moves on or raises DeviceMisbehaved."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    def skip(self, size: int) -> int:
        """Pass over that many bytes; says where they begin."""
        at = self.at
        if size > self.end - at:
            self._fail("ends too early")
        self.at = at + size
        return at

    def byte(self) -> int:
        """A Byte."""
        return self.data[self.skip(1)]

    def uint32(self) -> int:
        """A UInt32."""
        value: int = _U32.unpack_from(self.data, self.skip(4))[0]
        return value

    def length(self, least_bytes: int = 0) -> int:
        """Length of an array whose elements take that many bytes at least; 0 for a null one."""
        length: int = _I32.unpack_from(self.data, self.skip(4))[0]
        if length * least_bytes > self.end - self.at:
            self._fail(f"has an array of {length} elements that it can't hold")
        return max(length, 0)

    def skip_text(self) -> None:
        """A String, ByteString or XmlElement."""
        self.skip(self.length())

    def node_id(self) -> tuple[int, int]:
        """A NodeId or ExpandedNodeId: (namespace index, number), the number being -1 for one that isn't numeric."""
        flags = self.byte()
        kind = flags & TYPE
        at = self.at
        if kind in _NODE_ID_BYTES:
            self.skip(_NODE_ID_BYTES[kind])
        elif kind in (3, 5):
            self.skip(2)
            self.skip_text()
        else:
            self._fail(f"has a node id of the unknown form {kind}")
        named = (0, -1)
        if kind == 0:
            named = 0, self.data[at]
        elif kind == 1:
            named = self.data[at], int.from_bytes(self.data[at + 1 : at + 3], "little")
        elif kind == 2:
            named = int.from_bytes(self.data[at : at + 2], "little"), int.from_bytes(self.data[at + 2 : at + 6], "little")
        if flags & 0x80:
            self.skip_text()
        if flags & 0x40:
            self.skip(4)
        return named

    def extension(self) -> tuple[tuple[int, int], Reader]:
        """An ExtensionObject: its type, and a reader of its body, which is empty where there is none."""
        kind = self.node_id()
        encoding = self.byte()
        if encoding > 2:
            self._fail(f"has an extension object of the unknown encoding {encoding}")
        size = self.length(1) if encoding else 0
        begin = self.skip(size)
        return kind, Reader(self.data, begin, begin + size)

    def skip_variant(self, depth: int = 0) -> None:
        """A Variant."""
        encoding = self.byte()
        if encoding & (ARRAY | DIMENSIONS) == DIMENSIONS:
            self._fail("has dimensions of no array")
        count = self.skip_value(encoding & TYPE, is_array=bool(encoding & ARRAY), depth=depth)
        if encoding & DIMENSIONS:
            self._skip_dimensions(count)

    def skip_value(self, kind: int, *, is_array: bool = False, depth: int = 0) -> int:
        """A value of a built-in type, or an array of such; says how many there were."""
        if not is_array:
            self._skip_value(kind, depth)
            return 1
        width = FIXED_BYTES.get(kind)
        count = self.length(width or 1)
        if width is not None:
            self.skip(width * count)
        elif kind == 0 and count:
            self._fail("has an array of nothings")
        else:
            for _ in range(count):
                self._skip_value(kind, depth)
        return count

    def skip_diagnostics(self, depth: int = 0) -> None:
        """A DiagnosticInfo (Part 6, 5.2.2.12)."""
        mask = self.byte()
        if mask & 0x80 or depth > _DEEPEST:
            self._fail("has a diagnostic info that can't be")
        self.skip(4 * (mask & 0x0F).bit_count())
        if mask & 0x10:
            self.skip_text()
        if mask & 0x20:
            self.skip(4)
        if mask & 0x40:
            self.skip_diagnostics(depth + 1)

    def _skip_dimensions(self, count: int) -> None:
        elements = 1
        for _ in range(self.length(4)):
            elements *= max(_I32.unpack_from(self.data, self.skip(4))[0], 0)
        if elements != count:
            self._fail(f"has an array of {count} elements with dimensions for {elements}")

    def _skip_value(self, kind: int, depth: int) -> None:
        if depth > _DEEPEST:
            self._fail("is nested too deeply")
        if kind in FIXED_BYTES:
            self.skip(FIXED_BYTES[kind])
        elif kind in _TEXTS:
            self.skip_text()
        elif kind in (17, 18):
            self.node_id()
        elif kind == 20:
            self.skip(2)
            self.skip_text()
        elif kind == 21:
            mask = self.byte()
            for bit in (1, 2):
                if mask & bit:
                    self.skip_text()
        elif kind == 22:
            self.extension()
        elif kind == 23:
            self._skip_data_value(depth + 1)
        elif kind == 24:
            self.skip_variant(depth + 1)
        elif kind == 25:
            self.skip_diagnostics(depth + 1)
        elif kind:
            self._fail(f"has a value of the unknown type {kind}")

    def _skip_data_value(self, depth: int) -> None:
        mask = self.byte()
        if mask & 1:
            self.skip_variant(depth)
        self.skip(tail_bytes(mask))

    def _fail(self, what: str) -> NoReturn:
        raise DeviceMisbehaved(f"an answer {what} (byte {self.at} of {len(self.data)})")


def tail_bytes(mask: int) -> int:
    """Bytes of a DataValue behind its value: status, source time, its picoseconds, server time, its picoseconds."""
    return 4 * (mask >> 1 & 1) + 8 * ((mask >> 2 & 1) + (mask >> 3 & 1)) + 2 * ((mask >> 4 & 1) + (mask >> 5 & 1))
