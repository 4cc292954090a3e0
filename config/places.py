"""Where in a document a finding belongs: pydantic's locations, and the sections of a model beside those of its file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import cast

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from config.problems import Location
from config.sections import key_of
from config.settings import CrossChecked
from config.tree import Fault, Node, Place, child, reach, root_place, step

_HOLDERS = (BaseModel, dict, list, tuple)
"""What may hold a section."""


def locate(root: Node, error: ErrorDetails) -> Place:
    """The place in the document that a pydantic error is about; for a missing key the section that lacks it.

    Pydantic puts names into its locations that no document holds (the chosen member of a union, `[key]`): they are left out.
    """
    place = root_place(root)
    parts = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
    for index, part in enumerate(parts):
        below = step(place, part)
        if below is not None and not _is_tag(place.node, part, error["loc"][index + 1 :]):
            place = below
    if error["type"] == "union_tag_invalid":
        # Pydantic blames the section; the wrong value stands under the discriminator's key.
        return step(place, discriminator(error)) or place
    return place


def lacking(error: ErrorDetails) -> tuple[str, ...]:
    """The key that the place of a `missing` error lacks; else nothing."""
    if error["type"] == "missing":
        return (str(error["loc"][-1]),)
    return (discriminator(error),) if error["type"] == "union_tag_not_found" else ()


def to_cut(error: ErrorDetails, place: Place) -> Location:
    """What can't stay in the document because of an error at `place`."""
    return place.path[:-1] if error["type"] == "union_tag_invalid" else place.path


def discriminator(error: ErrorDetails) -> str:
    """The key that chooses the union's member, of a union_tag_* error."""
    return str(error.get("ctx", {}).get("discriminator", "")).strip("'")


def find(root: Node, location: Location) -> Place:
    """The place that a path leads to, or would lead to."""
    place = root_place(root)
    for part in location:
        place = reach(place, part)
    return place


def sections(value: object, place: Place) -> Iterator[tuple[BaseModel, Place]]:
    """Every model within a validated value, each with its place in the document."""
    if isinstance(value, BaseModel):
        yield value, place
        children = ((key_of(name, field), getattr(value, name)) for name, field in type(value).model_fields.items())
        for key, below in children:
            if isinstance(below, _HOLDERS):
                yield from sections(below, reach(place, key))
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, _HOLDERS):
                yield from sections(item, reach(place, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, _HOLDERS):
                yield from sections(item, reach(place, index))


def boolean_numbers(section: BaseModel, place: Place) -> Iterator[Fault]:
    """Numbers of a section for which the file has true or false, which pydantic takes for 1 and 0."""
    written = place.node.value
    if not isinstance(written, dict):
        return
    for key, branch in written.items():
        inner = branch.node.value if isinstance(branch.node.value, list) else []
        if isinstance(branch.node.value, bool) or any(isinstance(item.node.value, bool) for item in inner):
            names = [name for name, field in type(section).model_fields.items() if key_of(name, field) == key]
            value = getattr(section, names[0], None) if names else None
            yield from _boolean_numbers(value, reach(place, key))


def mistakes(section: BaseModel, place: Place) -> Iterator[tuple[Fault, Place]]:
    """What a section says against itself."""
    if not _is_cross_checked(type(section)):
        return
    for location, message, suggestion in cast(CrossChecked, section).mistakes():
        target = place
        for index, part in enumerate(location):
            field = type(section).model_fields.get(str(part)) if index == 0 else None
            target = reach(target, key_of(str(part), field) if field else part)
        yield Fault(target.line, target.location, message, suggestion), target


@cache
def _is_cross_checked(model: type[BaseModel]) -> bool:
    # isinstance() with a Protocol costs 20 us, a hundred times what this does.
    return issubclass(model, CrossChecked)


def _boolean_numbers(value: object, place: Place) -> Iterator[Fault]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _boolean_numbers(item, reach(place, index))
    elif type(value) in (int, float) and isinstance(place.node.value, bool):
        yield Fault(place.line, place.location, f"must be a number, not {'true' if place.node.value else 'false'}")


def _is_tag(section: Node, part: str | int, rest: Location) -> bool:
    """Whether `part`, though a key of the section, is here the name of a union's member.

    It is when another key has it as its value (driver: modbus), and what follows stands in the section, not under `part`.
    """
    if not rest or not isinstance(section.value, dict):
        return False
    branch = child(section, part)
    named = any(other.node.value == part for name, other in section.value.items() if name != part)
    return named and branch is not None and child(branch.node, rest[0]) is None
