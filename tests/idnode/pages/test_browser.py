"""The pages in a real browser, sent with their policy, as a phone shows them."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from idnode.web.pages.language import Language
from idnode.web.pages.rendering import CONTENT_SECURITY_POLICY, render_product
from tests.browser import DESKTOP, PHONE, SMALL_PHONE, Browser, Chromedriver, chromedriver
from tests.idnode.pages.documents import PAGES
from tests.idnode.pages.products import ORDINARY, PRODUCTS

pytestmark = pytest.mark.services

_WITH_SCRIPT = "<!DOCTYPE html><title>x</title><p id='said'>before</p><script>said.textContent = 'after'</script>"
_TOO_WIDE = "<!DOCTYPE html><meta name='viewport' content='width=device-width'><pre>" + "W" * 400 + "</pre>"


class _Node(BaseHTTPRequestHandler):
    """Serves `/<page>?lang=` and repeats what `/lookup` was asked; each answer has the policy that a node sends."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        name = parts.path[1:]
        if name == "lookup":
            self._answer(200, "text/plain; charset=utf-8", f"asked for {query['id'][0]} in {query['lang'][0]}")
        elif name == "with-script":
            self._answer(200, "text/html; charset=utf-8", _WITH_SCRIPT)
        elif name == "too-wide":
            self._answer(200, "text/html; charset=utf-8", _TOO_WIDE)
        elif name in PAGES:
            self._answer(200, "text/html; charset=utf-8", PAGES[name](Language(query["lang"][0])))
        else:
            self._answer(204, "text/plain", "")

    def _answer(self, status: int, media_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that the library calls it by
        """Nothing: the tests say what matters."""


@contextmanager
def _serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Node)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with _serving() as address:
        yield address


@pytest.fixture(scope="module")
def driver() -> Iterator[Chromedriver]:
    with chromedriver() as running:
        yield running


@pytest.fixture(scope="module")
def desktop(driver: Chromedriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with driver.session(DESKTOP, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def phone_window(driver: Chromedriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with driver.session(PHONE, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def phone(phone_window: Browser) -> Browser:
    """A phone's browser in daylight, its console empty."""
    phone_window.prefer(scheme="light", media="")
    phone_window.open("about:blank")
    phone_window.console()
    return phone_window


def _decode(picture: bytes) -> list[str]:
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    return [
        found.text for found in zxingcpp.read_barcodes(pixels, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    ]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_every_screen_without_complaint(desktop: Browser, node: str, name: str, language: Language) -> None:
    desktop.open(f"{node}/{name}?lang={language}")
    for screen in (SMALL_PHONE, PHONE, DESKTOP):
        desktop.resize(screen)
        inner, content = desktop.run("return [innerWidth, document.documentElement.scrollWidth]")
        assert inner == screen.width
        assert content <= inner
    assert desktop.console() == []


def test_a_page_that_is_too_wide_would_be_noticed(desktop: Browser, node: str) -> None:
    desktop.open(f"{node}/too-wide")
    desktop.resize(SMALL_PHONE)
    assert desktop.run("return document.documentElement.scrollWidth > innerWidth || innerWidth > 360")


def test_the_browser_would_have_told_of_a_breach_of_the_policy(phone: Browser, node: str) -> None:
    phone.open(f"{node}/with-script")
    assert phone.text("#said") == "before"
    assert any("Content Security Policy" in entry for entry in phone.console())


def test_the_style_is_applied_under_the_policy(phone: Browser, node: str) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        phone.prefer(scheme=scheme)
        phone.open(f"{node}/product-ordinary?lang=zh")
        colours.add(phone.run("return getComputedStyle(document.body).backgroundColor"))
    assert colours == {"rgb(250, 248, 245)", "rgb(20, 17, 16)"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_qr_code_decodes_to_the_address(phone: Browser, node: str, name: str, scheme: str) -> None:
    phone.prefer(scheme=scheme)
    phone.open(f"{node}/product-{name}?lang=zh")
    assert _decode(phone.element_picture(".quiet")) == [PRODUCTS[name].address]


def test_the_qr_code_decodes_in_print_too(phone: Browser, node: str) -> None:
    phone.prefer(media="print")
    phone.open(f"{node}/product-ordinary?lang=zh")
    assert _decode(phone.element_picture(".quiet")) == [ORDINARY.address]


@pytest.mark.parametrize("name", ["ordinary", "long", "hostile"])
def test_one_click_selects_the_whole_handle_and_nothing_else(desktop: Browser, node: str, name: str) -> None:
    desktop.open(f"{node}/product-{name}?lang=en")
    desktop.click(".handle code")
    assert desktop.run("return getSelection().toString()") == PRODUCTS[name].handle


def test_the_language_switch_leads_to_the_same_page_in_the_other_language(phone: Browser, node: str) -> None:
    phone.open(f"{node}/product-ordinary?lang=zh")
    target = str(phone.run("return document.querySelector('.languages a').href"))
    assert urlsplit(target).path == "/" + ORDINARY.handle
    assert urlsplit(target).query == "lang=en"


def test_the_lookup_box_asks_the_node_without_a_script(phone: Browser, node: str) -> None:
    phone.open(f"{node}/home?lang=en")
    phone.type("#id", "88.100.1/P 1&2")
    phone.follow("form button")
    assert phone.text("body") == "asked for 88.100.1/P 1&2 in en"
    assert phone.console() == []


def test_fingers_find_what_they_can_tap(phone: Browser, node: str) -> None:
    """At least 24 by 24 CSS pixels, WCAG 2.2 criterion 2.5.8."""
    for name in ("product-ordinary", "home", "not-found"):
        phone.open(f"{node}/{name}?lang=zh")
        sizes = phone.run(
            "return [...document.querySelectorAll('.mast a, .foot a, button, input:not([type=hidden])')]"
            ".map(e => e.getBoundingClientRect()).map(r => Math.min(r.width, r.height))"
        )
        assert len(sizes) >= 2
        assert min(sizes) >= 24


def test_text_stands_out_from_its_ground(phone: Browser, node: str) -> None:
    """Contrast of at least 4.5 to 1 in light and dark, WCAG 2.2 criterion 1.4.3."""
    for scheme in ("light", "dark"):
        phone.prefer(scheme=scheme)
        phone.open(f"{node}/product-ordinary?lang=zh")
        colours = phone.run(
            "const style = getComputedStyle(document.documentElement);"
            "return Object.fromEntries(arguments[0].map(name => [name, style.getPropertyValue('--' + name).trim()]))",
            ["paper", "sheet", "wash", "ink", "soft", "accent"],
        )
        for ground in ("paper", "sheet", "wash"):
            for text in ("ink", "soft", "accent"):
                assert _contrast(colours[ground], colours[text]) >= 4.5, (scheme, ground, text)


def test_a_page_prints_on_one_sheet(phone: Browser, node: str) -> None:
    phone.open(f"{node}/product-ordinary?lang=zh")
    printed = phone.command(
        "Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True, transferMode="ReturnAsBase64"
    )
    assert _pages(printed["data"]) == 1


def test_a_page_is_whole_in_one_response(phone: Browser, node: str) -> None:
    phone.open(f"{node}/product-ordinary?lang=zh")
    loaded = phone.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.endswith("/favicon.ico")] == []
    assert len(render_product(ORDINARY, Language.ZH).encode()) < 40_000


def _pages(pdf: str) -> int:
    return base64.b64decode(pdf).count(b"/Type /Page\n")


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of "#rgb" or "#rrggbb", WCAG 2.2."""
    digits = colour.lstrip("#")
    pairs = [digit * 2 for digit in digits] if len(digits) == 3 else [digits[n : n + 2] for n in (0, 2, 4)]
    channels = [int(pair, 16) / 255 for pair in pairs]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
