"""Bodies of the requests and answers about templates, and the links of a record."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import BaseModel, Field, StringConstraints

from idnode.enterprise import Name
from idnode.links import MOST_LINKS, WrongLink, normal_links
from idnode.record import Link, TemplateUse
from idnode.template import LAST_INDEX, MOST_CHOICES, MOST_ITEMS, Choice, Item, Kind, Template, TemplateState
from idnode.web.body import Body, NameBody

Text = Annotated[str, StringConstraints(max_length=2048)]
TemplateName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
