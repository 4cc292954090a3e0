"""Bodies of the requests and answers about templates."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from idnode.enterprise import Name
from idnode.pattern import MOST_CHARACTERS
from idnode.template import (
    FIRST_INDEX,
    LAST_INDEX,
    MOST_CHOICES,
    MOST_ITEMS,
    MOST_PLACES,
    Choice,
    Item,
    Kind,
    Template,
    TemplateState,
)
from idnode.web.models import Body, NameBody, TemplateName

_Bound = Annotated[str, StringConstraints(max_length=40)]


class ChoiceBody(Body):
    """A value that an enum has, and its name."""

    value: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    name: NameBody


class ItemBody(Body):
    """One item: what the values at its index are. docs/identifiers.md has the rules."""

    index: int = Field(ge=FIRST_INDEX, le=LAST_INDEX)
    type: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
    name: NameBody
    kind: Annotated[Kind, Field(strict=False)]
    required: bool = False
    places: int = Field(1, ge=1, le=MOST_PLACES)
    """How many values it may have, at the indexes that follow."""
    least: _Bound | None = None
    """Integer, decimal, date: written as such a value."""
    most: _Bound | None = None
    shortest: int | None = Field(None, ge=0)
    """Text: characters."""
    longest: int | None = Field(None, ge=0)
    pattern: Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)] | None = None
    """Text: a regular expression that the whole text fits."""
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,3}$")] | None = None
    """Integer, decimal: UN/CEFACT code."""
    choices: list[ChoiceBody] = Field(default_factory=list, max_length=MOST_CHOICES)
    disabled: bool = False
    """It takes no values any more."""

    def as_item(self) -> Item:
        """In the domain's form."""
        fields = self.model_dump(exclude={"name", "kind", "choices"})
        choices = tuple(Choice(each.value, _name(each.name)) for each in self.choices)
        return Item(**fields, name=_name(self.name), kind=self.kind, choices=choices)


class TemplateOrder(Body):
    """A draft, in the place of the one before."""

    prefix: str
    """Whose identifiers it is for."""
    name: TemplateName
    version: int | None = Field(None, ge=1)
    """The one that is meant to be written; refused when it isn't the next. Without it whatever is next."""
    title: NameBody
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=MOST_ITEMS)]

    def as_template(self, owner: str, version: int) -> Template:
        """In the domain's form: a draft."""
        return Template(owner, self.name, version, _name(self.title), tuple(item.as_item() for item in self.items))


def _name(body: NameBody) -> Name:
    return Name(body.zh, body.en)


class TemplateHead(BaseModel):
    """A version of a template, without its items."""

    prefix: str
    name: str
    version: int
    state: TemplateState
    title: NameBody


class TemplateAnswer(TemplateHead):
    """A version of a template."""

    items: list[ItemBody]


def head_of(template: Template) -> TemplateHead:
    """A template's head, as it is answered."""
    title = NameBody(zh=template.title.zh, en=template.title.en)
    return TemplateHead(prefix=template.owner, name=template.name, version=template.version, state=template.state, title=title)


def answer_of(template: Template) -> TemplateAnswer:
    """A template as it is answered."""
    return TemplateAnswer(
        **head_of(template).model_dump(exclude={"title"}), title=head_of(template).title, items=[*map(_item, template.items)]
    )


def _item(item: Item) -> ItemBody:
    fields = {name: getattr(item, name) for name in item.__struct_fields__ if name not in ("name", "choices")}
    choices = [ChoiceBody(value=each.value, name=NameBody(zh=each.name.zh, en=each.name.en)) for each in item.choices]
    return ItemBody(**fields, name=NameBody(zh=item.name.zh, en=item.name.en), choices=choices)
