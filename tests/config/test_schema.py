"""The JSON Schema accepts what load() accepts, and the reference page says what the model says."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from pydantic import Field

from config.composer import compose
from config.reference import reference_text
from config.schema import schema, schema_text
from config.settings import Settings
from config.tree import plain
from tests.config.workshop import GOOD, Workshop


def document(text: str) -> Any:
    root, _ = compose(text)
    assert root is not None
    return plain(root)


def test_it_is_a_valid_schema_of_its_dialect() -> None:
    written = json.loads(schema_text(Workshop))
    assert written["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(written)


def test_a_good_file_passes_it() -> None:
    Draft202012Validator(schema(Workshop)).validate(document(GOOD))


@pytest.mark.parametrize(
    ("old", "new"),
    [("host:", "hots:"), ("address: 2", "address: 65536"), ("words: 2", "order: CDBA"), ("driver: modbus", "driver: opcua")],
)
def test_what_one_field_shows_to_be_wrong_fails_it(old: str, new: str) -> None:
    with pytest.raises(ValidationError):
        Draft202012Validator(schema(Workshop)).validate(document(GOOD.replace(old, new)))


def test_every_field_of_it_has_a_title_and_a_sentence() -> None:
    written = schema(Workshop)
    for section in [written, *written["$defs"].values()]:
        for key, field in section.get("properties", {}).items():
            assert field.get("description"), key
            assert field.get("title") or "$ref" in field or "allOf" in field, key


def test_the_reference_has_a_row_for_every_field_with_type_default_and_range() -> None:
    page = reference_text({"workshop": Workshop})
    assert "| `address` | whole number | required | from 0 to 65535 | First register. |" in page
    assert "| `order` | choice | `ABCD` | `ABCD`, `CDAB` | Byte order. |" in page
    assert "| `outbox` | path | `run/outbox.db` |  | Where readings wait. |" in page
    assert "| `limit` | whole number or choice | `none` | `none` | How many rows the outbox may hold. |" in page
    assert "| `tags` | list of sections | required | at least 1 | What is read. |" in page


def test_the_reference_has_a_heading_for_every_section_and_each_member_of_a_union() -> None:
    headings = [line for line in reference_text({"workshop": Workshop}).splitlines() if line.startswith("#")]
    assert headings == [
        "# Settings",
        "## workshop",
        "### `devices[]` with `driver: modbus` · 设备",
        "### `devices[].tags[]` · 点位",
        "### `devices[]` with `driver: opcua` · 设备",
        "### `rules.NAME`",
        "### `store` · 存储",
    ]


class Slow(Settings):
    """It takes its time."""

    kind: Literal["delay", "jitter", "trickle"]
    """How."""
    order: Literal["first", "last"] = "first"
    """Not what it is told by."""


class Dead(Settings):
    """It says nothing."""

    kind: Literal["drop"]
    """Always drop."""


class Script(Settings):
    """What goes wrong."""

    faults: tuple[Annotated[Slow | Dead, Field(discriminator="kind")], ...] = ()
    """In what order."""


def test_a_member_of_a_union_that_has_several_kinds_is_headed_by_all_of_them() -> None:
    headings = [line for line in reference_text({"script": Script}).splitlines() if line.startswith("### ")]
    assert headings == ["### `faults[]` with `kind:` `delay`, `jitter` or `trickle`", "### `faults[]` with `kind: drop`"]
