"""Which settings models may stand at a place of a document."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.problems import Location
from config.tree import Node, child


def key_of(name: str, field: FieldInfo) -> str:
    """How a file spells a field: by its alias where it has one."""
    for alias in (field.validation_alias, field.alias):
        if isinstance(alias, str):
            return alias
    return name


def keys(models: Sequence[type[BaseModel]]) -> list[str]:
    """Every key that one of the models knows, in their order."""
    return list(dict.fromkeys(key_of(name, field) for model in models for name, field in model.model_fields.items()))


def models_at(model: type[BaseModel], root: Node, path: Location) -> list[type[BaseModel]]:
    """The models that the section at `path` may have; of a union only those that its discriminator leaves."""
    candidates: list[Any] = [model]
    node: Node | None = root
    for part in path:
        candidates = [below for candidate in _fitting(candidates, node) for below in _below(candidate, part)]
        branch = child(node, part) if node else None
        node = branch.node if branch else None
    return [candidate for candidate in _fitting(candidates, node) if _is_model(candidate)]


def members(annotation: Any) -> Iterator[Any]:
    """The members of a union, unions within it too; anything else is its own only member. None is left out."""
    annotation = bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from members(member)
    elif annotation is not type(None):
        yield annotation


def bare(annotation: Any) -> Any:
    """An annotation without Annotated[] or an alias around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def choices(annotation: Any) -> tuple[object, ...] | None:
    """The values of a Literal, enum members as the file writes them; None for any other annotation."""
    annotation = bare(annotation)
    if get_origin(annotation) is not Literal:
        return None
    return tuple(value.value if isinstance(value, Enum) else value for value in get_args(annotation))


def choices_of(models: Sequence[type[BaseModel]], key: str) -> list[str]:
    """What the models take under a key that chooses among them."""
    found = [
        choices(field.annotation) for model in models for name, field in model.model_fields.items() if key_of(name, field) == key
    ]
    return [str(value) for values in found for value in values or ()]


def _fitting(candidates: Sequence[Any], node: Node | None) -> list[Any]:
    options = [member for candidate in candidates for member in members(candidate)]
    if len(options) < 2 or node is None:
        return options
    return [option for option in options if not _is_model(option) or _discriminated(option, node)] or options


def _discriminated(model: type[BaseModel], node: Node) -> bool:
    for name, field in model.model_fields.items():
        values = choices(field.annotation)
        branch = child(node, key_of(name, field))
        if values is not None and branch is not None and branch.node.value not in values:
            return False
    return True


def _below(annotation: Any, part: str | int) -> Iterator[Any]:
    if _is_model(annotation):
        yield from (field.annotation for name, field in annotation.model_fields.items() if key_of(name, field) == part)
        return
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    if isinstance(part, str):
        yield from arguments[1:2]
    elif len(arguments) > part and get_origin(annotation) is tuple and Ellipsis not in get_args(annotation):
        yield arguments[part]
    else:
        yield from arguments[:1]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
