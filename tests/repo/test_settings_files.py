"""Every sample loads, and what is generated from the models is fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from config.composer import compose
from config.documents import load
from config.schema import schema
from config.settings import Settings
from config.tree import plain
from tests.repo import tree
from tests.repo.generated import MODELS, expected

SAMPLES = [path for path in tree.files() if path.parts[:2] == ("config", "samples") and path.suffix in (".yaml", ".yml")]


def component_of(sample: Path) -> str:
    """gateway for gateway.yaml, gateway-small.yaml and gateway/small.yaml."""
    return sample.parts[2].partition(".")[0].partition("-")[0]


def test_there_is_a_sample_of_every_component() -> None:
    assert {component_of(sample) for sample in SAMPLES} == set(MODELS)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_sample_loads_and_passes_its_schema(sample: Path) -> None:
    model = MODELS[component_of(sample)]
    assert isinstance(load(tree.ROOT / sample, model), Settings)
    root, _ = compose(tree.text(sample))
    assert root is not None
    Draft202012Validator(schema(model)).validate(plain(root))


@pytest.mark.parametrize("path", [Path("docs/settings.md"), *(Path(f"config/schemas/{name}.json") for name in MODELS)], ids=str)
def test_a_generated_file_is_fresh(path: Path) -> None:
    assert (tree.ROOT / path).is_file(), "run `make docs`"
    assert tree.text(path) == expected()[path], "the models have changed: run `make docs`"


def described(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    target = definitions.get(str(field.get("$ref")).rpartition("/")[2], {})
    return str(field.get("description") or target.get("description", "")).strip()


@pytest.mark.parametrize("component", list(MODELS))
def test_every_setting_is_described_in_a_sentence(component: str) -> None:
    written = schema(MODELS[component])
    definitions = written.get("$defs", {})
    sections = {"": written, **definitions}
    fields = {f"{name}.{key}": field for name, part in sections.items() for key, field in part.get("properties", {}).items()}
    # A field that says the same as its section leaves the words to it.
    said = {name: described(field, definitions) for name, field in fields.items()}
    assert not [name for name, sentence in said.items() if not sentence.endswith((".", ")"))]
