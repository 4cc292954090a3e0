"""The whole way: an event captured by a real node, its identifier opened on a phone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import zxingcpp
from PIL import Image

from epcis.documents import document
from epcis.event_hash import event_id
from tests.browser import DESKTOP, PHONE, Browser, Chromedriver, chromedriver
from tests.epcis.test_event_hash import MUMIAN

from .conftest import Server, Servers, move_in
from .test_capture import CREATED

pytestmark = pytest.mark.services
HANDLE = "88.100.1/P00000001"
# One cycle of the pump bench as the gateway reports it (values of ../shared/data/skab/valve1-1.csv).
CYCLE = (
    ("accelerometer_1", "Acceleration", None, 0.0261, 0.0268, 0.0275, 0.0266),
    ("accelerometer_2", "Acceleration", None, 0.0385, 0.0401, 0.0412, 0.0398),
    ("current", "ElectricCurrent", "AMP", 0.9921, 1.3305, 1.9462, 1.3302),
    ("pressure", "Pressure", "BAR", -0.2735, 0.0547, 0.3827, 0.0547),
    ("temperature", "Temperature", "CEL", 79.3366, 79.4842, 79.6152, 79.5158),
    ("thermocouple", "Temperature", "CEL", 26.0199, 26.0201, 26.0206, 26.0201),
    ("voltage", "Voltage", "VLT", 221.412, 231.93, 243.41, 233.062),
    ("flow_rate", "VolumeFlowRate", "L2", 32.0, 32.21, 33.0, 32.0),
)


def made() -> dict[str, object]:
    elements = []
    for tag, kind, unit, least, mean, most, last in CYCLE:
        report = {"type": kind, "value": last, "minValue": least, "meanValue": mean, "maxValue": most}
        report |= {"mumian:tag": tag, "mumian:count": 15} | ({"uom": unit} if unit else {})
        metadata = {
            "startTime": "2026-01-01T07:59:57.000Z",
            "endTime": "2026-01-01T08:00:00.000Z",
            "deviceID": "urn:mumian:device:g:bench",
        }
        elements.append({"sensorMetadata": metadata, "sensorReport": [report]})
    event: dict[str, object] = {
        "@context": MUMIAN,
        "type": "ObjectEvent",
        "eventTime": "2026-01-01T08:00:00.123Z",
        "eventTimeZoneOffset": "+00:00",
        "epcList": [f"hdl:{HANDLE}"],
        "action": "ADD",
        "bizStep": "commissioning",
        "disposition": "active",
        "readPoint": {"id": "urn:mumian:gateway:pumpworks-1:bench"},
        "bizTransactionList": [{"type": "prodorder", "bizTransaction": "urn:mumian:order:WO-2026-0117"}],
        "sensorElementList": elements,
        "mumian:part": "1",
        "mumian:product": "pump",
    }
    return {**event, "eventID": event_id(event, MUMIAN)}


@pytest.fixture(scope="module")
def driver() -> Iterator[Chromedriver]:
    with chromedriver() as running:
        yield running


@pytest.fixture
async def node(servers: Servers) -> Server:
    server = servers.start()
    tokens = {"admin": server.admin}
    async with httpx.AsyncClient(base_url=server.url) as client:
        await move_in(client, tokens)
        headers = {"Authorization": f"Bearer {tokens['gateway']}"}
        answer = await client.post("/capture", json=document([made()], CREATED), headers=headers)
        assert answer.status_code == 202
    return server


def fits(browser: Browser) -> bool:
    return bool(
        browser.run("return document.documentElement.scrollWidth <= innerWidth && innerWidth === arguments[0]", PHONE.width)
    )


async def test_a_product_is_shown_on_a_phone_in_both_languages(driver: Chromedriver, node: Server, tmp_path: Path) -> None:
    with driver.session(PHONE, tmp_path / "profile", language="zh-CN,zh") as phone:
        phone.open(f"{node.url}/{HANDLE}")
        assert fits(phone)
        for said in ("木棉泵业有限公司", HANDLE, "WO-2026-0117", "压力", "79.5"):
            assert said in phone.text("body")
        picture = Image.open(io.BytesIO(phone.element_picture(".quiet"))).convert("L")
        (scanned,) = [found.text for found in zxingcpp.read_barcodes(np.asarray(picture))]
        assert scanned == f"{node.url}/{HANDLE}"
        async with httpx.AsyncClient() as client:
            resolved = await client.get(scanned, headers={"Accept": "application/json"})
        assert (resolved.status_code, resolved.json()["identifier"]) == (200, HANDLE)
        phone.follow(".languages a")
        assert urlsplit(phone.address()).query == "lang=en"
        assert fits(phone)
        for said in ("Mumian Pump Works", HANDLE, "WO-2026-0117", "Pressure"):
            assert said in phone.text("body")
        assert [entry for entry in phone.console() if "favicon" not in entry] == []


async def test_the_front_page_finds_a_product(driver: Chromedriver, node: Server, tmp_path: Path) -> None:
    with driver.session(PHONE, tmp_path / "profile", language="en-GB,en") as phone:
        phone.open(node.url)
        assert fits(phone)
        for typed in (f"hdl:{HANDLE}", "８８．１００．１／P00000001", f"{urlsplit(node.url).netloc}/{HANDLE} "):
            phone.open(node.url)
            phone.type("#id", typed)
            phone.follow("form button")
            assert urlsplit(phone.address()).path == f"/{HANDLE}", typed
        for path in ("88.100.1/NONE", "88.100.2/P1"):
            phone.open(f"{node.url}/{path}")
            assert fits(phone)
            assert path in phone.text("body")


async def test_the_documentation_runs_within_its_policy(driver: Chromedriver, node: Server, tmp_path: Path) -> None:
    with driver.session(DESKTOP, tmp_path / "profile") as browser:
        browser.open(f"{node.url}/docs")
        wait = (
            "const selector = arguments[0]; return new Promise(done => { const see = () =>"
            " document.querySelector(selector) ? done() : requestAnimationFrame(see); see(); })"
        )
        browser.run(wait, ".opblock")
        assert "/capture" in browser.text("#swagger-ui")
        browser.click("#operations-EPCIS-list_events_events_get button.opblock-summary-control")
        browser.run(wait, ".try-out__btn")
        browser.click(".try-out__btn")
        browser.run(wait, ".execute")
        browser.click(".execute")
        browser.run(wait, ".live-responses-table .microlight")
        assert "EPCISQueryDocument" in browser.text(".live-responses-table")
        assert browser.console() == []
