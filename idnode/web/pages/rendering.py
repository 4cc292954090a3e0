"""The pages for people, each one response: no script, nothing loaded from elsewhere.

Pure functions: what the node knows goes in, a whole HTML document comes out (UTF-8, well-formed XML too). Every value is taken
for hostile: it is escaped, isolated from the direction of the text around it, and cleared of what no document may hold.
Send every page with the header `Content-Security-Policy: {CONTENT_SECURITY_POLICY}` and as `text/html; charset=utf-8`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from idnode.web.pages import links
from idnode.web.pages.chart import draw_chart
from idnode.web.pages.figures import figures_of, write_count, write_figure
from idnode.web.pages.language import Language
from idnode.web.pages.model import Choice, CycleValue, ProductPage
from idnode.web.pages.moments import write_moment
from idnode.web.pages.phrases import PHRASES, phrases
from idnode.web.pages.quantities import label, unit_symbol

_STYLE = resources.files("idnode.web.pages").joinpath("templates", "style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page needs and nothing else (CSP Level 3): its one inline style, by hash, and a form that asks this node."""

EXAMPLE_HANDLE = "88.100.1/P00000001"
_LONGEST_TEXT = 600
"""Characters shown of one further value; the JSON has them all."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 (2.2) bars from documents, and the other control characters."""


def printable(value: object) -> object:
    """A text without the characters that no document may hold, each shown as U+FFFD; anything else as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


def breakable(text: str) -> Markup:
    """An address or a handle that may be broken after its slashes, before it is broken anywhere. Escaped; copies as it is."""
    return Markup("/<wbr />").join(str(printable(text)).split("/"))


_TEMPLATES = Environment(
    loader=PackageLoader("idnode.web.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=printable,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["breakable"] = breakable


@dataclass(frozen=True, slots=True)
class _Name:
    text: str
    tag: str
    """BCP 47, of the language that the name is in."""


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    unit: str
    samples: str
    cells: tuple[tuple[str, float] | None, ...]
    """Minimum, mean, maximum, last: as written, and exactly."""


@dataclass(frozen=True, slots=True)
class _Further:
    type: str
    text: str
    link: str | None
    shortened: bool


def render_product(page: ProductPage, language: Language) -> str:
    """The page of one product.

    `made_at` is shown in its own zone: convert it to the node's zone first.

    Raises:
        ValueError: made_at has no zone.
    """
    return _render(
        "product.html",
        language,
        page.node,
        {option: links.page_link(page.handle, option) for option in Language},
        page=page,
        handle=page.handle,
        maker=_name(page.maker, language),
        made=None if page.made_at is None else write_moment(page.made_at, language),
        made_exactly=None if page.made_at is None else page.made_at.isoformat(timespec="milliseconds"),
        rows=[_row(value, language) for value in page.cycle],
        samples_each=_samples_each(page.cycle, language),
        chart=draw_chart(page.cycle, language),
        further=[_further(type_, text) for type_, text in page.other_values],
        elsewhere=_safe(page.links),
        qr=_qr(page.address),
        address_link=links.web_address(page.address),
        json_link=links.json_link(page.handle),
        spelled_out=_spelled_out(page.handle),
    )


def render_not_found(handle: str, language: Language, node: Mapping[str, str]) -> str:
    """The page for a handle that isn't registered (404)."""
    return _render_refusal("not_found", handle, language, node)


def render_forbidden(handle: str, language: Language, node: Mapping[str, str]) -> str:
    """The page for a handle whose values this reader may not see (403)."""
    return _render_refusal("forbidden", handle, language, node)


def render_away(handle: str, language: Language, node: Mapping[str, str]) -> str:
    """The page for a handle that lives on another node, which can't be reached."""
    return _render_refusal("away", handle, language, node)


def render_unavailable(
    text: str, status: int, switch: Mapping[Language, str], language: Language, node: Mapping[str, str]
) -> str:
    """The page for whatever was asked while the node's storage doesn't answer (503). `switch`: where it is in each language."""
    said = {"handle": text, "spelled_out": _spelled_out(text), "status": status}
    return _render("unavailable.html", language, node, switch, **said)


def render_barred(handle: str, notice: str, language: Language, node: Mapping[str, str]) -> str:
    """The page for a handle of an enterprise that is suspended (403); `notice` is the reason that was given, if one was."""
    return _render_refusal("barred", handle, language, node, notice=notice)


def render_withdrawn(handle: str, language: Language, node: Mapping[str, str], reason: str | None, *, for_ever: bool) -> str:
    """The page for an identifier that is retired (`for_ever`: 410) or suspended (403), with the reason where one was given."""
    return _render(
        "withdrawn.html",
        language,
        node,
        {option: links.page_link(handle, option) for option in Language},
        handle=handle,
        spelled_out=_spelled_out(handle),
        for_ever=for_ever,
        reason=reason,
    )


def render_choice(
    handle: str, choices: Sequence[Choice], switch: Mapping[Language, str], language: Language, node: Mapping[str, str]
) -> str:
    """The page on which a reader chooses one of several links (300). `switch`: where this page is in each language, as a path."""
    told = _safe(choices)
    return _render("choice.html", language, node, switch, handle=handle, spelled_out=_spelled_out(handle), choices=told)


def render_bad_identifier(text: str, language: Language, node: Mapping[str, str]) -> str:
    """The page for a text that is no identifier (400); the text stands in the lookup box to be mended."""
    switch = {option: links.lookup_link(text, option) for option in Language}
    return _render("bad_identifier.html", language, node, switch, asked=text, example=EXAMPLE_HANDLE)


def render_home(node: Mapping[str, str], language: Language) -> str:
    """The node's front page: a box that asks `/lookup?id=...&lang=...` by GET."""
    switch = {option: links.home_link(option) for option in Language}
    return _render("home.html", language, node, switch, asked="", example=EXAMPLE_HANDLE)


def _render_refusal(kind: str, handle: str, language: Language, node: Mapping[str, str], notice: str = "") -> str:
    switch = {option: links.page_link(handle, option) for option in Language}
    spelled_out = _spelled_out(handle)
    return _render(f"{kind}.html", language, node, switch, handle=handle, asked=handle, spelled_out=spelled_out, notice=notice)


def _render(template: str, language: Language, node: Mapping[str, str], switch: Mapping[Language, str], **content: object) -> str:
    return _TEMPLATES.get_template(template).render(
        t=phrases(language),
        language=language,
        languages=[(Language.ZH, "中文"), (Language.EN, "English")],
        switch=switch,
        home_link=links.home_link(language),
        node_name=_name(node, language) or _Name(PHRASES["node_kind"].in_language(language), language.tag),
        style=Markup(_STYLE),  # noqa: S704  ours, and bound to the policy by its hash
        **content,
    )


def _name(names: Mapping[str, str], language: Language) -> _Name | None:
    """The name in the reader's language, else in whichever there is."""
    for option in (language, *Language):
        text = names.get(option.value, "").strip()
        if text:
            return _Name(text, option.tag)
    return None


def _row(value: CycleValue, language: Language) -> _Row:
    figures = figures_of(value)
    known = figures.known()
    cells = tuple(
        None if figure is None else (write_figure(figure, known), figure)
        for figure in (figures.minimum, figures.mean, figures.maximum, figures.last)
    )
    return _Row(label(value.tag, language), unit_symbol(value.unit), _samples(value.count, language), cells)


def _samples(count: int | None, language: Language) -> str:
    if count is None:
        return ""
    if count == 1:
        return PHRASES["samples_one"].in_language(language)
    return PHRASES["samples"].in_language(language).format(count=write_count(count))


def _samples_each(cycle: Sequence[CycleValue], language: Language) -> str:
    """Said once when all quantities have the same count of samples, above one; else empty, and each row says its own."""
    counts = {value.count for value in cycle}
    count = counts.pop() if len(counts) == 1 else None
    if count is None or count < 2:
        return ""
    return PHRASES["samples_each"].in_language(language).format(count=write_count(count))


def _safe(choices: Sequence[Choice]) -> list[Choice]:
    return [choice for choice in choices if links.web_address(choice.address) is not None]


def _further(type_: str, text: str) -> _Further:
    shortened = len(text) > _LONGEST_TEXT
    link = links.web_address(text) if type_.upper() == "URL" else None
    return _Further(type_, text[:_LONGEST_TEXT] + "…" if shortened else text, link, shortened)


def _qr(address: str) -> Markup | None:
    """The address as an SVG QR code (ISO/IEC 18004) with its quiet zone of four modules, always black on white.

    Error correction M, or L where only that holds the address; None where none does.
    """
    for level in ("m", "l"):
        try:
            code = segno.make_qr(address, error=level)
        except segno.DataOverflowError:
            continue
        # A drawing by segno out of digits and letters of its own: nothing of the address is in it as text.
        return Markup(code.svg_inline(border=4, dark="#000", light="#fff", omitsize=True, lineclass=None, svgclass="qr"))  # noqa: S704
    return None


def _spelled_out(handle: str) -> str | None:
    """The handle with each character that can't be seen as its code, `U+202E` in brackets; None where all can be seen."""
    spelled = "".join(_spell(handle))
    return spelled if spelled != handle else None


def _spell(text: str) -> Iterator[str]:
    for character in text:
        unseen = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs") and character != " "
        yield f"[U+{ord(character):04X}]" if unseen else character
