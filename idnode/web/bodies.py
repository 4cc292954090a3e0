"""Request bodies: limited before they are read, read strictly, checked field by field."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from idnode.settings import CaptureSettings
from idnode.strict_json import NotJson, loads
from idnode.web.problems import Problem, bad_request, too_large, unprocessable

M = TypeVar("M", bound=BaseModel)
JSON = frozenset({"application/json"})
JSON_OR_LD = frozenset({"application/json", "application/ld+json"})


async def read_json(request: Request, limits: CaptureSettings, media_types: frozenset[str] = JSON) -> object:
    """The request's body as JSON.

    Raises:
        Problem: 415, 413, 408 or 400.
    """
    media, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if media not in media_types or any(each.startswith("charset=") and each != "charset=utf-8" for each in parameters):
        wanted = " or ".join(sorted(media_types))
        detail = f"the body has to be {wanted} in UTF-8"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, "epcisException:UnsupportedMediaTypeException")
    body = await _read(request, limits)
    try:
        return loads(body, limits.deepest_nesting)
    except NotJson as error:
        raise bad_request(f"the body is no JSON that can be taken: {error}") from error


async def _read(request: Request, limits: CaptureSettings) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limits.most_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.most_bytes:
                    raise _too_large(limits)
    except TimeoutError as error:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body took more than {limits.body_timeout_s:g} s") from error
    except ClientDisconnect as error:
        raise bad_request("the body ended early") from error
    return bytes(body)


def _too_large(limits: CaptureSettings) -> Problem:
    return too_large(f"a body has at most {limits.most_bytes} bytes")


def parsed(model: type[M], content: object) -> M:
    """The content as a model.

    Raises:
        Problem: 422, naming each field that can't be.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = mistakes(error)
        raise unprocessable("; ".join(f"{pointer or 'the body'}: {detail}" for pointer, detail in errors[:3]), errors) from error


def mistakes(error: ValidationError) -> list[tuple[str, str]]:
    """(JSON pointer, what is wrong) of each mistake, at most twenty."""
    return [(_pointer(each["loc"]), _plain(each)) for each in error.errors(include_url=False, include_input=False)[:20]]


_UNION_MEMBERS = ("function-after[_fits(), DataBody]", "constrained-str")
"""Steps by which pydantic says which form of a value it tried; they are no part of the body."""


def _pointer(location: tuple[str | int, ...]) -> str:
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in location if step not in _UNION_MEMBERS]
    return "".join(f"/{step}" for step in steps)


def _plain(mistake: Any) -> str:
    message = str(mistake["msg"])
    return message.removeprefix("Value error, ")
