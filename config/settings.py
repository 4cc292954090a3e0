"""The base of every settings model, the cross-check that it may define, and the types that operators write most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationInfo

from config.problems import Location


class Settings(BaseModel):
    """A section of an operator's YAML file.

    Unknown keys are refused and values are frozen once read. Fields carry their unit in the name (`_s`, `_ms`, `_bytes`), a
    default, a range and one sentence of description: the reference page and the JSON Schema are generated from them.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        # A default that is a section gets its FilePaths resolved like one that was written.
        revalidate_instances="always",
        allow_inf_nan=False,
    )
    other_words: ClassVar[Mapping[str, str]] = {}
    """Names that keys have elsewhere ("slave"), each with what to write here; only for the message on an unknown key."""


Mistake = tuple[Location, str, str | None]
"""(where, relative to the section; what is wrong; what mends it). The location names fields, and list items by index."""


@runtime_checkable
class CrossChecked(Protocol):
    """A Settings subclass that checks its fields against each other. config.documents.load() asks every section of a file."""

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong though each field by itself is right, e.g. ("tags", 2, "address"), "overlaps ...", None.

        Also called on a section from which load() has cut what was invalid: it must not assume that a list is complete.
        """


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
"""A name that is safe in a topic, a file name and a URL: letters, digits, `_`, `-`, `.`; at most 64."""


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


FilePath = Annotated[Path, AfterValidator(_from_folder)]
"""A path to a file or folder. A relative one, a default too, counts from the folder of the settings file that names it.

load() passes that folder as validation context {"folder": Path}; a model that is made without a context keeps the path as given.
Use it for every path that an operator writes. The file needn't exist.
"""
