"""A headless Chromium for tests, driven through chromedriver (W3C WebDriver, https://www.w3.org/TR/webdriver2/).

with chromedriver() as driver, driver.session(PHONE, tmp_path / "profile") as browser:
    browser.open("http://127.0.0.1:8080/")
    assert browser.run("return document.title") == "..."
    assert browser.console() == []
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which a web element is sent (WebDriver 12.1)."""
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Screen:
    """What the browser shows a page on, in CSS pixels."""

    width: int
    height: int
    pixel_ratio: float = 2.0
    mobile: bool = True


PHONE = Screen(390, 844)
SMALL_PHONE = Screen(360, 740)
DESKTOP = Screen(1280, 900, 1.0, mobile=False)


class Browser:
    """One window with a fresh profile. Every call waits until the browser has done it."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client = client
        self._session = session

    def open(self, url: str) -> None:
        """Load a page, with all that it needs."""
        self._ask("POST", "url", {"url": url})

    def address(self) -> str:
        """Where the window is now, after redirects."""
        return str(self._ask("GET", "url"))

    def source(self) -> str:
        return str(self._ask("GET", "source"))

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a JavaScript function in the page; what it returns comes back as JSON."""
        return self._ask("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """The visible text of the first element that a CSS selector finds."""
        return str(self._ask("GET", f"element/{self._element(selector)}/text"))

    def type(self, selector: str, text: str) -> None:
        self._ask("POST", f"element/{self._element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self._ask("POST", f"element/{self._element(selector)}/click", {})

    def follow(self, selector: str) -> None:
        """Click what leads to another page, and wait until that has loaded."""
        before = self.run("return performance.timeOrigin")
        self.click(selector)
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self.run("return document.readyState === 'complete' && performance.timeOrigin !== arguments[0]", before):
            assert time.monotonic() < deadline_s, f"{selector} leads nowhere"

    def element_picture(self, selector: str) -> bytes:
        """One element as PNG."""
        return base64.b64decode(self._ask("GET", f"element/{self._element(selector)}/screenshot"))

    def picture(self) -> bytes:
        """The whole page, also what lies below the window, as PNG."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def console(self) -> list[str]:
        """What the page has logged since the last call: script errors, failed loads, breaches of its security policy."""
        entries = self._ask("POST", "se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries]

    def resize(self, screen: Screen) -> None:
        """Show the page on another screen, without loading it again."""
        size = {"width": screen.width, "height": screen.height, "deviceScaleFactor": screen.pixel_ratio}
        self.command("Emulation.setDeviceMetricsOverride", **size, mobile=screen.mobile)

    def prefer(self, *, scheme: str = "light", media: str = "") -> None:
        """Show the page as to a reader who prefers a colour scheme ("light", "dark"), or as if on another medium ("print")."""
        self.command("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])

    def command(self, name: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self._ask("POST", "goog/cdp/execute", {"cmd": name, "params": parameters})

    def _element(self, selector: str) -> str:
        found = self._ask("POST", "element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        return _ask(self._client, method, f"/session/{self._session}/{path}", body)


class Chromedriver:
    """A running chromedriver; each session is a browser of its own."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @contextmanager
    def session(self, screen: Screen, profile: Path, language: str = "zh-CN") -> Iterator[Browser]:
        """A window until the block ends.

        Args:
            screen: also decides whether the page believes to be on a phone.
            profile: a new folder.
            language: what it sends as Accept-Language, e.g. "en-US,en".
        """
        options: dict[str, object] = {
            "args": [*_FLAGS, f"--user-data-dir={profile}", f"--window-size={screen.width},{screen.height}"],
            "prefs": {"intl.accept_languages": language},
        }
        if screen.mobile:
            metrics = {"width": screen.width, "height": screen.height, "pixelRatio": screen.pixel_ratio}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        opened = _ask(self._client, "POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        try:
            yield Browser(self._client, opened["sessionId"])
        finally:
            _ask(self._client, "DELETE", f"/session/{opened['sessionId']}")


@contextmanager
def chromedriver() -> Iterator[Chromedriver]:
    """A chromedriver on a free port of the loopback until the block ends. Where it isn't installed: skip, or in CI fail."""
    process = subprocess.Popen([_find(), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        port = next(
            (match[1] for line in process.stdout if (match := re.search(r"started successfully on port (\d+)", line))), None
        )
        assert port is not None, "chromedriver ended before it listened"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S, trust_env=False) as client:
            yield Chromedriver(client)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _find() -> str:
    found = shutil.which("chromedriver")
    if found is not None:
        return found
    reason = "chromedriver isn't installed (Debian: chromium-driver)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _ask(client: httpx.Client, method: str, path: str, body: dict[str, object] | None = None) -> Any:
    response = client.request(method, path, json=body)
    value = response.json()["value"]
    if response.is_error:
        raise AssertionError(f"{method} {path}: {value['error']}: {value['message']}")
    return value
