"""YAML text to a tree that keeps its lines, by the YAML 1.2 core schema (YAML 1.2.2, 10.3).

Built on PyYAML's events, not on its loader, so that nothing recurses, nothing is expanded, and every key keeps its line.
A plain scalar is null (`null`, `~`, nothing), a boolean (`true`, `false`), an integer (`10`, `0x1F`, `0o17`), a float
(`1.5`, `1e3`, `.inf`) or text; so `no`, `on`, `22:30` and `2026-11-24` are text, and `010` is ten. Keys are always text.
Anchors and aliases work; merge keys (`<<`), which YAML 1.2 doesn't have, don't.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from config.problems import Location
from config.tree import Branch, Fault, Node, Scalar

MAX_DEPTH = 50
"""Sections within sections."""
MAX_NODES = 2_000_000
"""Values in a document with every alias written out: some twenty times the largest gateway that we know."""

_CORE = "tag:yaml.org,2002:"
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,64}")
_OCTAL = re.compile(r"0o[0-7]{1,64}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,64}")
_TAGGED: dict[str | None, type | tuple[type, ...]] = {
    _CORE + "null": type(None),
    _CORE + "bool": bool,
    _CORE + "int": int,
    _CORE + "float": (float, int),
}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Uncomposable(Exception):
    """The text is no document. `faults` names the reason, and what was found wrong before it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def compose(text: str) -> tuple[Node | None, list[Fault]]:
    """Read one YAML document.

    Returns:
        The tree, None for a text that holds no document; and what is wrong with it although it could be read.

    Raises:
        Uncomposable: not YAML, more than one document, or beyond MAX_DEPTH or MAX_NODES.
    """
    composer = _Composer()
    # libyaml's parser is ten times as fast; PyYAML may have been built without it.
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise Uncomposable([*composer.faults, _explain(error, text)]) from None
    return composer.root, composer.faults


@dataclass(slots=True)
class _Open:
    """A list or section that isn't closed yet."""

    line: int
    value: list[Branch] | dict[str, Branch]
    anchor: str | None
    read: bool = True
    """False: its tag is unknown, so it won't be in the tree."""
    key: str | None = None
    key_line: int = 0
    skip: bool = False
    """The next value belongs to a key that stands there already."""


@dataclass(slots=True)
class _Composer:
    root: Node | None = None
    faults: list[Fault] = field(default_factory=list)
    _stack: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node] = field(default_factory=dict)
    _documents: int = 0
    _made: int = 0

    def take(self, event: Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(line, "a second document begins here; a settings file holds one", "remove the line `---`")
        elif isinstance(event, NodeEvent):
            self._made += 1
            if self._made > MAX_NODES:
                self._stop(line, f"more than {MAX_NODES} values", "split the file")
            self._take_node(event, line)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._close()

    def _take_node(self, event: NodeEvent, line: int) -> None:
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._take_key(event, line, top)
        elif isinstance(event, AliasEvent):
            self._add(line, self._referred(event, line))
        elif isinstance(event, ScalarEvent):
            node = self._scalar(event, line)
            if node is not None and event.anchor:
                self._anchors[event.anchor] = node
            self._add(line, node)
        elif isinstance(event, CollectionStartEvent):
            self._open(event, line)

    def _take_key(self, event: NodeEvent, line: int, section: _Open) -> None:
        if not isinstance(event, ScalarEvent):
            self._stop(line, "a key must be a plain word", "quote braces, brackets and asterisks that are meant as text")
        assert isinstance(section.value, dict)
        section.key, section.key_line = str(event.value), line
        first = section.value.get(section.key)
        section.skip = first is not None
        if first is not None:
            self._fault(line, f"stands here a second time; the first is in line {first.line}", "remove one of the two")

    def _open(self, event: CollectionStartEvent, line: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._stop(line, f"more than {MAX_DEPTH} levels deep", None)
        mapping = isinstance(event, MappingStartEvent)
        known = event.tag in (None, "!", _CORE + ("map" if mapping else "seq"))
        if not known:
            self._fault(line, f"the tag {_short_tag(event.tag)} isn't known", "remove it", lost=True)
        self._stack.append(_Open(line, {} if mapping else [], event.anchor, known))
        assert mapping or isinstance(event, SequenceStartEvent)

    def _close(self) -> None:
        done = self._stack.pop()
        children = done.value.values() if isinstance(done.value, dict) else done.value
        node = Node(done.line, done.value, 1 + sum(branch.node.size for branch in children))
        if node.size > MAX_NODES:
            self._stop(done.line, f"with its aliases written out it comes to more than {MAX_NODES} values", None)
        if done.anchor:
            self._anchors[done.anchor] = node
        self._add(done.line, node if done.read else None)

    def _add(self, line: int, node: Node | None) -> None:
        """Hang a finished value under what is open; None stands for one that couldn't be read."""
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            # A lost item leaves an empty one behind, so that the indexes of the others are those of the file.
            top.value.append(Branch(len(top.value), line, node or Node(line, None)))
            return
        assert top.key is not None
        if node is not None and not top.skip:
            top.value[top.key] = Branch(top.key, top.key_line, node)
        top.key = None

    def _referred(self, event: AliasEvent, line: int) -> Node | None:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            itself = any(part.anchor == event.anchor for part in self._stack)
            reason = "lies within the value that it names" if itself else "names no anchor above it"
            self._fault(line, f"*{event.anchor} {reason}", "quote it if it is meant as text", lost=True)
        return node

    def _scalar(self, event: ScalarEvent, line: int) -> Node | None:
        text = str(event.value)
        if event.implicit[0]:
            return Node(line, resolve(text))
        if event.implicit[1] or event.tag in ("!", _CORE + "str"):
            return Node(line, text)
        wanted = _TAGGED.get(event.tag)
        if wanted is None:
            self._fault(line, f"the tag {_short_tag(event.tag)} isn't known", "remove it, or quote the value", lost=True)
            return None
        value = resolve(text)
        if not isinstance(value, wanted):
            self._fault(line, f"{text!r} is no {_short_tag(event.tag)}", "remove the tag", lost=True)
            return None
        return Node(line, value)

    def _location(self) -> Location:
        parts = [part.key if isinstance(part.value, dict) else len(part.value) for part in self._stack]
        return tuple(part for part in parts if part is not None)

    def _fault(self, line: int, message: str, suggestion: str | None, *, lost: bool = False) -> None:
        self.faults.append(Fault(line, self._location(), message, suggestion, lost))

    def _stop(self, line: int, message: str, suggestion: str | None) -> NoReturn:
        raise Uncomposable([*self.faults, Fault(line, self._location(), message, suggestion)])


def resolve(text: str) -> Scalar:
    """What a plain scalar means in the core schema (YAML 1.2.2, 10.3.2)."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _short_tag(tag: str | None) -> str:
    return str(tag).replace(_CORE, "!!")


_PLAIN_WORDS = (
    (
        "mapping values are not allowed",
        "a key can't stand here",
        "indent it like its neighbours; if the colon belongs to a text, quote the text",
    ),
    ("unknown escape character", "a backslash within double quotes begins an escape", "write the text in single quotes"),
    ("document start", "there is text after the end of the document", "see whether a bracket is closed twice"),
    ("nesting depth", f"more than {MAX_DEPTH} levels deep", None),
    ("expected ':'", "no colon follows this key", "write `key: value`, with a space after the colon"),
    ("block sequence entries are not allowed", "a list item can't stand here", "begin the list in a line of its own"),
    ("alphabetic or numeric", "a lone `*` or `&` means an alias or anchor", "quote it if it is meant as text"),
)


def _explain(error: yaml.MarkedYAMLError, text: str) -> Fault:
    """Say in plain words what PyYAML complains of (its own words where we have none)."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    problem, context = str(error.problem), str(error.context)
    begun = error.context_mark.line + 1 if error.context_mark else line
    written = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return Fault(line, (), "a tab stands in the indentation; YAML indents with spaces only", "replace it by two spaces")
    if "cannot start any token" in problem and mark and mark.column < len(written):
        return Fault(line, (), f"a value can't begin with {written[mark.column]!r}", "quote the value")
    if "unexpected end of stream" in problem and "quoted" in context:
        return Fault(begun, (), "the quoted text that begins here has no closing quote")
    if "flow" in context and "expected ',' or" in problem:
        closing = "]" if "sequence" in context else "}"
        return Fault(begun, (), f"{closing!r} or a comma is missing in what begins here (noticed in line {line})")
    if "block" in context and "expected" in problem:
        return Fault(line, (), f"the indentation doesn't fit what begins in line {begun}", "indent it like its neighbours")
    for known, message, suggestion in _PLAIN_WORDS:
        if known in problem:
            return Fault(line, (), message, suggestion)
    return Fault(line, (), f"not YAML: {problem}")
