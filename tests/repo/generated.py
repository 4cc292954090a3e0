"""The files that are generated from the settings models: `python -m tests.repo.generated` (or `make docs`) writes them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from config.reference import reference_text
from config.schema import schema_text
from gateway.settings import GatewaySettings
from idnode.settings import IdnodeSettings
from simulators.settings import PlantSettings
from tests.repo.tree import ROOT

MODELS: dict[str, type[BaseModel]] = {"gateway": GatewaySettings, "idnode": IdnodeSettings, "plant": PlantSettings}
"""The settings file of each component; samples are named for them."""


def expected() -> dict[Path, str]:
    """What each generated file should hold, by its path relative to the root."""
    schemas = {Path(f"config/schemas/{name}.json"): schema_text(model) for name, model in MODELS.items()}
    return {Path("docs/settings.md"): reference_text(MODELS), **schemas}


def main() -> None:
    """Write them all."""
    for path, text in expected().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
