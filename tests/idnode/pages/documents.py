"""Pages as documents: parsed, and asked for what they hold."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from idnode.web.pages.language import Language
from idnode.web.pages.model import Choice, ProductPage
from idnode.web.pages.rendering import (
    render_bad_identifier,
    render_barred,
    render_choice,
    render_forbidden,
    render_home,
    render_not_found,
    render_product,
    render_unavailable,
    render_withdrawn,
)
from tests.idnode.pages.products import HOSTILE, LONG, NODE, ORDINARY, PRODUCTS, SCRIPT

Render = Callable[[Language], str]
VOID = frozenset({"meta", "input", "wbr", "link", "br", "img"})


CHOICES = [Choice("产品信息", "https://example.cn/zh", "zh"), Choice("Product", "https://example.cn/en")]
HOSTILE_CHOICES = [Choice(SCRIPT, "https://example.cn/?a=1&b=%22", SCRIPT), Choice("t", "javascript:alert(1)")]
SWITCH = {each: f"/01/09506000134352?linkType=gs1%3Apip&lang={each}" for each in Language}


def _product(page: ProductPage) -> Render:
    return lambda language: render_product(page, language)


PAGES: dict[str, Render] = {
    **{f"product-{name}": _product(page) for name, page in PRODUCTS.items()},
    "home": lambda language: render_home(NODE, language),
    "home-hostile": lambda language: render_home(HOSTILE.node, language),
    "not-found": lambda language: render_not_found(ORDINARY.handle, language, NODE),
    "not-found-hostile": lambda language: render_not_found(HOSTILE.handle, language, HOSTILE.node),
    "not-found-long": lambda language: render_not_found(LONG.handle, language, NODE),
    "forbidden": lambda language: render_forbidden(ORDINARY.handle, language, NODE),
    "forbidden-hostile": lambda language: render_forbidden(HOSTILE.handle, language, HOSTILE.node),
    "barred": lambda language: render_barred(ORDINARY.handle, "", language, NODE),
    "barred-hostile": lambda language: render_barred(HOSTILE.handle, SCRIPT, language, HOSTILE.node),
    "unavailable": lambda language: render_unavailable(ORDINARY.handle, 503, SWITCH, language, NODE),
    "unavailable-hostile": lambda language: render_unavailable(HOSTILE.handle, 503, SWITCH, language, HOSTILE.node),
    "choice": lambda language: render_choice(ORDINARY.handle, CHOICES, SWITCH, language, NODE),
    "choice-hostile": lambda language: render_choice(HOSTILE.handle, HOSTILE_CHOICES, SWITCH, language, HOSTILE.node),
    "retired": lambda language: render_withdrawn(ORDINARY.handle, language, NODE, "scrapped", for_ever=True),
    "retired-hostile": lambda language: render_withdrawn(HOSTILE.handle, language, HOSTILE.node, SCRIPT, for_ever=True),
    "suspended": lambda language: render_withdrawn(LONG.handle, language, NODE, None, for_ever=False),
    "bad-identifier": lambda language: render_bad_identifier("P00000001", language, NODE),
    "bad-identifier-hostile": lambda language: render_bad_identifier(SCRIPT * 9, language, NODE),
}
"""Every kind of page, with ordinary and with hostile content."""


class _Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.mistakes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.mistakes.append(f"<{tag}> repeats an attribute")
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Self-closing: as HTML reads it, only void elements and those of a drawing may be."""
        if tag not in VOID and "svg" not in self.open:
            self.mistakes.append(f"<{tag} /> doesn't close itself in HTML")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"</{tag}> closes nothing")


def nesting_mistakes(page: str) -> list[str]:
    """What an HTML parser would have to mend."""
    parser = _Nesting()
    parser.feed(page)
    parser.close()
    return parser.mistakes + [f"<{tag}> is never closed" for tag in parser.open]


def parse(page: str) -> ET.Element:
    """The page as XML, names without their namespace."""
    root = ET.fromstring(page)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def text_of(element: ET.Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def facts(root: ET.Element) -> dict[str, str]:
    """What the definition lists say."""
    return {text_of(row.find("dt")): text_of(row.find("dd")) for row in root.iterfind(".//dl/div")}


def table_rows(root: ET.Element) -> list[list[str]]:
    return [[text_of(cell) for cell in row] for row in root.iterfind(".//tbody/tr")]
