"""What every store of the idnode keeps to with templates. A part of idnode_store_contract."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import pytest

from idnode.enterprise import Name
from idnode.store.base import NotThere, Store, TemplateFixed, TemplateRefused
from idnode.template import Item, Kind, Template, TemplateState

OWNER = "88.100.1"
FLOW = Item(2000, "FLOW", Name("流量", "Flow"), Kind.DECIMAL, required=True, least="0", unit="MQH")
NOTE = Item(2001, "NOTE", Name("备注", "Note"), Kind.TEXT)


def template(version: int = 1, name: str = "pump", owner: str = OWNER, items: tuple[Item, ...] = (FLOW, NOTE)) -> Template:
    return Template(owner, name, version, Name("水泵", "Pump"), items)


class TemplatesContract:
    """Templates."""

    async def test_a_draft_is_overwritten_and_what_is_published_never(self, store: Store) -> None:
        await store.put_template(template(items=(FLOW,)), "a", 1)
        draft = await store.put_template(template(), "a", 2)
        assert await store.template(OWNER, "pump", 1) == draft == template()
        published = await store.publish_template(OWNER, "pump", 1, "a", 3)
        assert published == msgspec.structs.replace(draft, state=TemplateState.PUBLISHED)
        with pytest.raises(TemplateFixed):
            await store.put_template(template(items=(FLOW,)), "a", 4)
        withdrawn = await store.withdraw_template(OWNER, "pump", 1, "a", 5)
        with pytest.raises(TemplateFixed):
            await store.put_template(template(), "a", 6)
        assert await store.template(OWNER, "pump", 1) == withdrawn
        assert withdrawn == msgspec.structs.replace(draft, state=TemplateState.WITHDRAWN)

    async def test_what_is_put_is_a_draft_whatever_it_says(self, store: Store) -> None:
        await store.put_template(msgspec.structs.replace(template(), state=TemplateState.PUBLISHED), "a", 1)
        assert await store.template(OWNER, "pump", 1) == template()

    async def test_what_cannot_be_published_is_refused_with_its_mistakes(self, store: Store) -> None:
        await store.put_template(template(items=(NOTE, NOTE)), "a", 1)
        with pytest.raises(TemplateRefused) as refusal:
            await store.publish_template(OWNER, "pump", 1, "a", 2)
        assert refusal.value.mistakes
        await store.put_template(template(), "a", 3)
        await store.publish_template(OWNER, "pump", 1, "a", 4)
        await store.put_template(template(2, items=(NOTE,)), "a", 5)
        with pytest.raises(TemplateRefused, match="FLOW is missing"):
            await store.publish_template(OWNER, "pump", 2, "a", 6)
        draft = await store.template(OWNER, "pump", 2)
        assert draft is not None
        assert draft.state is TemplateState.DRAFT

    async def test_only_what_is_published_is_withdrawn_and_only_once(self, store: Store) -> None:
        await store.put_template(template(), "a", 1)
        with pytest.raises(TemplateRefused):
            await store.withdraw_template(OWNER, "pump", 1, "a", 2)
        await store.publish_template(OWNER, "pump", 1, "a", 3)
        await store.withdraw_template(OWNER, "pump", 1, "a", 4)
        with pytest.raises(TemplateRefused):
            await store.withdraw_template(OWNER, "pump", 1, "a", 5)

    async def test_an_item_is_disabled_in_the_draft_or_in_the_next_version(self, store: Store) -> None:
        await store.put_template(template(), "a", 1)
        first = await store.disable_item(OWNER, "pump", 2001, "a", 2)
        assert (first.version, [item.disabled for item in first.items]) == (1, [False, True])
        published = await store.publish_template(OWNER, "pump", 1, "a", 3)
        second = await store.disable_item(OWNER, "pump", 2000, "a", 4)
        assert (second.version, second.state, [item.disabled for item in second.items]) == (2, TemplateState.DRAFT, [True, True])
        assert await store.templates(OWNER) == [published, second]
        with pytest.raises(TemplateRefused):
            await store.disable_item(OWNER, "pump", 2000, "a", 5)

    async def test_templates_are_listed_by_name_and_version(self, store: Store) -> None:
        made = [template(1, "b"), template(2, "a"), template(1, "a"), template(10, "a"), template(1, "a", "88.100.2")]
        for each in made:
            await store.put_template(each, "a", 1)
        listed = [(each.name, each.version) for each in await store.templates(OWNER)]
        assert listed == [("a", 1), ("a", 2), ("a", 10), ("b", 1)]
        assert await store.templates("88.100.2") == made[4:]

    async def test_an_unknown_template_is_none_and_becomes_nothing(self, store: Store) -> None:
        assert await store.template(OWNER, "pump", 1) is None
        assert await store.templates(OWNER) == []
        for act in (store.publish_template, store.withdraw_template):
            with pytest.raises(NotThere):
                await act(OWNER, "pump", 1, "a", 1)
        with pytest.raises(NotThere):
            await store.disable_item(OWNER, "pump", 2000, "a", 1)

    async def test_whoever_keeps_answers_hears_of_what_is_published_or_withdrawn(self, store: Store) -> None:
        heard: list[Collection[str] | None] = []
        store.watch(heard.append)
        await store.put_template(template(), "a", 1)
        assert heard == []
        await store.publish_template(OWNER, "pump", 1, "a", 2)
        await store.withdraw_template(OWNER, "pump", 1, "a", 3)
        assert heard == [None, None]
