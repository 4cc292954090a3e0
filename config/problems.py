"""What is wrong with a file that an operator wrote, said so that the operator can mend it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Location = tuple[str | int, ...]
"""A path into the document: keys and list indexes, e.g. ("devices", 0, "tags", 2, "address")."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, where it stands, and what to do about it."""

    file: Path
    line: int
    """1-based; 0 when the file as a whole is meant."""
    field: str
    """Dotted path, e.g. devices[0].tags[2].address; empty for the whole file."""
    message: str
    suggestion: str | None = None
    """The nearest valid spelling or the step that mends it."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        field = f" {self.field}:" if self.field else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{where}:{field} {self.message}{hint}"


class ConfigError(Exception):
    """A file can't be used as it is; `problems` names every mistake that was found, in the order of its lines."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
