"""Values as administrators write them, held against what the node keeps: the limits of registration over HTTP. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from idnode.administering.refusal import Refusal
from idnode.handle.codes import MOST_HANDLE_BYTES, MOST_VALUES, ResponseCode
from idnode.handle.values import RELATIVE, WireValue, data_bytes, data_of
from idnode.record import HandleValue

LARGEST_INDEX = 2**31 - 1
LONGEST_TTL_S = 2**31 - 1
MOST_DATA_BYTES = 65_536
MOST_REFERENCES = 100
_TYPE = re.compile(r"[!-~]{1,128}", re.ASCII)


def from_wire(value: WireValue) -> HandleValue:
    """A value as it is kept.

    Raises:
        Refusal: INVALID_VALUE, it can't be.
    """
    if value.ttl_kind != RELATIVE:
        raise Refusal(ResponseCode.INVALID_VALUE, f"{value.index}: a TTL is kept as seconds, not as a moment")
    return HandleValue(
        value.index,
        value.type,
        data_of(value.type, value.data),
        value.ttl,
        value.permissions & 0x0F,
        references=value.references,
    )


def check_values(values: Sequence[HandleValue]) -> None:
    """Whether a record may have these together.

    Raises:
        Refusal: INVALID_VALUE; VALUE_ALREADY_EXISTS, two have one index.
    """
    check_count(values)
    seen: set[int] = set()
    for value in values:
        why = _wrong(value)
        if why is not None:
            raise Refusal(ResponseCode.INVALID_VALUE, f"{value.index}: {why}")
        if value.index in seen:
            raise Refusal(ResponseCode.VALUE_ALREADY_EXISTS, f"{value.index}: two values have this index")
        seen.add(value.index)


def check_count(values: Sequence[HandleValue]) -> None:
    """Whether a record may have so many.

    Raises:
        Refusal: INVALID_VALUE.
    """
    if len(values) > MOST_VALUES:
        raise Refusal(ResponseCode.INVALID_VALUE, f"{len(values)} values, and a handle has at most {MOST_VALUES}")


def _wrong(value: HandleValue) -> str | None:
    if not 0 < value.index <= LARGEST_INDEX:
        return f"an index is from 1 to {LARGEST_INDEX}"
    if _TYPE.fullmatch(value.type) is None:
        return "a type has 1 to 128 visible characters of ASCII"
    if not 0 <= value.ttl_s <= LONGEST_TTL_S:
        return f"a TTL is from 0 to {LONGEST_TTL_S} seconds"
    if len(value.references) > MOST_REFERENCES:
        return f"at most {MOST_REFERENCES} references"
    if any(len(each.handle.encode()) > MOST_HANDLE_BYTES for each in value.references):
        return f"the handle of a reference has at most {MOST_HANDLE_BYTES} bytes"
    if len(data_bytes(value.data)) > MOST_DATA_BYTES:
        return f"at most {MOST_DATA_BYTES} bytes"
    return None
