"""Device profiles: templates with parameters, drawn into a settings file before it is checked.

A device with the key `profile` becomes what the profile's `device` says, with its parameters filled in and the operator's own
keys on top; the profile's `calculated` and `derived` entries join the file's. Every node keeps the line and file it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from config.composer import compose
from config.problems import ConfigError, Location
from config.profiling import ProfileSettings
from config.text import read_text
from config.tree import Branch, FarLine, Fault, Node, Scalar
from config.wording import did_you_mean

SHIPPED = Path(__file__).parent / "profiles"
"""The profiles that come with the program."""
_LISTS = ("calculated", "derived")
_WHOLE = re.compile(r"\$([a-z][a-z0-9_]*)(?:\s*([+*-])\s*([0-9]+(?:\.[0-9]+)?))?")
_WITHIN = re.compile(r"\$(\$|[a-z][a-z0-9_]*)")


def expand(root: Node, folder: Path) -> tuple[Node, list[Fault], list[Location]]:
    """Draw every profile in.

    Args:
        root: a section; its key `profiles` may name a folder of profiles that stands before the shipped ones.
        folder: from which that path counts.

    Returns:
        The tree without the key `profile`, what is wrong, and the paths of devices of which nothing could be made.
    """
    devices = root.value.get("devices") if isinstance(root.value, dict) else None
    if devices is None or not isinstance(devices.node.value, list):
        return root, [], []
    assert isinstance(root.value, dict)
    if not any(isinstance(item.node.value, dict) and "profile" in item.node.value for item in devices.node.value):
        return root, [], []
    drawing = _Drawing(root, _folders(root, folder))
    items = [drawing.device(index, item) for index, item in enumerate(devices.node.value)]
    section = dict(root.value)
    section["devices"] = devices._replace(node=Node(devices.node.line, items))
    for name in _LISTS:
        if drawing.lists[name]:
            line = section[name].line if name in section else devices.line
            section[name] = Branch(name, line, Node(line, drawing.lists[name]))
    return Node(root.line, section), drawing.faults, drawing.lost


def known_profiles(folders: list[Path]) -> dict[str, Path]:
    """The profiles' files by name; of two with one name, that in the earlier folder."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            found.setdefault(path.stem, path)
    return found


def read_profile(path: Path) -> tuple[Node, ProfileSettings]:
    """A profile, as a tree and checked.

    Raises:
        ConfigError: with the profile's own lines.
    """
    from config.documents import load

    settings = load(path, ProfileSettings)
    root, _ = compose(read_text(path))
    assert root is not None
    return root, settings


def _folders(root: Node, folder: Path) -> list[Path]:
    written = root.value.get("profiles") if isinstance(root.value, dict) else None
    own = written.node.value if written is not None else None
    return [*([folder / own] if isinstance(own, str) else []), SHIPPED]


class _Drawing:
    """The profiles of one file, as they are drawn in."""

    def __init__(self, root: Node, folders: list[Path]) -> None:
        self.faults: list[Fault] = []
        self.lost: list[Location] = []
        self.lists: dict[str, list[Branch]] = {}
        self._known = known_profiles(folders)
        self._read: dict[Path, tuple[Node, ProfileSettings]] = {}
        for name in _LISTS:
            branch = root.value.get(name) if isinstance(root.value, dict) else None
            written = branch.node.value if branch is not None else None
            self.lists[name] = list(written) if isinstance(written, list) else []

    def device(self, index: int, item: Branch) -> Branch:
        """A device as it is after its profile, if it has one, was drawn in."""
        written = item.node.value
        if not isinstance(written, dict) or "profile" not in written:
            return item
        here: Location = ("devices", index)
        named = written["profile"]
        path = self._known.get(str(named.node.value))
        if path is None:
            hint = did_you_mean(str(named.node.value), self._known) or f"there are {', '.join(sorted(self._known))}"
            return self._lose(item, Fault(named.line, (*here, "profile"), f"there is no profile {named.node.value!r}", hint))
        try:
            root, profile = self._read.setdefault(path, read_profile(path)) if path not in self._read else self._read[path]
        except ConfigError as error:
            for problem in error.problems:
                line = FarLine(problem.line, problem.file, (), (), named.line)
                self.faults.append(Fault(line, (problem.field,) if problem.field else (), problem.message, problem.suggestion))
            return self._lose(item)
        values = self._values(profile, written.get("parameters"), here, item.line)
        if values is None:
            return self._lose(item)
        filling = _Filling(path, values, named.line)
        self._join(root, filling, written)
        drawn = filling.section(root, "device", here)
        section = {**drawn, **{key: branch for key, branch in written.items() if key not in ("profile", "parameters", "tags")}}
        own_tags = written["tags"].node.value if "tags" in written else []
        if "tags" in drawn and isinstance(drawn["tags"].node.value, list) and isinstance(own_tags, list):
            node = Node(drawn["tags"].node.line, [*drawn["tags"].node.value, *own_tags])
            section["tags"] = drawn["tags"]._replace(node=node)
        self.faults += filling.faults
        return item._replace(node=Node(item.node.line, section))

    def _lose(self, item: Branch, fault: Fault | None = None) -> Branch:
        self.faults += [fault] if fault is not None else []
        self.lost.append(("devices", int(item.key)))
        return item

    def _values(self, profile: ProfileSettings, given: Branch | None, here: Location, line: int) -> dict[str, Scalar] | None:
        """The parameters' values; None when there is something wrong with them."""
        before = len(self.faults)
        written = given.node.value if given is not None else {}
        if given is not None and not isinstance(written, dict):
            self.faults.append(Fault(given.line, (*here, "parameters"), "must be a section, lines of `key: value`"))
            return None
        assert isinstance(written, dict)
        for name, branch in written.items():
            where = (*here, "parameters", name)
            known = profile.parameters.get(name)
            if known is None:
                hint = did_you_mean(name, profile.parameters) or f"it has {', '.join(profile.parameters) or 'none'}"
                self.faults.append(Fault(branch.line, where, f"profile {profile.profile!r} has no such parameter", hint))
            elif (what := known.refusal(branch.node.value)) is not None:
                self.faults.append(Fault(branch.line, where, what, known.description))
        values: dict[str, Scalar] = {}
        for name, known in profile.parameters.items():
            if name in written:
                value = written[name].node.value
                values[name] = value if not isinstance(value, dict | list) else None
                continue
            values[name] = known.default
            if known.default is None and not known.optional:
                at = given.line if given is not None else line
                what = f"profile {profile.profile!r} needs it"
                self.faults.append(Fault(at, (*here, "parameters", name), what, known.description))
        return values if len(self.faults) == before else None

    def _join(self, root: Node, filling: _Filling, written: Mapping[str, Branch]) -> None:
        """The profile's calculated and derived tags."""
        name = written.get("name")
        for list_name in _LISTS:
            for item in filling.items(root, list_name, len(self.lists[list_name])):
                assert isinstance(item.node.value, dict)
                owner = {"device": name._replace(key="device")} if name is not None else {}
                self.lists[list_name].append(item._replace(node=Node(item.node.line, {**owner, **item.node.value})))


class _Filling:
    """A profile's tree with the parameters filled in."""

    def __init__(self, path: Path, values: Mapping[str, Scalar], drawn_at: int) -> None:
        self.faults: list[Fault] = []
        self._path = path
        self._values = values
        self._drawn_at = drawn_at

    def section(self, root: Node, key: str, at: Location) -> dict[str, Branch]:
        """A section of the profile, which comes to stand at `at`."""
        assert isinstance(root.value, dict)
        filled = self._fill(root.value[key].node, (key,), at)
        return filled.value if isinstance(filled.value, dict) else {}

    def items(self, root: Node, key: str, first: int) -> list[Branch]:
        """The items of a list of the profile, which come to stand from index `first` on."""
        assert isinstance(root.value, dict)
        written = root.value[key].node.value if key in root.value else []
        found: list[Branch] = []
        for place, item in enumerate(written if isinstance(written, list) else []):
            at: Location = (key, first + len(found))
            filled = self._fill(item.node, (key, place), at)
            if self._is_wanted(filled):
                found.append(Branch(first + len(found), self._line(item.line, (key, place), at), _without_condition(filled)))
        return found

    def _fill(self, node: Node, inner: Location, at: Location) -> Node:
        line = self._line(node.line, inner, at)
        if isinstance(node.value, dict):
            section = {
                key: Branch(key, self._line(one.line, (*inner, key), (*at, key)), self._fill(one.node, (*inner, key), (*at, key)))
                for key, one in node.value.items()
            }
            return Node(line, section)
        if isinstance(node.value, list):
            items: list[Branch] = []
            for place, one in enumerate(node.value):
                where = (*inner, place), (*at, len(items))
                filled = self._fill(one.node, *where)
                if self._is_wanted(filled):
                    items.append(Branch(len(items), self._line(one.line, *where), _without_condition(filled)))
            return Node(line, items)
        return Node(line, self._scalar(node.value, line, at) if isinstance(node.value, str) else node.value)

    def _line(self, line: int, inner: Location, at: Location) -> FarLine:
        return FarLine(line, self._path, inner, at, self._drawn_at)

    def _is_wanted(self, node: Node) -> bool:
        condition = node.value.get("only_if") if isinstance(node.value, dict) else None
        return condition is None or not any(condition.node.value is nothing for nothing in (None, False))

    def _scalar(self, text: str, line: FarLine, at: Location) -> Scalar:
        whole = _WHOLE.fullmatch(text)
        if whole is None:
            return _WITHIN.sub(lambda found: "$" if found[1] == "$" else _shown(self._value(found[1], line, at)), text)
        value = self._value(whole[1], line, at)
        if whole[2] is None or isinstance(value, str | bool | None):
            return value
        by = float(whole[3])
        result = {"+": value + by, "-": value - by, "*": value * by}[whole[2]]
        return round(result) if isinstance(value, int) and by == int(by) else result

    def _value(self, name: str, line: FarLine, at: Location) -> Scalar:
        if name not in self._values:
            hint = did_you_mean(name, self._values) or f"it has {', '.join(self._values) or 'none'}"
            self.faults.append(Fault(line, at, f"the profile has no parameter {name!r}", hint))
        return self._values.get(name)


def _shown(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _without_condition(node: Node) -> Node:
    if not isinstance(node.value, dict) or "only_if" not in node.value:
        return node
    return Node(node.line, {key: branch for key, branch in node.value.items() if key != "only_if"})
