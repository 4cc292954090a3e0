"""A document as a tree that remembers its lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from config.problems import Location

Scalar = str | int | float | bool | None


class FarLine(int):
    """A line of another file that was drawn into this one."""

    def __new__(cls, line: int, file: Path, inner: Location, at: Location, drawn_at: int) -> FarLine:
        """`line` of `file`.

        Args:
            inner: where in that file.
            at: where in the document that it was drawn into.
            drawn_at: the line of this document that asked for it.
        """
        self = super().__new__(cls, line)
        self.file, self.inner, self.at, self.drawn_at = file, inner, at, drawn_at
        return self

    file: Path
    inner: Location
    at: Location
    drawn_at: int

    def location(self, location: Location) -> Location:
        """A location of the document as one of that file."""
        depth = len(self.at)
        return (*self.inner, *location[depth:]) if location[:depth] == self.at else self.inner or location


@dataclass(slots=True)
class Node:
    """A scalar, a list or a section. An anchored node is shared by its aliases, so nodes are never changed, only replaced."""

    line: int
    """1-based."""
    value: Scalar | list[Branch] | dict[str, Branch]
    size: int = 1
    """How many nodes it comes to when every alias is written out."""


class Branch(NamedTuple):
    """A child: under a list index, or under the name by which a section knows it."""

    key: str | int
    """Key or index as the file has it. It differs from the child's present place once a neighbour is cut or a name mended."""
    line: int
    """Where the key stands, or the list item begins."""
    node: Node


class Place(NamedTuple):
    """What a path leads to."""

    path: Location
    """By the tree's present places: good for edit() and for walking the data that plain() gives."""
    location: Location
    """By the file's own keys and indexes: good for people."""
    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake at a place of the document."""

    line: int
    location: Location
    """By the file's own keys and indexes."""
    message: str
    suggestion: str | None = None
    lost: bool = False
    """The value at `location` couldn't be read and isn't in the tree."""


def plain(node: Node) -> object:
    """The data alone: dict, list and scalars; nothing is shared."""
    if isinstance(node.value, dict):
        return {name: plain(branch.node) for name, branch in node.value.items()}
    if isinstance(node.value, list):
        return [plain(branch.node) for branch in node.value]
    return node.value


def child(node: Node, part: str | int) -> Branch | None:
    """The child under a key or an index; None where there is none."""
    if isinstance(node.value, dict) and isinstance(part, str):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part]
    return None


def root_place(root: Node) -> Place:
    """The top of the document."""
    return Place((), (), 1, root)


def step(place: Place, part: str | int) -> Place | None:
    """One level down; None where the document ends."""
    branch = child(place.node, part)
    if branch is None:
        return None
    return Place((*place.path, part), (*place.location, branch.key), branch.line, branch.node)


def reach(place: Place, part: str | int) -> Place:
    """One level down; where the document ends, a place of no content that has the line of what it would belong to."""
    return step(place, part) or Place((*place.path, part), (*place.location, part), place.line, Node(place.line, None))


def names(node: Node) -> Iterator[str]:
    """What a node, or a section within it, calls itself: every `name` and `id`."""
    if isinstance(node.value, dict):
        for key, branch in node.value.items():
            if key in ("name", "id") and isinstance(branch.node.value, str):
                yield branch.node.value
            else:
                yield from names(branch.node)
    elif isinstance(node.value, list):
        for branch in node.value:
            yield from names(branch.node)


def edit(root: Node, cut: Iterable[Location], rename: Mapping[Location, str]) -> Node:
    """A tree without the paths `cut`, and with the keys at the paths `rename` under another name; the old one stays as it was.

    Paths are those of the tree given. A cut path may lie below another.
    """
    gone = set(cut)
    touched = {path[:depth] for path in (*gone, *rename) for depth in range(len(path))}

    def rebuild(node: Node, path: Location) -> Node:
        if path not in touched:
            return node
        if isinstance(node.value, dict):
            section: dict[str, Branch] = {}
            for name, branch in node.value.items():
                here = (*path, name)
                if here not in gone:
                    section[rename.get(here, name)] = branch._replace(node=rebuild(branch.node, here))
            return Node(node.line, section, node.size)
        if isinstance(node.value, list):
            kept = [(index, branch) for index, branch in enumerate(node.value) if (*path, index) not in gone]
            items = [branch._replace(node=rebuild(branch.node, (*path, index))) for index, branch in kept]
            return Node(node.line, items, node.size)
        return node

    return rebuild(root, ())


def dotted(location: Location) -> str:
    """Write a location as people do: devices[0].tags[2].address."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "").replace("-", "").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text
