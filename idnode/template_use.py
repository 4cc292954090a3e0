"""Registrations held against the templates that they name."""

from __future__ import annotations

from collections.abc import Iterable

from idnode.record import HandleValue, TemplateUse
from idnode.store.base import Templates
from idnode.template import Mistake, Template, TemplateState
from idnode.template_check import Check


class Inspector:
    """Reads each template once: made for one request or one piece of a job, and thrown away."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._known: dict[tuple[str, TemplateUse], tuple[TemplateState | None, Check | None]] = {}

    async def mistakes(
        self, owner: str, use: TemplateUse | None, values: Iterable[HandleValue], kept: TemplateUse | None = None
    ) -> list[Mistake]:
        """What is wrong with values by the template that they name; nothing when they name none.

        Args:
            owner: the prefix whose template it is.
            kept: what a record names that is there already: it may go on with a template that is withdrawn by now.
        """
        if use is None:
            return []
        key = (owner, use)
        if key not in self._known:
            template = await self._templates.template(owner, use.name, use.version)
            self._known[key] = (None, None) if template is None else (template.state, _check(template))
        state, check = self._known[key]
        if state is None:
            return [Mistake(None, f"there is no version {use.version} of a template {use.name}")]
        if check is None or (state is TemplateState.WITHDRAWN and use != kept):
            return [Mistake(None, f"version {use.version} of {use.name} is {state}")]
        return check.mistakes(values)


def _check(template: Template) -> Check | None:
    """A draft has none: it may be wrong."""
    return None if template.state is TemplateState.DRAFT else Check(template)
