"""A document against its model: everything that is wrong with it, not only the first thing.

What pydantic refuses is cut out of the document (a misspelt key is taken for the one that was meant) and the rest is
validated again, until a model stands whose sections can be asked for their own mistakes. What such a cut may itself have
caused is not reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from config import wording
from config.places import boolean_numbers, discriminator, find, lacking, locate, mistakes, sections, to_cut
from config.problems import Location
from config.sections import choices_of, key_of, keys, models_at
from config.tree import Fault, Node, Place, child, edit, names, plain, root_place

M = TypeVar("M", bound=BaseModel)

_MAX_ROUNDS = 10
"""A cut climbs one level in a round: enough for a required value ten levels deep."""


def check(root: Node, lost: Iterable[Location], model: type[M], folder: Path) -> tuple[M | None, list[Fault]]:
    """Validate a document.

    Args:
        root: a section.
        lost: locations whose values couldn't be read; already reported.
        model: what the document should be.
        folder: from which relative paths in the document count.

    Returns:
        The model, None where the document as a whole doesn't make one; and what is wrong, in no order. The model is good for use
        only if nothing is wrong.
    """
    document = _Document(root, model)
    document.cut(lost)
    context = {"folder": folder}
    instance = document.settle(model, context)
    checked = instance if instance is not None else document.settle(_without_required(model, document.root), context)
    document.ask(checked)
    return instance, document.faults


def _without_required(model: type[BaseModel], root: Node) -> type[BaseModel]:
    """A model of those fields of `model` that the document has, so that they can be checked though the whole can't stand."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = key_of(name, field)
        if child(root, key) is not None:
            kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            fields[name] = (kind, Field(default=None, validation_alias=key, discriminator=field.discriminator))
    return create_model(model.__name__, **fields)


class _Document:
    """What is left of a document while it is checked, what was found, and what was cut."""

    def __init__(self, root: Node, model: type[BaseModel]) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self._model = model
        self._lost: set[Location] = set()
        self._above_lost: set[Location] = set()  # every beginning of a lost location, itself included
        self._lost_names: set[str] = set()

    def settle(self, model: type[M], context: dict[str, Path]) -> M | None:
        """Validate, cutting what is invalid, until a model stands; None when the document's top itself can't."""
        for _ in range(_MAX_ROUNDS):
            try:
                return model.model_validate(plain(self.root), context=context)
            except ValidationError as error:
                if not self._take(error.errors(include_url=False)):
                    return None
        return None

    def ask(self, checked: BaseModel | None) -> None:
        """Have every section say what is wrong with it."""
        for section, place in sections(checked, root_place(self.root)):
            self.faults.extend(boolean_numbers(section, place))
            self.faults.extend(fault for fault, target in mistakes(section, place) if not self._caused_by_cut(fault, target))

    def cut(self, paths: Iterable[Location]) -> None:
        """Take values out of the document, and remember that they were there."""
        paths = list(paths)
        for path in paths:
            place = find(self.root, path)
            # By the name that was written and by the one that was meant.
            for location in (place.location, (*place.location[:-1], *path[-1:])):
                self._lost.add(location)
                self._above_lost.update(location[:depth] for depth in range(len(location) + 1))
            self._lost_names.update(names(place.node))
            if path[-1:] in (("name",), ("id",)) and isinstance(place.node.value, str):
                self._lost_names.add(place.node.value)
        self.root = edit(self.root, paths, {})

    def _take(self, errors: Sequence[ErrorDetails]) -> bool:
        """Report and cut what a validation found; False when the document's top can't stand."""
        found = [(error, locate(self.root, error)) for error in errors]
        found = [(error, place) for error, place in found if not _is_miscount(error, place)]
        rename, harmless = self._take_unknown(found)
        meant = {(*path[:-1], name) for path, name in rename.items()}
        by_target: dict[Location, list[tuple[ErrorDetails, Place]]] = {}
        for error, place in found:
            target = (*place.path, *lacking(error))
            if error["type"] != "extra_forbidden" and target not in meant:
                by_target.setdefault(target, []).append((error, place))
        deeper = {target[:depth] for target in by_target for depth in range(len(target))}
        for target, alternatives in by_target.items():
            self._report(alternatives, has_deeper=target in deeper)
        invalid = {to_cut(error, place) for alternatives in by_target.values() for error, place in alternatives}
        self.root = edit(self.root, harmless, rename)
        self.cut(invalid - {()})
        return () not in invalid

    def _take_unknown(self, found: Sequence[tuple[ErrorDetails, Place]]) -> tuple[dict[Location, str], list[Location]]:
        """Report unknown keys.

        Returns:
            The paths of those that are misspelt with what was meant, and of those that nobody will miss.
        """
        rename: dict[Location, str] = {}
        harmless: list[Location] = []
        meant: set[Location] = set()
        for error, place in found:
            if error["type"] == "union_tag_not_found":
                place = self._misspelt_tag(error, place) or root_place(self.root)
            elif error["type"] != "extra_forbidden":
                continue
            if not place.path:
                continue
            section, key = place.path[:-1], str(place.path[-1])
            models = models_at(self._model, self.root, section)
            word = next((words[key] for model in models if key in (words := getattr(model, "other_words", {}))), None)
            if word is not None:
                self.faults.append(Fault(place.line, place.location, "unknown key", word))
                harmless.append(place.path)
                continue
            known = keys(models)
            absent = [
                name for name in known if child(find(self.root, section).node, name) is None and (*section, name) not in meant
            ]
            match = wording.nearest(key, absent)
            suggestion = wording.unknown_key(key, [match] if match else known)
            self.faults.append(Fault(place.line, place.location, "unknown key", suggestion))
            if match:
                rename[place.path] = match
                meant.add((*section, match))
            else:
                harmless.append(place.path)
        return rename, harmless

    def _misspelt_tag(self, error: ErrorDetails, section: Place) -> Place | None:
        """The key that was probably meant for the discriminator that a section lacks."""
        known = keys(models_at(self._model, self.root, section.path))
        written = section.node.value if isinstance(section.node.value, dict) else {}
        match = wording.nearest(discriminator(error), [key for key in written if key not in known])
        return find(self.root, (*section.path, match)) if match else None

    def _report(self, alternatives: Sequence[tuple[ErrorDetails, Place]], *, has_deeper: bool) -> None:
        """Say what is wrong at one place; each member of an untagged union that doesn't fit has an error of its own."""
        error, place = alternatives[0]
        location = (*place.location, *lacking(error))
        if location in self._above_lost:
            return
        value = None if lacking(error) else plain(place.node)
        if has_deeper and isinstance(value, dict | list) and error["type"].endswith(("_type", "too_short")):
            # What is wrong within it is reported; that it isn't the union's other member, or short of items, is no news.
            return
        messages = list(dict.fromkeys(wording.message(error, value) for error, _ in alternatives))
        suggestions = [wording.suggestion(error, value) for error, _ in alternatives]
        suggestion = next((text for text in suggestions if text), None)
        if error["type"] == "union_tag_not_found":
            suggestion = wording.one_of(choices_of(models_at(self._model, self.root, place.path), discriminator(error)))
        self.faults.append(Fault(place.line, location, wording.either(messages), suggestion))

    def _caused_by_cut(self, fault: Fault, place: Place) -> bool:
        """Whether a section's own complaint may only be about what was cut from the document."""
        location = fault.location
        if any(location[:depth] in self._lost for depth in range(1, len(location) + 1)):
            return True  # it points into a lost value
        value = place.node.value
        if isinstance(value, dict) and any((*location, key) in self._lost for key in self._known(place)):
            return True  # the section fell back to a default
        if isinstance(value, list) and not value and location in self._above_lost:
            return True
        return isinstance(value, str) and value in self._lost_names and value in fault.message

    def _known(self, section: Place) -> list[str]:
        return keys(models_at(self._model, self.root, section.path))


def _is_miscount(error: ErrorDetails, place: Place) -> bool:
    """pydantic counts the valid items of a list only: one that is short because of an invalid item isn't short."""
    written = place.node.value
    return error["type"] == "too_short" and isinstance(written, list) and len(written) >= error["ctx"]["min_length"]
