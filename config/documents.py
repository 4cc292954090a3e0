"""An operator's YAML file in, checked settings out; or every mistake in it, each with its line.

How YAML is read: see config/composer.py. Relative paths: see config.settings.FilePath.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from config.checking import check
from config.composer import Uncomposable, compose
from config.problems import ConfigError, Location, Problem
from config.text import read_text
from config.tree import FarLine, Fault, Node, dotted

M = TypeVar("M", bound=BaseModel)


@runtime_checkable
class Expanding(Protocol):
    """A settings model whose file may draw in others: see config/expansion.py."""

    @classmethod
    def expand(cls, root: Node, folder: Path) -> tuple[Node, list[Fault], list[Location]]:
        """The tree with everything drawn in, what is wrong with it, and the paths of which nothing could be made."""


def load(path: Path, model: type[M]) -> M:
    """Read a settings file.

    Args:
        path: a YAML file in UTF-8, at most config.text.MAX_FILE_BYTES long.
        model: the settings model of the whole file, a config.settings.Settings.

    Raises:
        ConfigError: it can't be used; names every mistake, in the order of the lines.
    """
    path = Path(path)
    try:
        root, faults = compose(read_text(path))
    except Uncomposable as error:
        raise ConfigError(_problems(path, error.faults)) from None
    if root is None or root.value is None:
        raise ConfigError([Problem(path, 0, "", "the file is empty", f"it must hold the settings of a {_noun(model)}")])
    if not isinstance(root.value, dict):
        whole = Fault(root.line, (), "the file must be a section, lines of `key: value`")
        raise ConfigError(_problems(path, [*faults, whole]))
    lost = [fault.location for fault in faults if fault.lost]
    kind: type = model
    if issubclass(kind, Expanding):
        root, more, without = kind.expand(root, path.absolute().parent)
        faults, lost = [*faults, *more], [*lost, *without]
    instance, found = check(root, lost, model, path.absolute().parent)
    if instance is None or faults or found:
        raise ConfigError(_problems(path, [*faults, *found]))
    return instance


def _problems(path: Path, faults: Iterable[Fault]) -> list[Problem]:
    """Sorted by line; each once."""
    ordered = sorted(faults, key=lambda fault: (_own_line(fault), fault.line, dotted(fault.location)))
    return list(dict.fromkeys(_problem(path, fault) for fault in ordered))


def _own_line(fault: Fault) -> int:
    return fault.line.drawn_at if isinstance(fault.line, FarLine) else fault.line


def _problem(path: Path, fault: Fault) -> Problem:
    line = fault.line
    if not isinstance(line, FarLine):
        return Problem(path, line, dotted(fault.location), fault.message, fault.suggestion)
    drawn = f"drawn in by {path}:{line.drawn_at}"
    hint = drawn if fault.suggestion is None else f"{fault.suggestion}; {drawn}"
    field = str(fault.location[0]) if not line.at and fault.location else dotted(line.location(fault.location))
    return Problem(line.file, int(line), field, fault.message, hint)


def _noun(model: type[BaseModel]) -> str:
    return model.__name__.removesuffix("Settings").lower() or "program"
