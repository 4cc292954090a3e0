"""JSON Schemas of settings models, for editors that complete and check YAML while it is written."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a settings file: titles, descriptions, defaults and ranges as the model declares them.

    Cross-field checks (CrossChecked) can't be said in it; `config.documents.load` makes them.
    """
    return {"$schema": DIALECT, **model.model_json_schema()}


def schema_text(model: type[BaseModel]) -> str:
    """The schema as the text of a file."""
    return json.dumps(schema(model), ensure_ascii=False, indent=2) + "\n"
