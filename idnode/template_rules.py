"""What a template has to be, what its next version may change, and how a version goes from draft to published to withdrawn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from idnode.pattern import BadPattern, Pattern
from idnode.template import (
    FIRST_INDEX,
    LAST_INDEX,
    LONGEST_MATCHED,
    LONGEST_TEXT,
    MOST_CHOICES,
    MOST_ITEMS,
    MOST_PATTERNS,
    MOST_PLACES,
    Item,
    Kind,
    Mistake,
    Template,
    TemplateState,
    WrongTemplate,
)
from idnode.template_check import ORDERED, WrongValue, bounds, text_bounds

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_TYPE = re.compile(r"[!-~]{1,128}", re.ASCII)
_UNIT = re.compile(r"[A-Z0-9]{2,3}", re.ASCII)
_LONGEST_NAME = 200
_LONGEST_CHOICE = 200
_BELONGS: dict[str, tuple[Kind, ...]] = {
    "least": ORDERED,
    "most": ORDERED,
    "shortest": (Kind.TEXT,),
    "longest": (Kind.TEXT,),
    "pattern": (Kind.TEXT,),
    "unit": (Kind.INTEGER, Kind.DECIMAL),
}


def mistakes(template: Template) -> list[Mistake]:
    """What is wrong with a template by itself; nothing when it can be used."""
    if sum(item.pattern is not None for item in template.items) > MOST_PATTERNS:
        return [Mistake(None, f"at most {MOST_PATTERNS} items have a pattern")]
    found = [Mistake(None, reason) for reason in _of_whole(template)]
    for item in template.items:
        found += [Mistake(item.index, reason) for reason in _of_item(item)]
    return found


def _of_whole(template: Template) -> Iterator[str]:
    if _NAME.fullmatch(template.name) is None:
        yield "a name is 1 to 64 of a-z, 0-9, - and _, and begins with a letter or a digit"
    if template.version < 1:
        yield "versions count from 1"
    if not 0 < len(template.items) <= MOST_ITEMS:
        yield f"a template has 1 to {MOST_ITEMS} items"
    yield from _names(template.title.zh, template.title.en)
    for kind, times in Counter(item.type for item in template.items).items():
        if times > 1:
            yield f"two items are of type {kind}"
    ordered = sorted(template.items, key=lambda item: item.index)
    for one, other in pairwise(ordered):
        if other.index < one.index + one.places:
            yield f"the items at {one.index} and {other.index} share an index"


def _names(zh: str, en: str) -> Iterator[str]:
    if not all(name.strip() == name and 0 < len(name) <= _LONGEST_NAME and name.isprintable() for name in (zh, en)):
        yield f"names in zh and en are given, each of at most {_LONGEST_NAME} characters, without spaces around it"


def _of_item(item: Item) -> Iterator[str]:
    if not 1 <= item.places <= MOST_PLACES:
        yield f"an item has 1 to {MOST_PLACES} places"
    if not FIRST_INDEX <= item.index <= LAST_INDEX - item.places + 1:
        yield f"the indexes of items are {FIRST_INDEX} to {LAST_INDEX}"
    if _TYPE.fullmatch(item.type) is None:
        yield "a type is 1 to 128 visible ASCII characters"
    yield from _names(item.name.zh, item.name.en)
    for name, kinds in _BELONGS.items():
        if getattr(item, name) is not None and item.kind not in kinds:
            yield f"{name} is not for {item.kind}"
    if item.unit is not None and _UNIT.fullmatch(item.unit) is None:
        yield "a unit is a UN/CEFACT code, two or three of A-Z and 0-9"
    yield from _of_choices(item)
    yield from _of_bounds(item)


def _of_choices(item: Item) -> Iterator[str]:
    values = [choice.value for choice in item.choices]
    if item.kind is not Kind.ENUM:
        if values:
            yield f"choices are not for {item.kind}"
        return
    if not 0 < len(values) <= MOST_CHOICES:
        yield f"an enum has 1 to {MOST_CHOICES} choices"
    if len(set(values)) < len(values):
        yield "two choices have the same value"
    if not all(0 < len(value) <= _LONGEST_CHOICE and value.isprintable() and value.strip() == value for value in values):
        yield f"a choice has 1 to {_LONGEST_CHOICE} printable characters"
    for choice in item.choices:
        yield from _names(choice.name.zh, choice.name.en)


def _of_bounds(item: Item) -> Iterator[str]:
    try:
        least, most = bounds(item)
    except WrongValue as error:
        yield f"a bound is no value: {error}"
        return
    if least is not None and most is not None and most < least:
        yield "most is below least"
    if item.kind is Kind.TEXT:
        yield from _of_text(item)


def _of_text(item: Item) -> Iterator[str]:
    limit = LONGEST_TEXT if item.pattern is None else LONGEST_MATCHED
    if not all(0 <= bound <= limit for bound in (item.shortest, item.longest) if bound is not None):
        yield f"lengths are 0 to {limit}" + (", where there is a pattern" if item.pattern is not None else "")
    elif text_bounds(item)[1] < text_bounds(item)[0]:
        yield "longest is below shortest"
    if item.pattern is not None:
        try:
            Pattern(item.pattern)
        except BadPattern as error:
            yield f"the pattern can't be read: {error}"


def contradictions(old: Template, new: Template) -> list[Mistake]:
    """Where the next version would not take what the version before took; nothing when it may follow it.

    A record without mistakes by `old` has none by `new`, but for values of items that `new` disables: those stay in the records
    that have them, and are taken from none. Both are without mistakes of their own.
    """
    found = []
    if (new.owner, new.name) != (old.owner, old.name) or new.version != old.version + 1:
        found.append(Mistake(None, f"the version behind {old.version} of {old.name} is {old.version + 1}, of the same owner"))
    before = {item.index: item for item in old.items}
    now = {item.index: item for item in new.items}
    for index, item in before.items():
        if index not in now:
            found.append(Mistake(index, f"{item.type} is missing: an item is disabled, never taken out"))
        else:
            found += [Mistake(index, reason) for reason in _changes(item, now[index])]
    found += [
        Mistake(index, f"{item.type} is new and required: records that are there have none")
        for index, item in now.items()
        if index not in before and item.required and not item.disabled
    ]
    return found


def _changes(old: Item, new: Item) -> Iterator[str]:
    for name in ("type", "kind", "unit"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name} was {getattr(old, name)} and stays so"
    if new.places < old.places:
        yield f"it had {old.places} places, and keeps them"
    if new.required and not new.disabled and (old.disabled or not old.required):
        yield "it wasn't required: records that are there may have none"
    if old.kind is new.kind:
        yield from _narrowed(old, new)


def _narrowed(old: Item, new: Item) -> Iterator[str]:
    """Of a disabled item too, so that it takes what it took when it comes back."""
    if old.kind is Kind.TEXT:
        (shortest, longest), (least, most) = text_bounds(old), text_bounds(new)
        if least > shortest or most < longest:
            yield f"it took {shortest} to {longest} characters, and goes on to"
        if new.pattern is not None and new.pattern != old.pattern:
            yield "its pattern may be dropped, not changed or added"
    (least_before, most_before), (least_now, most_now) = bounds(old), bounds(new)
    if least_now is not None and (least_before is None or least_now > least_before):
        yield f"least was {old.least or 'open'}, and may only go down"
    if most_now is not None and (most_before is None or most_now < most_before):
        yield f"most was {old.most or 'open'}, and may only go up"
    gone = {choice.value for choice in old.choices} - {choice.value for choice in new.choices}
    if gone:
        yield f"choices may be added, not taken out: {', '.join(sorted(gone)[:10])}"


def published(template: Template, before: Template | None) -> Template:
    """A draft, published.

    Args:
        before: the version before it, published or withdrawn; None for the first.

    Raises:
        WrongTemplate: it is no draft, can't be used, or contradicts the version before.
    """
    if template.state is not TemplateState.DRAFT:
        raise WrongTemplate([Mistake(None, f"it is {template.state} already")])
    found = mistakes(template)
    if not found and before is not None:
        found = contradictions(before, template)
    if before is None and template.version != 1:
        found.append(Mistake(None, "the first version is 1"))
    if before is not None and before.state is TemplateState.DRAFT:
        found.append(Mistake(None, f"version {before.version} is a draft yet: publish that first"))
    if found:
        raise WrongTemplate(found)
    return msgspec.structs.replace(template, state=TemplateState.PUBLISHED)


def withdrawn(template: Template) -> Template:
    """A published version, withdrawn.

    Raises:
        WrongTemplate: it isn't published.
    """
    if template.state is not TemplateState.PUBLISHED:
        raise WrongTemplate([Mistake(None, f"only what is published is withdrawn; it is {template.state}")])
    return msgspec.structs.replace(template, state=TemplateState.WITHDRAWN)


def next_version(template: Template) -> Template:
    """A draft of the next version, as it is."""
    return msgspec.structs.replace(template, version=template.version + 1, state=TemplateState.DRAFT)


def without_item(template: Template, index: int) -> Template:
    """A draft in which an item is disabled: the draft itself, or the next version of what isn't one any more.

    Raises:
        WrongTemplate: no item begins at that index, or it is disabled already.
    """
    item = next((item for item in template.items if item.index == index), None)
    if item is None or item.disabled:
        raise WrongTemplate([Mistake(index, "no item begins here" if item is None else "the item is disabled already")])
    base = template if template.state is TemplateState.DRAFT else next_version(template)
    items = tuple(msgspec.structs.replace(each, disabled=True) if each is item else each for each in template.items)
    return msgspec.structs.replace(base, items=items)
