"""Resolutions for whoever has proven who they are."""

from __future__ import annotations

from idnode.handle.codes import ResponseCode
from idnode.handle.message import Asked, values_body
from idnode.handle.reply import MOST_BODY, Packed, refused
from idnode.handle.values import pack_value
from idnode.handle.verdicts import refusal_of
from idnode.record import Permission, is_deleted
from idnode.resolver import Resolution, Verdict, matching


def answer_restricted(asked: Asked, resolution: Resolution, *, as_house: bool) -> Packed:
    """What a resolution is answered to somebody who has proven who they are.

    Args:
        as_house: they may read what is for the house.
    """
    if resolution.verdict is not Verdict.FOUND:
        if resolution.verdict is Verdict.ANONYMOUS:
            return refused(ResponseCode.INSUFFICIENT_PERMISSIONS, "this is for the house")
        return refused(*refusal_of(resolution))
    record = resolution.record
    if record is not None and is_deleted(record):
        return refused(ResponseCode.HANDLE_NOT_FOUND)
    values = matching(resolution.values, frozenset(asked.indexes), asked.types)
    hidden = () if record is None else matching(record.values, frozenset(asked.indexes), asked.types)
    shown = {value.index for value in values}
    if not as_house and any(value.permissions & Permission.ADMIN_READ and value.index not in shown for value in hidden):
        return refused(ResponseCode.INSUFFICIENT_PERMISSIONS, "some of these values are for the house")
    if not values:
        return refused(ResponseCode.INSUFFICIENT_PERMISSIONS if hidden else ResponseCode.VALUES_NOT_FOUND)
    body = values_body(asked.handle.encode(), [pack_value(value) for value in values])
    if len(body) > MOST_BODY:
        return refused(ResponseCode.ERROR, "the values are more than a message holds; ask for some of them")
    return Packed(ResponseCode.SUCCESS, body)
