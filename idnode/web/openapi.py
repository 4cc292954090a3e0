"""The OpenAPI description of bodies that are read by hand (strictly, and limited before they are read)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from idnode.enterprise import Role
from idnode.web.rights import right_of
from idnode.web.snms.envelope import ROOTS

_REFERENCE = "#/components/schemas/{model}"
CSV_TOO: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
"""responses of a route that also answers with CSV."""
_described: set[type[BaseModel]] = set()


def takes(*models: type[BaseModel], media_type: str = "application/json", most: int | None = None) -> dict[str, Any]:
    """openapi_extra for a route whose body is one of `models`; with `most`, a list of at most so many."""
    _described.update(models)
    references = [{"$ref": _REFERENCE.format(model=model.__name__)} for model in models]
    schema: dict[str, Any] = references[0] if len(references) == 1 else {"oneOf": references}
    if most is not None:
        schema = {"type": "array", "items": schema, "maxItems": most}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def describe(application: FastAPI) -> dict[str, Any]:
    """The whole description; made once."""
    if application.openapi_schema is None:
        made = get_openapi(
            title=application.title,
            version=application.version,
            openapi_version="3.0.3",
            description=application.description,
            routes=application.routes,
        )
        ordered = sorted(_described, key=lambda model: model.__name__)
        _, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=_REFERENCE)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update({name: schema for name, schema in definitions.get("$defs", {}).items() if name not in schemas})
        _answer_with_problems(made)
        _tell_rights(made)
        application.openapi_schema = _in_3_0(made)
    return application.openapi_schema


def _answer_with_problems(description: dict[str, Any]) -> None:
    """Every error is a problem document, not the framework's own; for tools of second-level nodes every answer is an envelope."""
    schemas = description["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    mistake = {"type": "object", "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}}}
    schemas["Problem"] = {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            **{name: {"type": "string"} for name in ("type", "title", "detail")},
            "status": {"type": "integer"},
            "errors": {"type": "array", "items": mistake},
        },
    }
    schemas["Envelope"] = {
        "type": "object",
        "required": ["status", "message", "data"],
        "properties": {"status": {"type": "integer"}, "message": {"type": "string"}, "data": {}},
    }
    envelope = {"content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Envelope")}}}}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}}
    for path, operations in description["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            if path.startswith(ROOTS):
                responses["200"] = {"description": "`status` says whether it is done", **envelope}
                responses["default"] = {"description": "Neither done nor looked at", **envelope}
            else:
                responses["default"] = {"description": "A problem (RFC 9457)", **problem}


def _tell_rights(description: dict[str, Any]) -> None:
    """Who may ask for what: `security`, and by role in `x-roles`."""
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            right = right_of(method.upper(), path)
            needed: list[dict[str, list[str]]] = [{"HTTPBearer": []}]
            operation["security"] = [{}, *needed] if right.anybody else needed
            operation["x-roles"] = ["anybody"] if right.anybody else [role.value for role in Role if role in right.roles]


def _in_3_0(schema: Any) -> Any:
    """OpenAPI 3.0 has no null type and no const (3.0.3, 4.7.24); the page that shows it knows no later version."""
    if isinstance(schema, list):
        return [_in_3_0(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _in_3_0(value) for name, value in schema.items()}
    if "const" in made and not isinstance(made["const"], dict):
        made["enum"] = [made.pop("const")]
    choices = made.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        made = {**{name: value for name, value in made.items() if name != "anyOf"}, "nullable": True}
        made.update(rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"anyOf": rest})
    return made
